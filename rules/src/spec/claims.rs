//! `[claims]`: what tokens say of a user, read.

use std::collections::BTreeMap;

use super::fields::{Fields, Item};
use super::shape::{Bond, If, Key, Kind, Names, Section};
use crate::claims::{Claim, RESERVED};

const FORMS: &str = "{ from = \"tenant_id\" }, with `map = { … }` if its values stand for others, or { value = \"text\" }";

pub(super) const CLAIMS: Section = Section::map("[claims]", Names::Not(&RESERVED), Kind::Table(&CLAIM));

const CLAIM: Section = Section::new(
    "a claim",
    &[
        Key::new("value", Kind::Text, "Always this."),
        Key::new("from", Kind::Text, "id, username, role, or an attribute of ficus.toml."),
        Key::new("map", Kind::Table(&MAP), "What its values stand for."),
    ],
)
.about("What a claim says.")
.bound(&[Bond::One(&["value", "from"]), Bond::Needs(If::Given("map"), &[If::Given("from")])]);

const MAP: Section = Section::map("map = { 1 = \"admin\" }", Names::Any, Kind::Text);

pub(super) fn read(section: Fields<'_>) -> BTreeMap<String, Claim> {
    let mut claims = BTreeMap::new();
    for (name, item) in section.entries() {
        if RESERVED.contains(&name.value) {
            section.text.report.error(&name.at, format!("every token says `{}` by itself", name.value), "give the claim another name");
            continue;
        }
        if let Some(claim) = claim(&section, name.value, item) {
            claims.insert(name.value.to_owned(), claim);
        }
    }
    claims
}

fn claim<'a>(section: &Fields<'a>, name: &str, item: &'a Item<'a>) -> Option<Claim> {
    let mut inner = section.as_table(name, section.named(), item)?;
    let value = inner.string("value");
    let from = inner.string("from");
    let map = inner.table("map").map_or_else(BTreeMap::new, words);
    let at = inner.at.clone();
    inner.finish();
    let report = section.text.report;
    match (value, from) {
        (Some(value), None) if map.is_empty() => Some(Claim::Value(value.value)),
        (Some(value), None) => {
            report.error(&value.at, "a fixed `value` has nothing to map", "remove `map`, or name `from`");
            None
        }
        (None, Some(from)) => Some(Claim::From { name: from.value, map }),
        _ => {
            report.error(&at, format!("`{name}` is made of nothing, or of two things"), format!("write one of: {FORMS}"));
            None
        }
    }
}

fn words(table: Fields<'_>) -> BTreeMap<String, String> {
    let words =
        table.entries().into_iter().filter_map(|(value, item)| Some((value.value.to_owned(), table.as_string(value.value, item)?.value)));
    words.collect()
}
