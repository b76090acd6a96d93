//! What of a difference is not told: the values of fields whose names say that they are secret, of fields that a rule names,
//! and whatever looks like a token.

use serde_json::Value;

use super::place::{Pattern, Segment};

/// What stands for them.
pub(super) const HIDDEN: &str = "(hidden)";

/// Parts of names, in lower case with `_` for `-`.
const WORDS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "api_key",
    "apikey",
    "session",
    "csrf",
    "cookie",
    "credential",
    "private_key",
    "signature",
    "otp",
    "pin_code",
    "iban",
    "card_number",
    "cvv",
    "cvc",
    "ssn",
    "jwt",
];

/// Whether a field of this name is not told.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    WORDS.iter().any(|word| name.contains(word))
}

/// Three parts of base64, as JSON Web Tokens have.
fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// A value at a place, as it is told.
pub(super) fn told(place: &mut Vec<Segment>, value: &Value, redact: &[Pattern]) -> String {
    masked(place, value, redact).to_string()
}

fn masked(place: &mut Vec<Segment>, value: &Value, redact: &[Pattern]) -> Value {
    let named = place.iter().any(|segment| matches!(segment, Segment::Name(name) if is_secret(name)));
    if named || redact.iter().any(|pattern| pattern.covers(place)) {
        return Value::from(HIDDEN);
    }
    let mut below = |segment: Segment, value: &Value| {
        place.push(segment);
        let masked = masked(place, value, redact);
        place.pop();
        masked
    };
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), below(Segment::Name(name.clone()), value))).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| below(Segment::Index(at), value)).collect(),
        Value::String(text) if looks_like_a_token(text) => Value::from(HIDDEN),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::place::{Pattern, Segment};
    use super::told;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let value = json!({"user": {"Api-Key": "s3cret", "name": "Ada"}, "reset_token": ["s3cret"], "note": "s3cret", "at": "eyJhbGciOiJI.eyJzdWI.s3cret"});
        let redact = [Pattern::parse("$.note")];
        let shown = told(&mut Vec::new(), &value, &redact);
        assert!(!shown.contains("s3cret") && shown.contains("Ada"), "{shown}");
        assert_eq!(told(&mut vec![Segment::Name("password".into()), Segment::Index(0)], &json!("s3cret"), &[]), "\"(hidden)\"");
    }
}
