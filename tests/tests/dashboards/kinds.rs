//! No section of the schema of `ficus.toml` goes without being compared with the parser.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::schemas::{CONFIGURATION_KEYS, schema};

#[test]
fn no_section_of_a_schema_goes_without_being_compared() -> Result<()> {
    let mut sections = Vec::new();
    closed(&schema("ficus")?, "", &mut sections);
    ensure!(sections.len() >= CONFIGURATION_KEYS.len(), "only {} sections", sections.len());
    let known = |pointer: &String| CONFIGURATION_KEYS.iter().any(|(_, known)| known == pointer);
    let new: Vec<_> = sections.into_iter().filter(|pointer| !known(pointer)).collect();
    ensure!(new.is_empty(), "nobody compares {new:?} with the parser");
    Ok(())
}

/// Where a schema lists the only keys that something may have.
fn closed(node: &Value, pointer: &str, sections: &mut Vec<String>) {
    match node {
        Value::Object(inner) => {
            if inner.get("properties").is_some() && inner.get("additionalProperties").is_some_and(|more| *more == Value::Bool(false)) {
                sections.push(format!("{pointer}/properties"));
            }
            inner.iter().for_each(|(name, node)| closed(node, &format!("{pointer}/{name}"), sections));
        }
        Value::Array(inner) => inner.iter().enumerate().for_each(|(at, node)| closed(node, &format!("{pointer}/{at}"), sections)),
        _ => {}
    }
}
