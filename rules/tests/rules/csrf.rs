//! CSRF verdicts against those of Django 5.2's own middleware: `csrf.json` holds what it said to requests drawn at random.

use ficus_rules::identity::csrf::{Evidence, check};
use serde_json::Value;

#[test]
fn verdicts_are_those_of_django() {
    let recorded: Value = serde_json::from_str(include_str!("csrf.json")).expect("recorded cases");
    let trusted: Vec<String> =
        recorded["trusted"].as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for case in recorded["cases"].as_array().expect("a list") {
        let evidence = Evidence {
            scheme: case["scheme"].as_str().expect("a scheme"),
            host: case["host"].as_str().expect("a host"),
            cookie: case["cookie"].as_str(),
            token: case["token"].as_str(),
            origin: case["origin"].as_str(),
            referer: case["referer"].as_str(),
        };
        let verdict = check(&evidence, &trusted);
        assert_eq!(verdict.is_ok(), case["accepted"].as_bool().expect("a verdict"), "{verdict:?} for {evidence:?}");
    }
}
