//! Change events: what a rule file says of them, and the message that one becomes (CloudEvents 1.0, structured JSON).
//!
//! Decides what an event is called, whom it is about and which columns it tells. Does not decide when it is sent, and by
//! what: identity, time and number come in.

use std::fmt;

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::Timestamp;
use crate::mapping::{Kind, Row, UuidForm, Value, uuid_value};

/// Bytes that an event has at most. Buses bound what they take (RabbitMQ: 16 MiB), a database what it takes in one statement
/// (MariaDB: 16 MiB), and whoever listens what they read; one event that is refused would keep all that follow it waiting.
pub const MOST_BYTES: usize = 1 << 20;

/// One `[[event]]` of a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMap {
    /// Where it stands: `users.toml:90`.
    pub source: String,
    /// The modern table that it tells of.
    pub table: String,
    /// The `[events.NAME]` of `ficus.toml` that it goes to.
    pub bus: String,
    /// Its types: of a row that came, that changed, that went. What has none is not told.
    pub types: Types,
    /// The modern column that says whom it is about; unset: the one that keeps the legacy key.
    pub subject: Option<String>,
    /// The modern columns that it tells, beside the kept legacy key.
    pub columns: Vec<String>,
}

/// Types of events, as `user.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Types {
    /// Of a row that came.
    pub created: Option<String>,
    /// Of a row that changed.
    pub updated: Option<String>,
    /// Of a row that went.
    pub deleted: Option<String>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It came.
    Created,
    /// It changed.
    Updated,
    /// It went.
    Deleted,
}

impl Types {
    /// The type of what happened, if it is told.
    pub fn of(&self, deed: Deed) -> Option<&str> {
        match deed {
            Deed::Created => self.created.as_deref(),
            Deed::Updated => self.updated.as_deref(),
            Deed::Deleted => self.deleted.as_deref(),
        }
    }
}

/// An `[[event]]` of a compiled pair. Made by [`crate::mapping::compile()`].
#[derive(Debug, Clone, PartialEq)]
pub struct EventPlan {
    /// Where it goes.
    pub bus: String,
    /// Its types.
    pub types: Types,
    /// The event's `source`: `/capabilities/users/tables/users`.
    pub(crate) origin: String,
    /// The modern column that keeps the legacy key.
    pub(crate) key: String,
    pub(crate) subject: Subject,
    /// By index in a modern row.
    pub(crate) columns: Vec<(usize, String, Kind)>,
}

/// Whom an event is about. Can be told of a row that is gone, of which only the key is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Subject {
    /// The legacy key.
    Key,
    /// The UUID that is made of it.
    Uuid(Uuid, UuidForm),
}

/// What tells one event from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its `id`. One that is sent again has the same.
    pub id: Uuid,
    /// Its `time`.
    pub time: Timestamp,
    /// Its place among the events of the capability; grows.
    pub number: u64,
}

impl EventPlan {
    /// What an event tells of a modern row; of one that is gone, its key.
    pub fn data(&self, key: &Value, row: Option<&Row>) -> Json {
        let mut data = Map::new();
        data.insert(self.key.clone(), plain(key));
        for (index, name, kind) in row.map_or(&[][..], |_| &self.columns) {
            let value = row.and_then(|row| row.values.get(*index)).unwrap_or(&Value::Null);
            data.insert(name.clone(), shown(value, kind));
        }
        Json::Object(data)
    }

    /// Whom it is about.
    pub fn subject(&self, key: &Value) -> String {
        let subject = match (&self.subject, key) {
            (Subject::Uuid(namespace, form), Value::Int(id)) => uuid_value(namespace, *id, *form),
            _ => key.clone(),
        };
        match plain(&subject) {
            Json::String(text) => text,
            other => other.to_string(),
        }
    }

    /// The event, as it is sent. `None`: what happened is not told. One of more than [`MOST_BYTES`] tells the key alone, and
    /// has `"abridged": true`.
    pub fn message(&self, deed: Deed, key: &Value, data: &Json, stamp: Stamp) -> Option<String> {
        let mut event = self.envelope(deed, key, data, stamp)?;
        let whole = event.to_string();
        if whole.len() <= MOST_BYTES {
            return Some(whole);
        }
        event["data"] = self.data(key, None);
        event["abridged"] = Json::Bool(true);
        Some(event.to_string())
    }

    fn envelope(&self, deed: Deed, key: &Value, data: &Json, stamp: Stamp) -> Option<Json> {
        let subject = self.subject(key);
        Some(json!({
            "specversion": "1.0",
            "id": stamp.id.to_string(),
            "source": self.origin,
            "type": self.types.of(deed)?,
            "subject": subject,
            "time": moment(stamp.time),
            // Of a fixed width: it sorts as text (CloudEvents, extension "sequence").
            "sequence": format!("{:020}", stamp.number),
            "partitionkey": subject,
            "datacontenttype": "application/json",
            "data": data,
        }))
    }
}

fn moment(time: Timestamp) -> String {
    let moment = i64::try_from(time.0).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    moment.map_or_else(String::new, |moment| format!("{moment:.3}"))
}

/// A value as JSON, by what its column holds.
fn shown(value: &Value, kind: &Kind) -> Json {
    match (kind, value) {
        (Kind::Loose(kind), _) => shown(value, kind),
        (Kind::Bool, Value::Int(number @ (0 | 1))) => Json::Bool(*number == 1),
        (Kind::Json, Value::Text(text)) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        _ => plain(value),
    }
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// The word in a rule file.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Deed::Created => "created",
            Deed::Updated => "updated",
            Deed::Deleted => "deleted",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn plan(subject: Subject) -> EventPlan {
        EventPlan {
            bus: "bus".into(),
            types: Types { created: Some("user.registered".into()), updated: None, deleted: Some("user.deleted".into()) },
            origin: "/capabilities/users/tables/users".into(),
            key: "legacy_id".into(),
            subject,
            columns: vec![(2, "active".into(), Kind::Bool), (0, "profile".into(), Kind::Loose(Box::new(Kind::Json)))],
        }
    }

    fn stamp() -> Stamp {
        Stamp { id: Uuid::nil(), time: Timestamp(1_700_000_000_007), number: 42 }
    }

    #[test]
    fn an_event_tells_the_columns_that_it_is_told_to_and_no_other() {
        let row = Row { key: Value::Int(7), values: vec![Value::Text("{\"a\":[1]}".into()), Value::Text("pbkdf2".into()), Value::Int(1)] };
        let plan = plan(Subject::Key);
        let data = plan.data(&row.key, Some(&row));
        assert_eq!(data, json!({ "legacy_id": 7, "active": true, "profile": { "a": [1] } }));
        let event: Json = serde_json::from_str(&plan.message(Deed::Created, &row.key, &data, stamp()).unwrap()).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": "00000000-0000-0000-0000-000000000000", "source": "/capabilities/users/tables/users",
            "type": "user.registered", "subject": "7", "partitionkey": "7", "time": "2023-11-14T22:13:20.007Z",
            "sequence": "00000000000000000042", "datacontenttype": "application/json", "data": data,
        });
        assert_eq!(event, expected);
        assert_eq!(plan.message(Deed::Updated, &row.key, &data, stamp()), None, "it has no type");
    }

    #[test]
    fn what_is_too_large_tells_the_key_and_says_so() {
        let plan = plan(Subject::Key);
        let told = |bytes: usize| -> Json {
            let row = Row { key: Value::Int(7), values: vec![Value::Text("x".repeat(bytes)), Value::Null, Value::Int(1)] };
            let text = plan.message(Deed::Created, &row.key, &plan.data(&row.key, Some(&row)), stamp()).unwrap();
            assert!(text.len() <= MOST_BYTES, "{}", text.len());
            serde_json::from_str(&text).unwrap()
        };
        let (small, large) = (told(1_000), told(MOST_BYTES));
        assert_eq!((small["data"]["profile"].as_str().unwrap().len(), small.get("abridged")), (1_000, None));
        assert_eq!((&large["data"], &large["abridged"]), (&json!({ "legacy_id": 7 }), &json!(true)));
        assert_eq!((&large["subject"], &large["type"]), (&small["subject"], &small["type"]));
    }

    #[test]
    fn of_a_row_that_is_gone_the_key_is_told_and_the_same_subject() {
        let (plan, namespace) = (plan(Subject::Uuid(Uuid::NAMESPACE_OID, UuidForm::Text)), Uuid::NAMESPACE_OID);
        let data = plan.data(&Value::Int(7), None);
        assert_eq!(data, json!({ "legacy_id": 7 }));
        let event: Json = serde_json::from_str(&plan.message(Deed::Deleted, &Value::Int(7), &data, stamp()).unwrap()).unwrap();
        assert_eq!(event["subject"], Uuid::new_v5(&namespace, b"7").to_string());
        assert_eq!(event["type"], "user.deleted");
    }
}
