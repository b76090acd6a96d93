//! Paths as routes see them: a normalised copy. The raw path is what gets forwarded.

use std::fmt::Write as _;

/// The normalised path: percent-decoded where that is harmless, dot segments resolved, slashes merged. Idempotent.
///
/// Unreserved characters (RFC 3986, 2.3) are decoded, all other escapes stay, in upper case; bytes beyond ASCII are
/// escaped. So two spellings that every server takes for the same path become one.
///
/// # Errors
/// A sentence for the answer 400: what makes the path dangerous (an encoded slash, backslash or NUL, invalid escapes,
/// dot segments above the root).
pub fn normalise(raw: &str) -> Result<String, &'static str> {
    if !raw.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    resolve(&unescape(raw)?)
}

/// The path as it is spelled: percent-decoded like [`normalise`] does, but with its dot segments and doubled slashes. What
/// a server sees that resolves and merges nothing.
///
/// # Errors
/// As [`normalise`].
pub fn spelled(raw: &str) -> Result<String, &'static str> {
    unescape(raw)
}

fn unescape(raw: &str) -> Result<String, &'static str> {
    let mut plain = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = bytes.next().and_then(digit).zip(bytes.next().and_then(digit));
                let (high, low) = digits.ok_or("the path has an invalid escape")?;
                match high * 16 + low {
                    b'/' | b'\\' => return Err("the path has an encoded slash or backslash"),
                    0..=0x1f | 0x7f => return Err("the path has an encoded control character"),
                    byte if is_unreserved(byte) => plain.push(char::from(byte)),
                    byte => escape(&mut plain, byte),
                }
            }
            0..=0x20 | 0x7f => return Err("the path has a space or control character"),
            b'\\' => return Err("the path has a backslash"),
            b'?' | b'#' => return Err("the path has a query or fragment"),
            0x80.. => escape(&mut plain, byte),
            byte => plain.push(char::from(byte)),
        }
    }
    Ok(plain)
}

fn resolve(path: &str) -> Result<String, &'static str> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or("the path leads above its root")?;
            }
            segment => kept.push(segment),
        }
    }
    let folder = kept.is_empty() || matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let mut resolved = String::with_capacity(path.len());
    for segment in &kept {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if folder {
        resolved.push('/');
    }
    Ok(resolved)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn escape(text: &mut String, byte: u8) {
    write!(text, "%{byte:02X}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn spellings_of_one_path_become_one() {
        for (raw, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a//b///", "/a/b/"),
            ("/%61dmin/%7Eme", "/admin/~me"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b/.", "/b/"),
            ("/a/..", "/"),
            ("/a%20b/%c3%bc", "/a%20b/%C3%BC"),
            ("/ü", "/%C3%BC"),
            ("/%2541", "/%2541"),
            ("//x/../y/%2e%2e/z", "/z"),
            ("/a/...", "/a/..."),
            ("/a;b=1,2:@!$&'()*+", "/a;b=1,2:@!$&'()*+"),
        ] {
            assert_eq!(normalise(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    #[test]
    fn what_servers_could_disagree_about_is_refused() {
        for raw in [
            "",
            "*",
            "a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/%0d%0a",
            "/%7f",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/..",
            "/a/../..",
            "/%2e%2e/a",
            "/a b",
            "/a\tb",
            "/a?b",
            "/a#b",
        ] {
            assert!(normalise(raw).is_err(), "{raw}");
        }
    }
}
