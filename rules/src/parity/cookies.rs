//! The cookies that an answer sets: their names and attributes. Values are never kept: they are secrets more often than not,
//! and two servers give different ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Difference, Leniency, MISSING, difference};

/// Reads a header `Set-Cookie`: the name, and the attributes in one spelling. `None`: it sets nothing.
pub fn read(line: &str) -> Option<(String, String)> {
    let mut parts = line.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    let attributes: BTreeMap<String, &str> = parts
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let gone =
        attributes.get("max-age").is_some_and(|age| age.starts_with('-') || *age == "0") || value.trim().trim_matches('"').is_empty();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for (key, value) in &attributes {
        match key.as_str() {
            // Of two ways to say how long, one suffices, and when exactly is a matter of the second.
            "expires" if attributes.contains_key("max-age") || gone => {}
            "expires" => drop(told.insert("Expires".to_owned())),
            "max-age" if gone => {}
            "max-age" => drop(told.insert(format!("Max-Age={value}"))),
            "domain" => drop(told.insert(format!("Domain={}", value.trim_start_matches('.').to_ascii_lowercase()))),
            "path" => drop(told.insert(format!("Path={value}"))),
            "samesite" => drop(told.insert(format!("SameSite={}", value.to_ascii_lowercase()))),
            "httponly" => drop(told.insert("HttpOnly".to_owned())),
            "secure" => drop(told.insert("Secure".to_owned())),
            "partitioned" => drop(told.insert("Partitioned".to_owned())),
            _ => {}
        }
    }
    let begins = if gone { "deleted" } else { "set" };
    Some((name.to_owned(), std::iter::once(begins.to_owned()).chain(told).collect::<Vec<_>>().join("; ")))
}

/// Where the cookies of two answers differ.
pub(super) fn compare(legacy: &Answer, modern: &Answer, lenient: &Leniency) -> Vec<Difference> {
    let names: BTreeSet<&String> = legacy.cookies.keys().chain(modern.cookies.keys()).collect();
    let ignored = |name: &str| lenient.ignore.iter().any(|place| place.strip_prefix("cookie:") == Some(name));
    let differing = names.into_iter().filter(|name| !ignored(name)).filter_map(|name| {
        let (theirs, ours) = (legacy.cookies.get(name), modern.cookies.get(name));
        let say = |attributes: Option<&String>| attributes.map_or(MISSING, String::as_str).to_owned();
        (theirs != ours).then(|| difference(&format!("cookie:{name}"), &say(theirs), &say(ours)))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Leniency, Noise, compare};
    use super::read;

    fn told(line: &str) -> String {
        read(line).map(|(name, attributes)| format!("{name}: {attributes}")).unwrap_or_default()
    }

    #[test]
    fn a_cookie_is_its_name_and_attributes_and_never_its_value() {
        assert_eq!(told("theme=s3cret; path=/; HttpOnly ; samesite=Lax; SECURE"), "theme: set; HttpOnly; Path=/; SameSite=lax; Secure");
        assert_eq!(
            told("a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=60; Domain=.School.test"),
            "a: set; Domain=school.test; Max-Age=60"
        );
        assert_eq!(told("a=1; expires=Wed, 21 Oct 2026 07:28:00 GMT"), "a: set; Expires");
        assert_eq!(told("a=\"\"; Max-Age=0; Path=/"), told("a=; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/"));
        assert!(read("lone").is_none() && read("=x").is_none() && read("").is_none());
    }

    #[test]
    fn a_cookie_that_one_side_does_not_set_or_sets_otherwise_differs() {
        let setting =
            |lines: &[&str]| Answer { status: 200, cookies: lines.iter().filter_map(|line| read(line)).collect(), ..Answer::default() };
        let paths = |a: &Answer, b: &Answer, ignore: &[&str]| {
            let lenient = Leniency { ignore: ignore.iter().map(ToString::to_string).collect(), ..Leniency::default() };
            compare("GET", a, b, &lenient, &Noise::default()).into_iter().map(|found| found.path).collect::<Vec<_>>()
        };
        let (both, one) = (setting(&["a=1; Path=/", "b=2; Secure"]), setting(&["b=3"]));
        assert_eq!(paths(&both, &both, &[]), [""; 0]);
        assert_eq!(paths(&both, &one, &[]), ["cookie:a", "cookie:b"]);
        assert_eq!(paths(&both, &one, &["cookie:a"]), ["cookie:b"]);
        assert_eq!(paths(&setting(&["a=1"]), &setting(&["a=2"]), &[]), [""; 0]);
    }
}
