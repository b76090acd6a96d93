//! How an entry of the journal is told. Sends nothing.

use bytes::Bytes;
use ficus_rules::api::JournalEntry;
use serde_json::json;

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The entry, as the admin API shows it.
    Json,
    /// `{"text": …}`, as Slack, Mattermost and others take it.
    Slack,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 2] = [Format::Json, Format::Slack];

    /// The word in `ficus.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Slack => "slack",
        }
    }

    /// The format of this word.
    pub fn parse(word: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.as_str() == word)
    }

    pub(super) fn body(self, entry: &JournalEntry) -> Bytes {
        let said = match self {
            Format::Json => json!(entry),
            Format::Slack => json!({ "text": sentence(entry) }),
        };
        said.to_string().into()
    }
}

/// `*users*: every gateway sends the writes to modern (ada)`.
fn sentence(entry: &JournalEntry) -> String {
    let of = entry.capability.as_ref().map_or(String::new(), |name| format!("*{}*: ", escaped(name)));
    let by = entry.by.as_ref().map_or(String::new(), |by| format!(" ({})", escaped(by)));
    format!("{of}{}{by}", escaped(&entry.line.text))
}

/// What would be markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::api::JournalEntry;
    use ficus_rules::migration::advance::JournalLine;
    use serde_json::{Value, json};

    use super::Format;

    #[test]
    fn an_entry_is_told_in_every_format() {
        let line = JournalLine { kind: "hold".into(), text: "held: p99 > 1s <!channel>".into(), detail: json!({}) };
        let entry =
            JournalEntry { id: 7, at: Timestamp(1), capability: Some("users".into()), by: Some("ada".into()), line, hash: String::new() };
        let body = |format: Format| serde_json::from_slice::<Value>(&format.body(&entry)).expect("JSON");
        assert_eq!(body(Format::Slack), json!({ "text": "*users*: held: p99 &gt; 1s &lt;!channel&gt; (ada)" }));
        assert_eq!((&body(Format::Json)["id"], &body(Format::Json)["capability"]), (&json!(7), &json!("users")));
        assert_eq!(Format::parse("slack"), Some(Format::Slack));
    }
}
