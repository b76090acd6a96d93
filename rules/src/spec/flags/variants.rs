//! Variants of a flag: their values, which are of one kind, and places that name one.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::DeValue;

use super::super::fields::{Fields, integer};
use super::super::shape::{Kind, NAME, Names, Section};
use super::super::words::is_name;
use super::{meant, sum};
use crate::Share;
use crate::flag::{OFF, ON, Split};

pub(super) const VARIANTS: Section = Section::map("variants = { name = value }", Names::Like(NAME), Kind::Anything).least(1);
pub(super) const SPLIT: Section = Section::map("split = { name = \"10%\" }", Names::Any, Kind::Share).shared("split");

/// `variants`; without it, the flag is on or off.
pub(super) fn read(section: &mut Fields<'_>) -> BTreeMap<String, Value> {
    let switch = || BTreeMap::from([(ON.to_owned(), Value::Bool(true)), (OFF.to_owned(), Value::Bool(false))]);
    let Some(table) = section.table("variants") else { return switch() };
    let mut variants = BTreeMap::new();
    let mut kind = None;
    for (name, item) in table.entries() {
        let report = table.text.report;
        if !is_name(name.value) || name.value == "clear" {
            report.error(
                &name.at,
                format!("`{}` cannot name a variant", name.value),
                "lower-case letters, digits, `-` and `_`; not `clear`, which ends an override",
            );
        }
        let Some(value) = value(item.get_ref()) else {
            table.wrong(name.value, item, "a string, a number, true or false, or a table of these", "dates are written as strings");
            continue;
        };
        let its = std::mem::discriminant(&value);
        if *kind.get_or_insert(its) != its {
            report.error(
                &table.place(item),
                "the variants are values of several kinds",
                "who asks for a number must get one, whatever the variant",
            );
        }
        variants.insert(name.value.to_owned(), value);
    }
    if variants.is_empty() {
        table.error("a flag without a variant has no value", "write variants = { small = 20, large = 100 }, or leave it out: on and off");
        return switch();
    }
    variants
}

/// A key that names a variant; of a flag that is on or off, also `true` and `false`.
pub(super) fn one(section: &mut Fields<'_>, key: &'static str, variants: &BTreeMap<String, Value>) -> Option<String> {
    let item = section.item(key)?;
    let named = match item.get_ref() {
        DeValue::Boolean(on) if variants.get(ON) == Some(&Value::Bool(true)) => if *on { ON } else { OFF }.to_owned(),
        _ if variants.get(ON) == Some(&Value::Bool(true)) && variants.len() == 2 => {
            section.wrong(key, item, "true or false", "write it without quotes");
            return None;
        }
        _ => section.as_string(key, item)?.value,
    };
    if !variants.contains_key(&named) {
        section.text.report.error(&section.place(item), format!("there is no variant `{named}`"), meant(&named, variants));
        return None;
    }
    Some(named)
}

/// `split = { large = "10%" }`: who is left gets `rest`.
pub(super) fn split(section: &mut Fields<'_>, variants: &BTreeMap<String, Value>, rest: &str) -> Option<Split> {
    let table = section.table("split")?;
    let mut shares: Vec<(String, Share)> = Vec::new();
    for (name, item) in table.entries() {
        let report = table.text.report;
        if !variants.contains_key(name.value) {
            report.error(&name.at, format!("there is no variant `{}`", name.value), meant(name.value, variants));
        }
        match item.get_ref().as_str().map(Share::parse) {
            Some(Ok(share)) => shares.push((name.value.to_owned(), share)),
            Some(Err(why)) => report.error(&table.place(item), why, "write it like \"5%\" or \"0.5%\""),
            None => table.wrong(name.value, item, "a percentage", "write it as a string, like \"5%\" or \"0.5%\""),
        }
    }
    if sum(&shares) > 1_000_000 {
        table.error("the shares are more than the whole", "together they are 100% at most");
    }
    Some(Split { shares, rest: rest.to_owned() })
}

fn value(item: &DeValue<'_>) -> Option<Value> {
    Some(match item {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Integer(_) => integer(item)?.into(),
        DeValue::Float(float) => serde_json::Number::from_f64(float.as_str().parse().ok()?)?.into(),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| value(item.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(name, item)| Some((name.get_ref().to_string(), value(item.get_ref())?)));
            Value::Object(pairs.collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) => return None,
    })
}
