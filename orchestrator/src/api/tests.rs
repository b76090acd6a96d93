use std::collections::BTreeSet;

use ficus_rules::api::{FlagRequest, WishRequest};
use ficus_rules::migration::advance::Wish;
use serde_json::{Value, json};

use super::operators::wish_of;
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
fn the_description_has_every_wish_and_no_other() {
    // The one after it: what has no place here does not compile.
    let after = |wish: &Wish| {
        Some(match wish {
            Wish::Advance => Wish::Hold(String::new()),
            Wish::Hold(_) => Wish::Release(None),
            Wish::Release(_) => Wish::Approve,
            Wish::Approve => Wish::Cutover,
            Wish::Cutover => Wish::Abort,
            Wish::Abort => Wish::Revert,
            Wish::Revert => Wish::RevertLeaving,
            Wish::RevertLeaving => Wish::Retire,
            Wish::Retire => Wish::Verify,
            Wish::Verify => Wish::Repair,
            Wish::Repair => return None,
        })
    };
    let wishes: BTreeSet<&str> = std::iter::successors(Some(Wish::Advance), after).map(|wish| wish.as_str()).collect();
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    let parameters = described["paths"]["/api/v1/capabilities/{name}/{wish}"]["post"]["parameters"].as_array().expect("parameters");
    let words = parameters.iter().find(|one| one["name"] == "wish").and_then(|one| one["schema"]["enum"].as_array()).expect("words");
    let words: BTreeSet<&str> = words.iter().filter_map(Value::as_str).collect();
    for word in &words {
        let taken = wish_of(word, &WishRequest::default());
        assert_eq!(taken.as_ref().map(Wish::as_str), Some(*word));
    }
    // A call of its own, for a stronger role.
    assert!(
        described["paths"]["/api/v1/capabilities/{name}/retire"]["post"].is_object()
            && wish_of("retire", &WishRequest::default()).is_none()
    );
    assert_eq!(words.into_iter().chain(["retire"]).collect::<BTreeSet<_>>(), wishes);
}

#[test]
fn a_revert_leaves_rows_set_aside_only_if_the_request_says_so() {
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    assert!(described["components"]["schemas"]["Wish"]["properties"]["leave_set_aside"].is_object());
    for (body, wish) in [(r#"{"by":"ada"}"#, Wish::Revert), (r#"{"by":"ada","leave_set_aside":true}"#, Wish::RevertLeaving)] {
        let request: WishRequest = serde_json::from_str(body).expect("a wish");
        assert_eq!(wish_of("revert", &request), Some(wish));
    }
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

#[test]
fn the_description_of_a_flag_s_switch_is_what_is_taken() {
    let described: Value = serde_json::from_str(OPENAPI).expect("the description is JSON");
    let body = &described["paths"]["/api/v1/flags/{name}"]["put"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/Flag");
    let described = described["components"]["schemas"]["Flag"]["properties"].as_object().expect("properties");
    let switch = json!({ "on": true, "variant": "blue", "for_seconds": 60, "by": "ada", "reason": "look" });
    let taken: FlagRequest = serde_json::from_value(switch.clone()).expect("all at once");
    assert_eq!(taken.variant.as_deref(), Some("blue"));
    let known = serde_json::to_value(&taken).expect("it is JSON");
    let names = |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(described), names(known.as_object().expect("an object")));
    for (name, value) in switch.as_object().expect("an object") {
        let kinds = &described[name]["type"];
        let kind = match value {
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            _ => "string",
        };
        assert!(kinds == kind || kinds.as_array().is_some_and(|kinds| kinds.contains(&kind.into())), "{name}: {kinds}");
    }
    assert!(serde_json::from_value::<FlagRequest>(json!({ "variants": "blue" })).is_err(), "and nothing else");
}
