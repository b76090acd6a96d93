//! JSON documents compared by what they say: without white space, keys in order, of a repeated key the last, numbers by
//! their value however large or precise. Not for writing: what it returns is a name of the document.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::decimal;

/// Whether a text is one document.
pub(super) fn is_document(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Equal for equal documents, and for no others. `None`: not a document.
pub(super) fn identity(text: &str) -> Option<String> {
    if !is_document(text) {
        return None;
    }
    let mut walk = Walk { text, at: 0 };
    let mut named = String::with_capacity(text.len());
    walk.value(&mut named)?;
    Some(named)
}

/// A walk over a text that is known to be a document.
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self, named: &mut String) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(named)?,
            b'[' => self.array(named)?,
            b'"' => named.push_str(&quoted(self.string()?)),
            b'-' | b'0'..=b'9' => named.push_str(&decimal::identity(self.word())?),
            _ => named.push_str(self.word()),
        }
        Some(())
    }

    fn object(&mut self, named: &mut String) -> Option<()> {
        let mut entries = BTreeMap::new();
        self.at += 1;
        while self.peek()? != b'}' {
            let key = quoted(self.string()?);
            self.skip(b':')?;
            let mut value = String::new();
            self.value(&mut value)?;
            entries.insert(key, value);
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        named.push_str(&format!("{{{}}}", entries.join(",")));
        Some(())
    }

    fn array(&mut self, named: &mut String) -> Option<()> {
        self.at += 1;
        named.push('[');
        while self.peek()? != b']' {
            self.value(named)?;
            if self.peek()? == b',' {
                self.at += 1;
                named.push(',');
            }
        }
        self.at += 1;
        named.push(']');
        Some(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        Some(bytes[self.at])
    }

    fn skip(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.peek()?;
        let (from, bytes) = (self.at, self.text.as_bytes());
        self.at += 1;
        while *bytes.get(self.at)? != b'"' {
            self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        self.text.get(from..self.at)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

/// A string in one spelling. Half of a surrogate pair is no text, and stays as it is written.
fn quoted(token: &str) -> String {
    match serde_json::from_str::<String>(token) {
        Ok(text) => serde_json::Value::String(text).to_string(),
        Err(_) => token.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::identity;
    use proptest::prelude::*;

    #[test]
    fn documents_that_say_the_same_are_the_same() {
        for (one, other) in [
            (r#"{"b": 1, "a": [1, 2.0]}"#, r#"{"a":[1.0,2],"b":1}"#),
            (r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#),
            (r#""é\/\n""#, r#""\u00e9/\u000a""#),
            ("1e2", " 100.00 "),
            ("-0", "0"),
            (r#"{"\u0061": {}}"#, r#"{"a":{ }}"#),
            ("[ ]", "[]"),
            (r#"["\\", "]"]"#, r#"[ "\\","]" ]"#),
        ] {
            assert_eq!(identity(one), identity(other), "{one} {other}");
            assert!(identity(one).is_some(), "{one}");
        }
    }

    #[test]
    fn documents_that_say_something_else_are_not() {
        for (one, other) in [
            ("100000000000000000000000000001", "100000000000000000000000000002"),
            ("0.1000000000000000000001", "0.1"),
            ("1e400", "1e401"),
            ("[1,2]", "[2,1]"),
            ("[12]", "[1,2]"),
            ("\"1\"", "1"),
            ("null", "\"null\""),
            (r#"{"a":null}"#, "{}"),
            (r#"["a,b"]"#, r#"["a","b"]"#),
            ("[[],[]]", "[[[]]]"),
        ] {
            assert_ne!(identity(one), identity(other), "{one} {other}");
            assert!(identity(one).is_some() && identity(other).is_some(), "{one} {other}");
        }
        for text in ["", "{", "01", "{'a':1}", "[1,]", "nul", "1 2"] {
            assert_eq!(identity(text), None, "{text}");
        }
    }

    fn document() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[a-c\"\\\\,:\\[\\]{}é ]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                proptest::collection::btree_map("[ab\"]{0,2}", inner, 0..3)
                    .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_as_parsed_and_equal_by_identity_are_one(one in document(), other in document()) {
            let pretty = serde_json::to_string_pretty(&one).expect("a document");
            prop_assert_eq!(identity(&pretty), identity(&one.to_string()));
            prop_assert_eq!(identity(&one.to_string()) == identity(&other.to_string()), one == other);
        }
    }
}
