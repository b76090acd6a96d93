//! A table of a rule file, read key by key, by the shape of its section. Each reading complains about what it does not like and
//! goes on without it; [`Fields::finish`] complains about all keys that the section does not have. To read a key that is not
//! declared, or as another kind, is a mistake of ours and panics; so does, where mistakes are looked for, one that nobody reads.

use std::fmt::Display;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::shape::{Key, Reading, Section};
use super::source::{Located, Place, Text};
use super::words::{self, suggest};
use crate::Share;
use crate::hours::{self, Hours};

pub(super) type Item<'a> = Spanned<DeValue<'a>>;

/// A table and what was asked of it.
pub(super) struct Fields<'a> {
    pub(super) text: &'a Text<'a>,
    shape: &'static Section,
    /// Its header.
    pub(super) at: Place,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
    /// Names that users choose, among keys that are not theirs to choose.
    chosen: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(text: &'a Text<'a>, shape: &'static Section, at: Place, table: &'a DeTable<'a>) -> Fields<'a> {
        Fields { text, shape, at, table, asked: Vec::new(), chosen: Vec::new() }
    }

    /// Complains at the header.
    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.text.report.error(&self.at, message, hint);
    }

    /// The value of a key, whatever it is.
    pub(super) fn item(&mut self, key: &'static str) -> Option<&'a Item<'a>> {
        self.asked.push(self.shape.key(key).name);
        self.table.get(key)
    }

    /// The value of a key that is read so.
    fn read(&mut self, key: &'static str, reading: Reading) -> Option<&'a Item<'a>> {
        let kind = self.shape.key(key).kind;
        assert!(kind.is_read_as(reading), "`{key}` of {} is not declared as {reading:?}", self.shape.written);
        self.item(key)
    }

    /// Whether the key is there; does not count as asking.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Complains unless the key is there.
    pub(super) fn require(&self, key: &str) {
        let Key { must, example, .. } = self.shape.key(key);
        assert!(must, "`{key}` of {} is not declared as one that must be there", self.shape.written);
        if !self.has(key) {
            self.error(format!("{} has no `{key}`", self.shape.written), format!("add `{key} = {example}`"));
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Located<String>> {
        let item = self.read(key, Reading::String)?;
        self.as_string(key, item)
    }

    /// A string that must be there and not be empty.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Located<String>> {
        self.require(key);
        let string = self.string(key)?;
        if string.value.is_empty() {
            let example = self.shape.key(key).example;
            self.text.report.error(&string.at, format!("`{key}` is empty"), format!("write it like {example}"));
            return None;
        }
        Some(string)
    }

    /// A string, or a list of them.
    pub(super) fn strings(&mut self, key: &'static str) -> Vec<Located<String>> {
        let Some(item) = self.read(key, Reading::Strings) else { return Vec::new() };
        match item.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.as_string(key, item)).collect(),
            _ => self.as_string(key, item).into_iter().collect(),
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let item = self.read(key, Reading::Boolean)?;
        let value = item.get_ref().as_bool();
        self.or_complain(key, item, value, "true or false", "write it without quotes")
    }

    pub(super) fn natural(&mut self, key: &'static str) -> Option<Located<u64>> {
        let item = self.read(key, Reading::Natural)?;
        let value = integer(item.get_ref()).and_then(|value| u64::try_from(value).ok());
        self.or_complain(key, item, value, "a whole number from 0 on", "write it without quotes, like 200")
    }

    pub(super) fn number(&mut self, key: &'static str) -> Option<Located<f64>> {
        let item = self.read(key, Reading::Number)?;
        let value = match item.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(whole) => whole.as_str().parse::<f64>().ok(),
            _ => None,
        };
        self.or_complain(key, item, value.filter(|value| value.is_finite()), "a number", "write it without quotes, like 1.2")
    }

    pub(super) fn share(&mut self, key: &'static str) -> Option<Located<Share>> {
        let item = self.read(key, Reading::Share)?;
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
        let item = self.read(key, Reading::Duration)?;
        let value = item.get_ref().as_str().and_then(words::duration);
        self.or_complain(key, item, value, "a duration", words::DURATION)
    }

    pub(super) fn size(&mut self, key: &'static str) -> Option<Located<u64>> {
        let item = self.read(key, Reading::Size)?;
        let value = item.get_ref().as_str().and_then(words::size);
        self.or_complain(key, item, value, "a size", words::SIZE)
    }

    /// A table under a key, like `[gate.errors]` or `headers = { … }`.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Fields<'a>> {
        let item = self.read(key, Reading::Table)?;
        self.as_table(key, self.inner(key), item)
    }

    /// The shape of what a key takes.
    pub(super) fn inner(&self, key: &str) -> &'static Section {
        self.shape.key(key).kind.section().expect("a key that takes tables has their shape")
    }

    /// The shape of what stands under names that users choose.
    pub(super) fn named(&self) -> &'static Section {
        self.shape.named.as_ref().and_then(|(_, kind)| kind.section()).expect("a section of tables has their shape")
    }

    /// Tables under names that users choose, among other keys: those that have one of `marks`.
    pub(super) fn named_tables(&mut self, marks: &[&str]) -> Vec<(Located<&'a str>, Fields<'a>)> {
        let mut found = Vec::new();
        for (name, item) in self.entries().into_iter().filter(|(name, _)| !self.asked.contains(&name.value)) {
            let DeValue::Table(table) = item.get_ref() else { continue };
            if marks.iter().any(|mark| table.contains_key(*mark)) {
                found.push((name, Fields::new(self.text, self.named(), self.place(item), table)));
            }
        }
        self.chosen.extend(found.iter().map(|(name, _)| name.value));
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
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Fields<'a>> {
        let Some(item) = self.read(key, Reading::Tables) else { return Vec::new() };
        let shape = self.inner(key);
        let DeValue::Array(items) = item.get_ref() else {
            self.wrong(key, item, "a list of sections", &format!("write `{}`, with two brackets", shape.written));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.as_table(key, shape, item)).collect()
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

    pub(super) fn as_table(&self, key: impl Display, shape: &'static Section, item: &'a Item<'a>) -> Option<Fields<'a>> {
        match item.get_ref() {
            DeValue::Table(table) => Some(Fields::new(self.text, shape, self.place(item), table)),
            _ => {
                self.wrong(key, item, "a table", &format!("write it like {}", shape.written));
                None
            }
        }
    }

    pub(super) fn place(&self, item: &Item<'_>) -> Place {
        self.text.place(item.span())
    }

    /// Complains about every key that the section does not have.
    pub(super) fn finish(self) {
        let known = || self.shape.keys.iter().map(|key| key.name);
        for key in known() {
            debug_assert!(self.asked.contains(&key), "`{key}` is declared as a key of {}, and nobody reads it", self.shape.written);
        }
        for (key, _) in self.entries() {
            if !known().any(|known| known == key.value) && !self.chosen.contains(&key.value) {
                let message = format!("`{}` is not a key of {}", key.value, self.shape.written);
                self.text.report.error(&key.at, message, suggest(key.value, known()));
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

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::super::shape::{Key, Kind, Section};
    use super::super::source::{Report, Text};
    use super::Fields;
    use crate::wire::RuleFile;

    static SECTION: Section = Section::new("[section]", &[Key::new("name", Kind::Text, "A name."), Key::new("on", Kind::Boolean, "On.")]);

    /// Reads a file of one section, and says what was complained about.
    fn complaints(text: &str, read: impl FnOnce(Fields<'_>)) -> Vec<String> {
        let report = Report::default();
        let file = RuleFile { name: "rules.toml".to_owned(), text: text.to_owned() };
        let source = Text::new(0, &file, &report);
        let table = DeTable::parse(text).expect("TOML");
        read(Fields::new(&source, &SECTION, source.place(0..0), table.get_ref()));
        report.into_complaints().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_declared_is_read_and_nothing_else_is_taken() {
        let told = complaints("name = \"a\"\non = true\nno = 1\n", |mut fields| {
            assert_eq!(fields.string("name").map(|name| name.value).as_deref(), Some("a"));
            assert_eq!(fields.boolean("on").map(|on| on.value), Some(true));
            fields.finish();
        });
        assert_eq!(told, ["rules.toml:3:1: error: `no` is not a key of [section] (did you mean `on`?)"]);
    }

    #[test]
    #[should_panic(expected = "`nme` is not declared as a key of [section]")]
    fn what_is_not_declared_is_not_read() {
        complaints("", |mut fields| drop(fields.string("nme")));
    }

    #[test]
    #[should_panic(expected = "`on` of [section] is not declared as String")]
    fn nothing_is_read_as_another_kind_than_is_declared() {
        complaints("", |mut fields| drop(fields.string("on")));
    }

    #[test]
    #[should_panic(expected = "`name` of [section] is not declared as one that must be there")]
    fn what_must_be_there_is_declared_so() {
        complaints("", |fields| fields.require("name"));
    }

    #[test]
    #[should_panic(expected = "`on` is declared as a key of [section], and nobody reads it")]
    fn what_is_declared_is_not_forgotten() {
        complaints("", |mut fields| {
            fields.string("name");
            fields.finish();
        });
    }
}
