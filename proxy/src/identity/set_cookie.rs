//! What an answer does to cookies: sets one to a value, or deletes it (RFC 6265, 5.2). Nothing else in it matters here.

use http::{HeaderMap, header};

/// The cookies of an answer's `Set-Cookie` lines.
pub(super) struct SetCookies<'a>(Vec<(&'a str, Option<&'a str>)>);

impl<'a> SetCookies<'a> {
    pub(super) fn of(answer: &'a HeaderMap) -> SetCookies<'a> {
        let lines = answer.get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
        SetCookies(lines.filter_map(read).collect())
    }

    /// What becomes of a cookie: nothing, `Some(None)`: it is deleted, or its new value. The last line counts.
    #[allow(clippy::option_option, reason = "not mentioned is not the same as deleted")]
    pub(super) fn get(&self, name: &str) -> Option<Option<&'a str>> {
        self.0.iter().rev().find(|(set, _)| *set == name).map(|(_, value)| *value)
    }
}

fn read(line: &str) -> Option<(&str, Option<&str>)> {
    let mut parts = line.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let over = parts.any(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (key.eq_ignore_ascii_case("max-age") && value.parse::<i64>().is_ok_and(|age| age <= 0))
            || (key.eq_ignore_ascii_case("expires") && value.contains("1970"))
    });
    Some((name.trim(), Some(value).filter(|value| !value.is_empty() && !over)))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::SetCookies;

    #[test]
    fn a_cookie_is_set_or_deleted_and_the_last_line_counts() {
        let mut answer = HeaderMap::new();
        for line in [
            "a=1; Path=/",
            "b=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/",
            "c=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "d=x; max-age=0",
            "e=1",
            "e=2; Max-Age=1970",
        ] {
            answer.append("set-cookie", line.parse().expect("a value"));
        }
        let set = SetCookies::of(&answer);
        let of = |name| set.get(name);
        assert_eq!([of("a"), of("b"), of("c"), of("d")], [Some(Some("1")), Some(None), Some(None), Some(None)]);
        assert_eq!((of("e"), of("f")), (Some(Some("2")), None));
    }
}
