//! The journal as a chain: every entry carries a hash over itself and the hash of the one before, so that none can be
//! changed, taken out or moved without all that follow failing to fit. Pure: entries come in, in order.
//!
//! Whoever can write the whole store can also make the whole chain anew. Against that helps a [`Head`] that is kept
//! elsewhere.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::JournalEntry;

/// The last entry of a journal, and the hash that all before it lead to. Before the first entry: 0 and no hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its id.
    pub id: u64,
    /// Its hash (hexadecimal).
    pub hash: String,
}

/// The first entry that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another id than the next one: entries were taken out, put in or moved.
    #[error("entry {found} follows entry {after}: what stood between them is gone, or entries were moved")]
    Gap {
        /// The id before it.
        after: u64,
        /// Its id.
        found: u64,
    },
    /// It, or its place, is not what it was when it was written.
    #[error("entry {id} is not what was written: it, or the one before it, was changed")]
    Changed {
        /// Its id.
        id: u64,
    },
    /// The journal ends before its head.
    #[error("the journal ends with entry {last}, and entry {head} was written: the newest are gone")]
    Cut {
        /// The last id that is there.
        last: u64,
        /// The last id that was written.
        head: u64,
    },
}

impl Head {
    /// The hash of an entry that follows, by whatever hash it carries itself.
    pub fn link(&self, entry: &JournalEntry) -> String {
        let mut text = String::new();
        let present = |text: &Option<String>| text.as_ref().map_or("-".to_owned(), |text| format!("+{text}"));
        let line = &entry.line;
        let mut detail = String::new();
        canonical(&line.detail, &mut detail);
        let parts = [
            &self.hash,
            &entry.id.to_string(),
            &entry.at.0.to_string(),
            &present(&entry.capability),
            &present(&entry.by),
            &line.kind,
            &line.text,
            &detail,
        ];
        for part in parts {
            // With their lengths: nothing can be moved from one part into the next.
            let _ = writeln!(text, "{}:{part}", part.len());
        }
        Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// It does not fit; the head stays where it is.
    pub fn follow(&mut self, entry: &JournalEntry) -> Result<(), Misfit> {
        if entry.id != self.id + 1 {
            return Err(Misfit::Gap { after: self.id, found: entry.id });
        }
        if self.link(entry) != entry.hash {
            return Err(Misfit::Changed { id: entry.id });
        }
        *self = Head { id: entry.id, hash: entry.hash.clone() };
        Ok(())
    }

    /// Whether this is where the journal ends that was followed so far.
    ///
    /// # Errors
    /// It ended before, or with another entry.
    pub fn ends(&self, written: &Head) -> Result<(), Misfit> {
        match self.id.cmp(&written.id) {
            std::cmp::Ordering::Less => Err(Misfit::Cut { last: self.id, head: written.id }),
            _ if self == written => Ok(()),
            _ => Err(Misfit::Changed { id: written.id }),
        }
    }
}

/// One spelling for each value: members by name, numbers that are no integers to nine digits, for their last digit may
/// change on the way through a text.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, value) in members {
                let _ = write!(out, "{}:{name}=", name.len());
                canonical(value, out);
                out.push(';');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(';');
            }
            out.push(']');
        }
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            let _ = write!(out, "{:.9e}", number.as_f64().unwrap_or(f64::NAN));
        }
        Value::String(text) => {
            let _ = write!(out, "{}\"{text}", text.len());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Timestamp;
    use crate::migration::advance::JournalLine;

    fn journal() -> Vec<JournalEntry> {
        let mut head = Head::default();
        let entry = |id: u64| JournalEntry {
            id,
            at: Timestamp(id * 10),
            capability: Some("users".into()).filter(|_| id != 3),
            by: Some("ada".into()).filter(|_| id.is_multiple_of(2)),
            line: JournalLine {
                kind: "hold".into(),
                text: format!("line {id}"),
                detail: json!({ "b": [id, null, 0.1], "a": { "c": "d" } }),
            },
            hash: String::new(),
        };
        let written = (1..=5).map(|id| {
            let mut entry = entry(id);
            entry.hash = head.link(&entry);
            head.follow(&entry).expect("it was just made to fit");
            entry
        });
        written.collect()
    }

    fn first_misfit(entries: &[JournalEntry]) -> Result<Head, Misfit> {
        let mut head = Head::default();
        entries.iter().try_for_each(|entry| head.follow(entry))?;
        Ok(head)
    }

    #[test]
    fn what_was_changed_removed_or_moved_is_told_by_its_first_entry() {
        let good = journal();
        let head = first_misfit(&good).expect("it fits");
        assert_eq!((head.id, &head.hash), (5, &good[4].hash));
        assert_eq!(head.ends(&head.clone()), Ok(()));
        let with = |change: &dyn Fn(&mut Vec<JournalEntry>)| {
            let mut entries = good.clone();
            change(&mut entries);
            first_misfit(&entries).err()
        };
        let changed = |id| Some(Misfit::Changed { id });
        assert_eq!(with(&|e| e[2].line.text.push('!')), changed(3));
        assert_eq!(with(&|e| e[2].line.kind = "release".into()), changed(3));
        assert_eq!(with(&|e| e[2].by = Some("eve".into())), changed(3));
        assert_eq!(with(&|e| e[1].by = None), changed(2));
        assert_eq!(with(&|e| e[1].capability = None), changed(2));
        assert_eq!(with(&|e| e[1].at = Timestamp(21)), changed(2));
        assert_eq!(with(&|e| e[0].line.detail["a"]["c"] = json!("e")), changed(1));
        assert_eq!(with(&|e| e[3].hash = e[2].hash.clone()), changed(4));
        // One who mends the hash of what he changed only moves the misfit.
        assert_eq!(
            with(&|e| {
                e[2].line.text.push('!');
                e[2].hash = Head { id: 2, hash: e[1].hash.clone() }.link(&e[2]);
            }),
            changed(4)
        );
        assert_eq!(with(&|e| drop(e.remove(2))), Some(Misfit::Gap { after: 2, found: 4 }));
        assert_eq!(with(&|e| drop(e.remove(0))), Some(Misfit::Gap { after: 0, found: 2 }));
        assert_eq!(with(&|e| e.swap(1, 2)), Some(Misfit::Gap { after: 1, found: 3 }));
        assert_eq!(
            with(&|e| {
                e.swap(1, 2);
                (e[1].id, e[2].id) = (2, 3);
            }),
            changed(2)
        );
        let cut = first_misfit(&good[..3]).expect("what is left fits");
        assert_eq!(cut.ends(&head), Err(Misfit::Cut { last: 3, head: 5 }));
    }

    #[test]
    fn the_way_through_json_changes_no_hash() {
        for entry in journal() {
            let text = serde_json::to_string(&entry).expect("JSON");
            let back: JournalEntry = serde_json::from_str(&text).expect("JSON");
            let before = Head { id: entry.id - 1, hash: "00".into() };
            assert_eq!(before.link(&back), before.link(&entry));
        }
        let spelled = |value: Value| {
            let mut out = String::new();
            canonical(&value, &mut out);
            out
        };
        assert_eq!(spelled(json!({ "b": 1, "a": [true, null] })), "{1:a=[true;null;];1:b=1;}");
        assert_ne!(spelled(json!("1")), spelled(json!(1)));
        assert_ne!(spelled(json!(["a", "b"])), spelled(json!(["a\"b"])));
    }
}
