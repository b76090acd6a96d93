//! `[[test]]`: an expectation, read. `expectations` runs it.

use std::collections::BTreeMap;

use super::fields::{Fields, integer};
use super::routes::{method_name, side};
use super::shape::{Key, Kind, Names, Section, TOKEN};
use super::source::Located;
use super::words::{is_token, suggest};
use crate::Share;
use crate::plan::{Expected, Moment, RouteTest};
use crate::route::PlainRequest;

pub(super) const TEST: Section = Section::new(
    "[[test]]",
    &[
        Key::new("request", Kind::Like(REQUEST), "Method and path: GET /api/v1/users/42/").must("\"GET /api/v1/users/42/\""),
        Key::new("at", Kind::Like(MOMENT), "start, reads N% or cutover.").must("\"reads 100%\""),
        Key::new(
            "expect",
            Kind::Word(&["legacy", "modern", "none", "401", "403"]),
            "The side that serves it; none: no route of any capability; 401, 403: the gateway refuses its caller.",
        )
        .must("\"modern\""),
        Key::new("host", Kind::Text, "The host, if it matters."),
        Key::new("user", Kind::User, "The user's id, if logged in."),
        Key::new("role", Kind::Several(&Kind::Like(r"\S")), "The user's roles."),
        Key::new("headers", Kind::Table(&HEADERS), "Headers."),
    ],
);

const HEADERS: Section = Section::map("headers = { x-name = \"value\" }", Names::Like(TOKEN), Kind::Text);
const REQUEST: &str = r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/|\*$)";
const MOMENT: &str = r"^(start|cutover|reads \s*(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)\s*%\s*)$";

pub(super) fn read(mut section: Fields<'_>) -> Option<Located<RouteTest>> {
    let request = section.required("request").and_then(|line| request(&section, &line));
    let moment = section.required("at").and_then(|word| moment(&section, &word));
    let expect = section.required("expect").and_then(|word| expect(&section, &word));
    let host = section.string("host").map(|host| host.value);
    let user = user(&mut section);
    let roles = section.strings("role").into_iter().map(|role| role.value).collect();
    let headers = headers(&mut section);
    let at = section.at.clone();
    section.finish();
    let (method, target) = request?;
    let test = RouteTest { source: at.source(), method, target, host, headers, user, roles, at: moment?, expect: expect? };
    Some(Located { value: test, at })
}

fn request(section: &Fields<'_>, line: &Located<String>) -> Option<(String, String)> {
    let report = section.text.report;
    let Some((method, target)) = line.value.split_once(' ') else {
        report.error(&line.at, format!("`{}` is not a request", line.value), "write method and path, like \"GET /api/v1/users/42/\"");
        return None;
    };
    let method = method_name(section, Located { value: method.to_owned(), at: line.at.clone() })?;
    if let Err(why) = PlainRequest::new(&method, target) {
        report.error(&line.at, format!("the gateway refuses this request: {why}"), "write the path as a client sends it");
        return None;
    }
    Some((method, target.to_owned()))
}

fn moment(section: &Fields<'_>, word: &Located<String>) -> Option<Moment> {
    let report = section.text.report;
    match word.value.as_str() {
        "start" => return Some(Moment::Start),
        "cutover" => return Some(Moment::Cutover),
        _ => {}
    }
    match word.value.strip_prefix("reads ").map(Share::parse) {
        Some(Ok(share)) => return Some(Moment::Reads(share)),
        Some(Err(why)) => report.error(&word.at, why, "write it like \"reads 50%\""),
        None => {
            let hint = suggest(&word.value, ["start", "reads 100%", "cutover"]);
            report.error(&word.at, format!("`{}` is not a moment of the way", word.value), hint);
        }
    }
    None
}

fn expect(section: &Fields<'_>, word: &Located<String>) -> Option<Expected> {
    match word.value.as_str() {
        "none" => Some(Expected::NoRoute),
        "401" => Some(Expected::Refused(401)),
        "403" => Some(Expected::Refused(403)),
        "legacy" | "modern" => side(section, "expect", word).map(Expected::Side),
        other => {
            let hint = suggest(other, ["legacy", "modern", "none", "401", "403"]);
            section.text.report.error(&word.at, format!("`expect` is \"{other}\", not `legacy`, `modern`, `none`, `401` or `403`"), hint);
            None
        }
    }
}

fn user(section: &mut Fields<'_>) -> Option<String> {
    let item = section.item("user")?;
    match integer(item.get_ref()) {
        Some(id) => Some(id.to_string()),
        None => section.as_string("user", item).map(|user| user.value),
    }
}

fn headers(section: &mut Fields<'_>) -> BTreeMap<String, String> {
    let Some(table) = section.table("headers") else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, item) in table.entries() {
        if !is_token(name.value) {
            table.text.report.error(&name.at, format!("`{}` is not a header's name", name.value), "letters, digits and `-`");
        }
        if let Some(value) = table.as_string(name.value, item) {
            headers.insert(name.value.to_ascii_lowercase(), value.value);
        }
    }
    headers
}
