//! The OpenFeature Remote Evaluation Protocol: flags for the monolith and the services, by any OpenFeature SDK. Reads what a
//! client says of its caller, and writes answers; carries none of them.
//!
//! Of a context, `targetingKey` is the user; `anonymous` the id of the gateway's cookie, if nobody is logged in; `headers` and
//! `cookies` are objects; everything else is an attribute.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Context, FlagOverrides, Flags, evaluate};
use crate::Timestamp;

/// A context as a client says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said(Map<String, Value>);

/// A status and a body.
pub type Answer = (u16, Value);

impl Said {
    /// Reads the body of a question: `{"context": {…}}`.
    ///
    /// # Errors
    /// The answer to a body that is none.
    pub fn read(body: &[u8]) -> Result<Said, Answer> {
        let wrong = |code: &str, why: &str| (400, json!({ "errorCode": code, "errorDetails": why }));
        let body: Value = match body.is_empty() {
            true => json!({}),
            false => serde_json::from_slice(body).map_err(|_| wrong("PARSE_ERROR", "the body is not JSON"))?,
        };
        match body.get("context") {
            None | Some(Value::Null) if body.is_object() => Ok(Said::default()),
            Some(Value::Object(context)) => Ok(Said(context.clone())),
            _ => Err(wrong("INVALID_CONTEXT", "`context` is an object")),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

impl Context for Said {
    fn user(&self) -> Option<&str> {
        self.text("targetingKey")
    }

    fn anonymous(&self) -> Option<&str> {
        self.text("anonymous")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0.get("headers")?.as_object()?;
        headers.iter().find(|(said, _)| said.eq_ignore_ascii_case(name))?.1.as_str()
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.0.get("cookies")?.get(name)?.as_str()
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.into()),
            Value::Bool(_) | Value::Number(_) => Some(self.0[name].to_string().into()),
            _ => None,
        }
    }
}

/// One flag.
pub fn single(flags: &Flags, overrides: &FlagOverrides, key: &str, said: &Said, now: Timestamp) -> Answer {
    match success(flags, overrides, key, said, now) {
        Some(body) => (200, body),
        None => (404, json!({ "key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": "there is no such flag" })),
    }
}

/// All flags.
pub fn bulk(flags: &Flags, overrides: &FlagOverrides, said: &Said, now: Timestamp) -> Value {
    let all: Vec<Value> = flags.keys().filter_map(|key| success(flags, overrides, key, said, now)).collect();
    json!({ "flags": all })
}

fn success(flags: &Flags, overrides: &FlagOverrides, key: &str, said: &Said, now: Timestamp) -> Option<Value> {
    let found = evaluate(flags, overrides, key, said, now)?;
    Some(json!({ "key": key, "reason": found.reason.as_str(), "variant": found.variant, "value": found.value, "metadata": {} }))
}
