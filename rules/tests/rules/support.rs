//! Rule sets made by hand, with nothing in them that a test does not speak of.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;

use ficus_rules::gate::Gates;
use ficus_rules::mapping::TableMap;
use ficus_rules::plan::{Capability, Route, RuleSet, Unit};
use proptest::test_runner::Config;

/// So many cases of each property, or more if `PROPTEST_CASES` asks for them, as the long runs do.
pub fn cases(usual: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok());
    Config::with_cases(usual.max(asked.unwrap_or(0)))
}

pub fn rule_set<const N: usize>(capabilities: [Capability; N]) -> RuleSet {
    RuleSet { capabilities: capabilities.into_iter().map(|c| (c.name.clone(), c)).collect(), ..RuleSet::default() }
}

pub fn capability(name: &str, routes: Vec<Route>) -> Capability {
    Capability {
        source: format!("{name}.toml:1"),
        name: name.to_owned(),
        description: String::new(),
        legacy: "monolith".to_owned(),
        modern: format!("{name}-service"),
        depends_on: Vec::new(),
        ahead_of: Vec::new(),
        salt: name.to_owned(),
        routes,
        cohort: vec![Unit::User, Unit::Cookie("sessionid".to_owned()), Unit::Anonymous],
        claims: std::collections::BTreeMap::new(),
        steps: Vec::new(),
        gates: Gates::default(),
        tables: Vec::new(),
        leniency: ficus_rules::parity::Leniency::default(),
        windows: Vec::new(),
        returns: ficus_rules::plan::Return::default(),
        strays: ficus_rules::plan::StrayWrites::default(),
        tests: Vec::new(),
    }
}

pub fn route(path: &str) -> Route {
    Route {
        source: format!("test.toml:{path}"),
        path: path.to_owned(),
        hosts: Vec::new(),
        methods: Vec::new(),
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
        modern_path: None,
        pin: None,
        writes_tables: false,
        flag: None,
        csrf: true,
        require: None,
        fallback: true,
        shadow: true,
        dry_run: false,
        fallback_on: Vec::new(),
        timeout: None,
        plugins: None,
        deadlines: Default::default(),
        cache: None,
    }
}

pub fn table() -> TableMap {
    TableMap {
        events: Vec::new(),
        source: "test.toml:70".to_owned(),
        legacy: "accounts_customuser".to_owned(),
        modern: "users".to_owned(),
        legacy_key: "id".to_owned(),
        modern_key: "legacy_id".to_owned(),
        sequence: None,
        columns: Vec::new(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    }
}
