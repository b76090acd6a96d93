//! A table of a rule file, read key by key. Each reading complains about what it does not like and goes on without it;
//! [`Fields::finish`] complains about all keys that nobody asked for.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Located, Place, Text};
use super::words::{self, suggest};
use crate::Share;
use crate::hours::{self, Hours};

pub(super) type Item<'a> = Spanned<DeValue<'a>>;

/// A table and what was asked of it.
pub(super) struct Fields<'a> {
    pub(super) text: &'a Text<'a>,
    /// As it is written: `[[route]]`.
    pub(super) what: &'static str,
    /// Its header.
    pub(super) at: Place,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    /// Names that users choose, among keys that are not theirs to choose.
    named: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(text: &'a Text<'a>, what: &'static str, at: Place, table: &'a DeTable<'a>) -> Fields<'a> {
        Fields { text, what, at, table, asked: Vec::new(), named: Vec::new() }
    }

    /// Complains at the header.
    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.text.report.error(&self.at, message, hint);
    }

    /// The value of a key, whatever it is.
    pub(super) fn item(&mut self, key: &'static str) -> Option<&'a Item<'a>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Whether the key is there; does not count as asking.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Complains unless the key is there.
    pub(super) fn require(&self, key: &str, example: &str) {
        if !self.has(key) {
            self.error(format!("{} has no `{key}`", self.what), format!("add `{key} = {example}`"));
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Located<String>> {
        let item = self.item(key)?;
        self.as_string(key, item)
    }

    /// A string that must be there and not be empty.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Located<String>> {
        self.require(key, example);
        let string = self.string(key)?;
        if string.value.is_empty() {
            self.text.report.error(&string.at, format!("`{key}` is empty"), format!("write it like {example}"));
            return None;
        }
        Some(string)
    }

    /// A string, or a list of them.
    pub(super) fn strings(&mut self, key: &'static str) -> Vec<Located<String>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        match item.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.as_string(key, item)).collect(),
            _ => self.as_string(key, item).into_iter().collect(),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let item = self.item(key)?;
        let value = item.get_ref().as_bool();
        self.or_complain(key, item, value, "true or false", "write it without quotes")
    }

    pub(super) fn natural(&mut self, key: &'static str) -> Option<Located<u64>> {
        let item = self.item(key)?;
        let value = integer(item.get_ref()).and_then(|value| u64::try_from(value).ok());
        self.or_complain(key, item, value, "a whole number from 0 on", "write it without quotes, like 200")
    }

    pub(super) fn number(&mut self, key: &'static str) -> Option<Located<f64>> {
        let item = self.item(key)?;
        let value = match item.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(whole) => whole.as_str().parse::<f64>().ok(),
            _ => None,
        };
        self.or_complain(key, item, value.filter(|value| value.is_finite()), "a number", "write it without quotes, like 1.2")
    }

    pub(super) fn share(&mut self, key: &'static str) -> Option<Located<Share>> {
        let item = self.item(key)?;
        let at = self.place(item);
        let Some(text) = item.get_ref().as_str() else {
            self.wrong(key, item, "a percentage", "write it as a string, like \"5%\" or \"0.5%\"");
            return None;
        };
        match Share::parse(text) {
            Ok(value) => Some(Located { value, at }),
            Err(why) => {
                self.text.report.error(&at, format!("`{key}`: {why}"), "write it like \"5%\" or \"0.5%\", at most \"100%\"");
                None
            }
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Located<Duration>> {
        let item = self.item(key)?;
        let value = item.get_ref().as_str().and_then(words::duration);
        self.or_complain(key, item, value, "a duration", words::DURATION)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Option<Located<u64>> {
        let item = self.item(key)?;
        let value = item.get_ref().as_str().and_then(words::size);
        self.or_complain(key, item, value, "a size", words::SIZE)
    }

    /// A table under a key, like `[gate.errors]` or `headers = { … }`.
    pub(super) fn table(&mut self, key: &'static str, what: &'static str) -> Option<Fields<'a>> {
        let item = self.item(key)?;
        self.as_table(key, what, item)
    }

    /// Tables under names that users choose, among other keys: those that have one of `marks`.
    pub(super) fn named_tables(&mut self, what: &'static str, marks: &[&str]) -> Vec<(Located<&'a str>, Fields<'a>)> {
        let mut found = Vec::new();
        for (name, item) in self.entries().into_iter().filter(|(name, _)| !self.asked.contains(&name.value)) {
            let DeValue::Table(table) = item.get_ref() else { continue };
            if marks.iter().any(|mark| table.contains_key(*mark)) {
                found.push((name, Fields::new(self.text, what, self.place(item), table)));
            }
        }
        self.named.extend(found.iter().map(|(name, _)| name.value));
        found
    }

    /// `windows`: when something may begin.
    pub(super) fn windows(&mut self) -> Vec<Hours> {
        let windows = self.strings("windows");
        let parsed = windows.into_iter().filter_map(|window| {
            let parsed = Hours::parse(&window.value);
            if let Err(why) = &parsed {
                self.text.report.error(&window.at, why, format!("write it like {}", hours::EXAMPLE));
            }
            parsed.ok()
        });
        parsed.collect()
    }

    /// The tables of `[[key]]`, in order.
    pub(super) fn tables(&mut self, key: &'static str, what: &'static str) -> Vec<Fields<'a>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let DeValue::Array(items) = item.get_ref() else {
            self.wrong(key, item, "a list of sections", &format!("write `{what}`, with two brackets"));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.as_table(key, what, item)).collect()
    }

    /// All keys with their values, in the order of the file, where keys are names that users choose.
    pub(super) fn entries(&self) -> Vec<(Located<&'a str>, &'a Item<'a>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let located = |key: &'a Spanned<toml::de::DeString<'a>>| Located { value: key.get_ref().as_ref(), at: self.text.place(key.span()) };
        entries.into_iter().map(|(key, item)| (located(key), item)).collect()
    }

    pub(super) fn as_string(&self, key: impl Display, item: &'a Item<'a>) -> Option<Located<String>> {
        let value = item.get_ref().as_str().map(str::to_owned);
        self.or_complain(key, item, value, "a string", "write it in quotes")
    }

    pub(super) fn as_table(&self, key: impl Display, what: &'static str, item: &'a Item<'a>) -> Option<Fields<'a>> {
        match item.get_ref() {
            DeValue::Table(table) => Some(Fields::new(self.text, what, self.place(item), table)),
            _ => {
                self.wrong(key, item, "a table", &format!("write it like {what}"));
                None
            }
        }
    }

    pub(super) fn place(&self, item: &Item<'_>) -> Place {
        self.text.place(item.span())
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries() {
            if !self.asked.contains(&key.value) && !self.named.contains(&key.value) {
                let message = format!("`{}` is not a key of {}", key.value, self.what);
                self.text.report.error(&key.at, message, suggest(key.value, self.asked.iter().copied()));
            }
        }
    }

    /// Complains that a value is of another kind.
    pub(super) fn wrong(&self, key: impl Display, item: &Item<'_>, expected: &str, hint: &str) {
        let message = format!("`{key}` is {}, not {expected}", describe(item.get_ref()));
        self.text.report.error(&self.place(item), message, hint);
    }

    fn or_complain<T>(&self, key: impl Display, item: &Item<'_>, value: Option<T>, expected: &str, hint: &str) -> Option<Located<T>> {
        if value.is_none() {
            self.wrong(key, item, expected, hint);
        }
        value.map(|value| Located { value, at: self.place(item) })
    }
}

/// The integer that a value is.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 30 => format!("\"{text}\""),
        DeValue::String(_) => "a string".to_owned(),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
