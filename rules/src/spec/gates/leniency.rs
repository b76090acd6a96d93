//! What `[gate.shadow]` says of the comparison: what is left out, tolerated, in any order, and not told.

use toml::de::DeValue;

use crate::parity::{COMPARED, Leniency, Tolerance};
use crate::spec::fields::{Fields, Item};
use crate::spec::shape::{self, Key, Kind, Literal, Names, Section};
use crate::spec::source::Located;
use crate::spec::words::{self, is_token, suggest};

const JSON_PATH: &str = "write it like \"$.results[*].updated_at\"";

pub(super) const PAGES: Key = Key::new("pages", Kind::Boolean, "Pages are compared by element, too.").unset(Literal::Boolean(false));
pub(super) const IGNORE: Key = Key::new(
    "ignore",
    Kind::Strings(&Kind::Like(r"^(\$($|[.\[])|header:|cookie:|html:)")),
    "Places that comparisons leave out: JSON paths, header:NAME, cookie:NAME, or html:PLACE.",
);
pub(super) const UNORDERED: Key =
    Key::new("unordered", Kind::Strings(&Kind::Like(shape::JSON_PATH)), "Arrays whose members may come in any order.");
pub(super) const REDACT: Key =
    Key::new("redact", Kind::Strings(&Kind::Like(shape::JSON_PATH)), "Places whose values are never shown in samples.");
pub(super) const TOLERATE: Key =
    Key::new("tolerate", Kind::Table(&TOLERATED), "JSON paths, and how far apart numbers or times there may be.");

const TOLERATED: Section =
    Section::map("[gate.shadow.tolerate]", Names::Like(shape::JSON_PATH), Kind::Either(&[Kind::Positive, Kind::Duration]));

pub(super) fn read(section: &mut Fields<'_>) -> Leniency {
    let pages = section.boolean("pages").is_some_and(|pages| pages.value);
    let ignore = section.strings("ignore").into_iter().filter_map(|place| ignored(section, place, pages)).collect();
    let mut json = |key: &'static str| -> Vec<String> {
        let paths = section.strings(key);
        paths.into_iter().filter_map(|path| json_path(section, &path).then_some(path.value)).collect()
    };
    let (unordered, redact) = (json("unordered"), json("redact"));
    let tolerate = section
        .table("tolerate")
        .map_or_else(Vec::new, |table| table.entries().into_iter().filter_map(|(path, item)| tolerated(&table, path, item)).collect());
    Leniency { ignore, unordered, tolerate, redact, pages }
}

/// A place that comparisons leave out: a JSON path, a header, a cookie, or a place in a page.
fn ignored(section: &Fields<'_>, place: Located<String>, pages: bool) -> Option<String> {
    let report = section.text.report;
    let value = &place.value;
    if let Some(name) = value.strip_prefix("header:") {
        let compared = COMPARED.contains(&name.to_ascii_lowercase().as_str());
        if !compared {
            report.error(&place.at, format!("the header `{name}` is not compared"), suggest(name, COMPARED));
        }
        return compared.then_some(place.value);
    }
    if let Some(name) = value.strip_prefix("cookie:") {
        if !is_token(name) {
            report.error(&place.at, format!("`{name}` is not a cookie's name"), "write it like \"cookie:theme\"");
        }
        return is_token(name).then_some(place.value);
    }
    if value.starts_with("html:") {
        if !pages {
            report.error(
                &place.at,
                format!("`{value}` is a place in a page, and pages are not compared"),
                "add `pages = true`, or remove it",
            );
        }
        return pages.then_some(place.value);
    }
    json_path(section, &place).then_some(place.value)
}

fn json_path(section: &Fields<'_>, path: &Located<String>) -> bool {
    let valid = is_json_path(&path.value);
    if !valid {
        section.text.report.error(&path.at, format!("`{}` is not a JSON path", path.value), JSON_PATH);
    }
    valid
}

fn is_json_path(path: &str) -> bool {
    path == "$" || path.starts_with("$.") || path.starts_with("$[")
}

/// A JSON path, and a number or a duration.
fn tolerated(table: &Fields<'_>, path: Located<&str>, item: &Item<'_>) -> Option<(String, Tolerance)> {
    if !is_json_path(path.value) {
        table.text.report.error(&path.at, format!("`{}` is not a JSON path", path.value), JSON_PATH);
        return None;
    }
    let number = match item.get_ref() {
        DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
        DeValue::Integer(whole) => whole.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let number = number.filter(|number| number.is_finite() && *number > 0.0).map(Tolerance::Number);
    let time = item.get_ref().as_str().and_then(words::duration).filter(|time| !time.is_zero()).map(Tolerance::Time);
    let tolerance = number.or(time);
    if tolerance.is_none() {
        table.wrong(path.value, item, "a tolerance", "write how far apart numbers may be, like 0.01, or times, like \"2s\"");
    }
    Some((path.value.to_owned(), tolerance?))
}
