//! The JSON Schemas that editors use: what Ficus takes they take, and what is broken they refuse as `ficus check` does. That of
//! `ficus.toml` has the same keys as the parser; those of rule files are made of what their parser reads by.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;
use serde_json::Value;

use crate::reference::{AROUND, CONFIGURATION, FLAGS, blocks, check, keys, write};
use crate::shell::docs;

/// Where the schema of `ficus.toml` has the keys of each section.
pub(crate) const CONFIGURATION_KEYS: [(&str, &str); 30] = [
    ("", "/properties"),
    ("[gateway]", "/properties/gateway/properties"),
    ("[[gateway.listener]]", "/properties/gateway/properties/listener/items/properties"),
    (
        "[[gateway.listener]]\naddress = \"a:1\"\n[gateway.listener.clients]",
        "/properties/gateway/properties/listener/items/properties/clients/properties",
    ),
    ("[[gateway.certificate]]", "/properties/gateway/properties/certificate/items/properties"),
    ("[gateway.redis]", "/properties/gateway/properties/redis/properties"),
    ("[gateway.limits]", "/properties/gateway/properties/limits/properties"),
    ("[gateway.access_log]", "/properties/gateway/properties/access_log/properties"),
    ("[gateway.tracing]", "/properties/gateway/properties/tracing/properties"),
    ("[orchestrator]", "/properties/orchestrator/properties"),
    ("[orchestrator.etcd]", "/properties/orchestrator/properties/etcd/properties"),
    ("[orchestrator.tls]", "/properties/orchestrator/properties/tls/properties"),
    ("[orchestrator.token.a]", "/properties/orchestrator/properties/token/additionalProperties/properties"),
    ("[orchestrator.notify.a]", "/properties/orchestrator/properties/notify/additionalProperties/properties"),
    ("[events.a]", "/properties/events/additionalProperties/properties"),
    ("[agent]", "/properties/agent/properties"),
    ("[upstream.monolith]", "/properties/upstream/additionalProperties/properties"),
    ("[upstream.monolith.probe]", "/properties/upstream/additionalProperties/properties/probe/properties"),
    ("[upstream.monolith.ejection]", "/properties/upstream/additionalProperties/properties/ejection/properties"),
    ("[upstream.monolith.retry]", "/properties/upstream/additionalProperties/properties/retry/properties"),
    ("[upstream.monolith.breaker]", "/properties/upstream/additionalProperties/properties/breaker/properties"),
    ("[upstream.monolith.bulkhead]", "/properties/upstream/additionalProperties/properties/bulkhead/properties"),
    ("[gateway.cache]", "/properties/gateway/properties/cache/properties"),
    ("[upstream.monolith.tls]", "/properties/upstream/additionalProperties/properties/tls/properties"),
    ("[identity]", "/properties/identity/properties"),
    ("[identity.django]", "/properties/identity/properties/django/properties"),
    ("[identity.flask]", "/properties/identity/properties/flask/properties"),
    ("[identity.flask.users]", "/properties/identity/properties/flask/properties/users/properties"),
    ("[identity.jwt.a]", "/properties/identity/properties/jwt/additionalProperties/properties"),
    ("[identity.ask]", "/properties/identity/properties/ask/properties"),
];

/// Faults: the file's kind, what stands in a good one, and what instead.
const FAULTS: [(&str, &str, &str); 55] = [
    ("rules", "name = \"users\"", "name = \"Users\""),
    ("rules", "legacy = \"monolith\"\n", ""),
    ("rules", "modern = \"users-service\"", "modern = 7"),
    ("rules", "[capability]", "[capabilty]"),
    ("rules", "path = \"/api", "path = \"api"),
    ("rules", "path = ", "pth = "),
    ("rules", "[[route]]", "[route]"),
    ("rules", "[[route]]\n", "[[route]]\npin = \"left\"\n"),
    ("rules", "[[route]]\n", "[[route]]\nwrites_tables = true\n"),
    ("rules", "[[route]]\n", "[[route]]\npin = \"legacy\"\nmodern_path = \"/x\"\n"),
    ("rules", "[[route]]\n", "[[route]]\nmethods = [\"FETCH\"]\n"),
    ("rules", "[[route]]\n", "[[route]]\nquery = { a = { prefix = \"x\", present = true } }\n"),
    ("rules", "[[route]]\n", "[[route]]\ntimeout = 30\n"),
    ("rules", "[[route]]\n", "[plugins.ip]\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.redirect]\nto = \"//evil.test\"\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.cors]\nmethods = [\"FETCH\"]\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.basic_auth]\nusers = { ops = \"sesame\" }\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.rate_limit]\nquotas = [\"60\"]\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.rate_limit]\nquotas = [\"60/m\"]\nshared = true\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.request_size]\nmax = \"10MB\"\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.version]\nfrom = \"path\"\nserves = \"1\"\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins.compression]\ncodings = [\"deflate\"]\n[[route]]\n"),
    ("rules", "[[route]]\n", "[plugins]\nlimit = true\n[[route]]\n"),
    ("rules", "[[route]]\n", "[[route]]\nfallback_on = [200]\n"),
    ("rules", "[[route]]\n", "[[route]]\nfallback = false\nfallback_on = [404]\n"),
    ("rules", "[[route]]\n", "[[route]]\ndeadlines = { whole = \"1m\" }\n"),
    ("rules", "[[route]]\n", "[[route]]\ndeadlines = { total = \"1 m\" }\n"),
    ("rules", "[[route]]\n", "[[route]]\ncache = { by_default = \"1m\" }\n"),
    ("rules", "[[route]]\n", "[[route]]\ncache = \"1m\"\n"),
    ("rules", "shadow = \"100%\"", "shadow = \"101%\""),
    ("rules", "shadow = \"100%\"", "shadow = \"100%\"\nreads = \"5%\""),
    ("rules", "cutover = true", "cutover = false"),
    ("rules", "soak = \"7d\"", "soak = \"1 week\""),
    ("rules", "soak = \"7d\"", "soak = \"7d\"\nhold = \"1h\""),
    ("rules", "max_increase = \"1%\"", "max_increase = 0.01"),
    ("rules", "[gate.errors]", "[gate.error]"),
    ("rules", "modern = \"users\"\n", "modern = \"users\"\n[table.columns]\nid = { from = \"id\", as = \"uuid4\" }\n"),
    ("rules", "modern = \"users\"\n", "modern = \"users\"\n[table.columns]\nid = { from = \"id\", constant = 1 }\n"),
    ("rules", "request = \"GET ", "request = \"get "),
    ("rules", "at = \"cutover\"", "at = \"later\""),
    ("rules", "[gate.errors]", "[gate.own]\npromql = \"up\"\n[gate.errors]"),
    ("rules", "[gate.errors]", "[gate.own]\nwebhook = \"checks\"\n[gate.errors]"),
    ("rules", "[gate.errors]", "[return]\nsoak = \"never\"\n[gate.errors]"),
    ("rules", "[gate.errors]", "[cutover]\nstray_writes = \"allow\"\n[gate.errors]"),
    ("rules", "cutover = true", "cutover = true\nwindows = [\"weekdays\"]"),
    ("flags", "default = false", "default = \"off\""),
    ("flags", "default = false", "percentage = \"ten\""),
    ("ficus", "listen = [\"127.0.0.1:8080\"]", "listen = []"),
    ("ficus", "default = \"monolith\"", "default = \"monolith\"\nhealth = \"health?deep\""),
    ("ficus", "address = \"127.0.0.1:8000\"", "address = \"127.0.0.1:8000\"\ndns = \"school.internal:80\""),
    ("ficus", "address = \"127.0.0.1:8000\"", "health = \"/health/\""),
    ("ficus", "address = \"127.0.0.1:8000\"", "address = \"127.0.0.1:8000\"\nbalance = \"random\""),
    ("ficus", "address = \"127.0.0.1:8000\"", "address = \"127.0.0.1:8000\"\nbalance = \"hash\""),
    ("ficus", "address = \"127.0.0.1:8000\"", "address = \"127.0.0.1:8000\"\nhash = [\"ip\"]\nbalance = \"hash\""),
    ("ficus", "database = \"sqlite://school.sqlite3\"", "database = \"oracle://school\""),
];

#[test]
fn what_ficus_takes_the_schemas_take() -> Result<()> {
    let directory = tempfile::tempdir()?;
    write(directory.path(), "ficus.toml", CONFIGURATION)?;
    write(directory.path(), "rules/around.toml", AROUND)?;
    write(directory.path(), "rules/flags.toml", FLAGS)?;
    let page = std::fs::read_to_string(docs().join("from-demo-to-your-monolith.md"))?;
    let parts = blocks(&page).into_iter().filter(|block| block.text.starts_with("# ficus.toml"));
    write(directory.path(), "own.toml", &parts.map(|block| block.text).collect::<String>())?;
    let root = docs().join("..");
    let mut rules = vec![root.join("tests/systems/student-management/rules/users.toml"), directory.path().join("rules/around.toml")];
    let mut flags = vec![directory.path().join("rules/flags.toml")];
    for system in std::fs::read_dir(root.join("rules/examples"))? {
        for entry in std::fs::read_dir(system?.path())? {
            let path = entry?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("flags.toml") => flags.push(path),
                Some(name) if name.ends_with(".toml") => rules.push(path),
                _ => {}
            }
        }
    }
    ensure!(rules.len() > 10 && flags.len() > 2, "the examples are not where they were");
    let configurations = [directory.path().join("ficus.toml"), directory.path().join("own.toml")];
    for (schema, files) in [("rules", &rules[..]), ("flags", &flags), ("ficus", &configurations)] {
        let refused = refused(schema, files)?;
        ensure!(refused.is_empty(), "the schema of {schema} refuses what is right:\n{}", refused.join("\n"));
    }
    Ok(())
}

#[test]
fn the_page_of_every_key_is_what_the_schemas_make() -> Result<()> {
    let mut make = Command::new(school::python()?);
    let output = make.arg("-B").arg(docs().join("make.py")).arg("--check").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What the maker leaves out, the comparison would not miss.
    let page = std::fs::read_to_string(docs().join("reference.md"))?;
    for name in ["rules", "flags", "ficus"] {
        let told = |key: &String| {
            [format!("`{key}`"), format!("{key}]"), format!("{key}."), format!(" {key} }}")].iter().any(|form| page.contains(form))
        };
        let untold: Vec<String> = keys(&schema(name)?).into_iter().filter(|key| !told(key)).collect();
        ensure!(untold.is_empty(), "reference.md does not know {untold:?} of {name}");
    }
    ensure!(page.lines().filter(|line| line.starts_with("| ")).count() > 120, "the page is made wrongly");
    Ok(())
}

#[test]
fn what_is_broken_both_refuse() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (at, (kind, right, wrong)) in FAULTS.iter().enumerate() {
        let folder = directory.path().join(at.to_string());
        let spoilt = |name: &str, text: &str| {
            ensure!(name != *kind || text.contains(right), "{right} is not in the file to spoil");
            Ok(if name == *kind { text.replacen(right, wrong, 1) } else { text.to_owned() })
        };
        write(&folder, "ficus.toml", &spoilt("ficus", CONFIGURATION)?)?;
        write(&folder, "rules/users.toml", &spoilt("rules", AROUND)?)?;
        write(&folder, "rules/flags.toml", &spoilt("flags", FLAGS)?)?;
        let (code, printed) = check(&folder)?;
        ensure!(code == 64, "`ficus check` takes {wrong}:\n{printed}");
    }
    for kind in ["rules", "flags", "ficus"] {
        let file = |at: usize| match kind {
            "rules" => directory.path().join(at.to_string()).join("rules/users.toml"),
            "flags" => directory.path().join(at.to_string()).join("rules/flags.toml"),
            _ => directory.path().join(at.to_string()).join("ficus.toml"),
        };
        let broken = FAULTS.iter().enumerate().filter(|(_, (of, ..))| *of == kind);
        let (files, faults): (Vec<PathBuf>, Vec<&str>) = broken.map(|(at, (.., wrong))| (file(at), *wrong)).unzip();
        let refused = refused(kind, &files)?;
        for (file, fault) in files.iter().zip(faults) {
            let named = |line: &String| line.starts_with(&format!("{}:", file.display()));
            ensure!(refused.iter().any(named), "the schema of {kind} takes {fault}");
        }
    }
    Ok(())
}

#[test]
fn the_schema_of_the_configuration_has_the_keys_of_the_parser() -> Result<()> {
    let configuration = schema("ficus")?;
    for (section, pointer) in CONFIGURATION_KEYS {
        same(section, &configuration_keys(section)?, &properties(&configuration, pointer)?)?;
    }
    Ok(())
}

/// The keys of a section of `ficus.toml`: the complaint about one that it may not have lists them.
fn configuration_keys(section: &str) -> Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let text = match CONFIGURATION.contains(section) && !section.is_empty() {
        true => CONFIGURATION.replacen(section, &format!("{section}\nqqqq = 1"), 1),
        false if section.is_empty() => format!("qqqq = 1\n{CONFIGURATION}"),
        false => format!("{CONFIGURATION}\n{section}\nqqqq = 1\n"),
    };
    write(directory.path(), "ficus.toml", &text)?;
    let (_, printed) = check(directory.path())?;
    let (_, listed) = printed.split_once("unknown field `qqqq`, expected ").with_context(|| format!("no complaint in {printed}"))?;
    Ok(listed.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn same(place: &str, parser: &[String], schema: &BTreeSet<String>) -> Result<()> {
    let parser: BTreeSet<String> = parser.iter().cloned().collect();
    ensure!(parser == *schema, "of {place} only the parser or only the schema knows {:?}", &parser ^ schema);
    Ok(())
}

fn properties(schema: &Value, pointer: &str) -> Result<BTreeSet<String>> {
    let found = schema.pointer(pointer).and_then(Value::as_object).with_context(|| format!("the schema has nothing at {pointer}"))?;
    Ok(found.keys().cloned().collect())
}

pub(crate) fn schema(name: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(file(name))?)?)
}

fn file(name: &str) -> PathBuf {
    docs().join("schema").join(format!("{name}.schema.json"))
}

/// A line for each file that a schema refuses.
pub(crate) fn refused(name: &str, files: &[impl AsRef<Path>]) -> Result<Vec<String>> {
    let mut command = Command::new(school::python()?);
    command.arg("-B").arg(docs().join("schema/validate.py")).arg(file(name)).args(files.iter().map(AsRef::as_ref));
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "run `make python-test` if something is missing: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
