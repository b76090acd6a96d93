use std::collections::BTreeSet;

use serde_json::Value;

use super::{OPENAPI, calls};

#[test]
fn the_description_has_every_route_and_no_other() {
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    let paths = described["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().expect("methods").keys().map(move |method| (path.clone(), method.clone())))
        .collect();
    let served: BTreeSet<(String, String)> =
        calls().iter().flat_map(|call| call.methods.iter().map(|method| (call.path.to_owned(), (*method).to_owned()))).collect();
    assert_eq!(described, served);
}

#[test]
fn the_description_says_which_role_a_call_asks_for() {
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    for call in calls() {
        for method in call.methods {
            let said = described["paths"][call.path][method]["x-role"].as_str();
            assert_eq!(said, call.role.map(crate::Role::as_str), "{method} {}", call.path);
        }
    }
}
