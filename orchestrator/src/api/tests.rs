use std::collections::BTreeSet;

use serde_json::Value;

use super::{OPENAPI, routes};

#[test]
fn the_description_has_every_route_and_no_other() {
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    let paths = described["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().expect("methods").keys().map(move |method| (path.clone(), method.clone())))
        .collect();
    let served: BTreeSet<(String, String)> =
        routes().iter().flat_map(|(methods, path, _)| methods.iter().map(move |method| (path.to_string(), method.to_string()))).collect();
    assert_eq!(described, served);
}
