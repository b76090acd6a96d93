//! The reference has its types from the parser: asked with a date for each of its keys, which none of them takes, the parser
//! says what it wants, and the JSON Schema that the reference is made of must say the same. And no section of a schema goes
//! without being compared.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::reference::{NOBODYS, PLACES, complaints};
use crate::schemas::{CONFIGURATION_KEYS, FLAG_KEYS, FORMS, RULE_KEYS, schema};

/// What no key takes.
const DATE: &str = "1979-05-27";

/// What is complained about in other words: a list of numbers, one of sections, and places whose keys are sections.
const OTHERWISE: [(&str, &str); 4] = [("[[route]]", "fallback_on"), ("[flag.NAME]", "rule"), ("[gate]", ""), ("the file", "")];

/// Values that are written as a table of one key, and the only key of `flags.toml`.
const APART: [&str; 4] = [
    "/properties",
    "/properties/table/items/properties/where/additionalProperties/oneOf/1/properties",
    "/properties/table/items/properties/legacy_delete/additionalProperties/oneOf/1/properties",
    "/properties/table/items/properties/modern_delete/additionalProperties/oneOf/1/properties",
];

/// Schemas of values with names of their own, and the parser's word for them.
const NAMED: [(&str, &str); 4] =
    [("duration", "a duration"), ("share", "a percentage"), ("size", "a size"), ("users", "a list of user ids")];

#[test]
fn the_schemas_have_the_types_of_the_parser() -> Result<()> {
    let (rules, flags) = (schema("rules")?, schema("flags")?);
    let of_rules = RULE_KEYS.iter().map(|place| (&rules, place));
    let places: Vec<_> = of_rules.chain(FLAG_KEYS.iter().map(|place| (&flags, place))).collect();
    let mut compared = 0;
    for (schema, (place, pointer)) in places {
        let (_, text) = PLACES.iter().find(|(name, _)| name == place).with_context(|| format!("no place is called {place}"))?;
        let keys = schema.pointer(pointer).and_then(Value::as_object).with_context(|| format!("nothing at {pointer}"))?;
        for (key, node) in keys {
            if OTHERWISE.iter().any(|(of, name)| of == place && (name == key || name.is_empty())) {
                continue;
            }
            let wanted = wanted(text, key).with_context(|| format!("`{key}` of {place}"))?;
            let mut said = BTreeSet::new();
            kinds(schema, node, &mut said);
            ensure!(said.contains(wanted.as_str()), "`{key}` of {place} takes {wanted}; the schema says {said:?}");
            compared += 1;
        }
    }
    ensure!(compared > 130, "only {compared} keys are compared");
    Ok(())
}

#[test]
fn no_section_of_a_schema_goes_without_being_compared() -> Result<()> {
    for (name, places) in [("rules", &RULE_KEYS[..]), ("flags", &FLAG_KEYS), ("ficus", &CONFIGURATION_KEYS)] {
        let mut sections = Vec::new();
        closed(&schema(name)?, "", &mut sections);
        ensure!(sections.len() >= places.len(), "{name}: only {} sections", sections.len());
        let known = |pointer: &String| {
            let is_form = FORMS.iter().any(|(_, forms)| pointer.starts_with(forms));
            is_form || APART.contains(&pointer.as_str()) || places.iter().any(|(_, known)| known == pointer)
        };
        let new: Vec<_> = sections.into_iter().filter(|pointer| !known(pointer)).collect();
        ensure!(new.is_empty(), "nobody compares {new:?} of the schema of {name} with the parser");
    }
    Ok(())
}

/// What the parser wants for a key of a place, in its own words.
fn wanted(place: &str, key: &str) -> Result<String> {
    let nobodys = format!("{NOBODYS} = 1");
    let start = [format!("\n{key} = "), format!(" {key} = ")].iter().find_map(|before| Some(place.find(before)? + before.len()));
    let text = match start {
        Some(start) => {
            let value = place[start..].find([',', '\n']).with_context(|| format!("no end of a value in {place}"))?;
            let spoilt = format!("{}{DATE}{}", &place[..start], &place[start + value..]);
            spoilt.replace(&format!(", {nobodys}"), "").replace(&nobodys, "")
        }
        None => place.replace(&nobodys, &format!("{key} = {DATE}")),
    };
    let printed = complaints(&text)?;
    let complaint =
        printed.split_once(&format!("`{key}` is a date or time, not ")).with_context(|| format!("no complaint in {printed}"))?;
    Ok(complaint.1.split(" (").next().unwrap_or_default().trim().to_owned())
}

/// The kinds that a schema permits, in the parser's words.
fn kinds<'a>(whole: &'a Value, node: &'a Value, said: &mut BTreeSet<&'a str>) {
    if let Some(name) = node["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        match NAMED.iter().find(|(named, _)| *named == name) {
            Some((_, word)) => drop(said.insert(word)),
            None => kinds(whole, &whole["definitions"][name], said),
        }
    }
    for several in ["allOf", "oneOf", "anyOf"] {
        node[several].as_array().into_iter().flatten().for_each(|one| kinds(whole, one, said));
    }
    for value in node["enum"].as_array().into_iter().flatten().chain(Some(&node["const"])) {
        match value {
            Value::Bool(_) => drop(said.insert("true or false")),
            Value::String(_) => drop(said.insert("a string")),
            Value::Number(_) => drop(said.insert("a whole number from 0 on")),
            _ => {}
        }
    }
    let names = node["type"].as_array().into_iter().flatten().chain(Some(&node["type"])).filter_map(Value::as_str);
    for name in names {
        match name {
            "string" => drop(said.insert("a string")),
            "boolean" => drop(said.insert("true or false")),
            "integer" => drop(said.insert("a whole number from 0 on")),
            "number" => drop(said.insert("a number")),
            "object" => drop(said.insert("a table")),
            // One of them may stand without brackets.
            "array" => kinds(whole, &node["items"], said),
            _ => {}
        }
    }
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
