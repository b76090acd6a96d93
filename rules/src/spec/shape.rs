//! The shapes of the rule language: what a section is called, which keys it has, and what each of them takes. They stand
//! beside the readers of the sections. [`Fields`](super::fields::Fields) reads by them, so that nothing is read that is not
//! declared; [`schema`](super::schema) tells editors of them.

use std::time::Duration;

use super::words;

/// Names of capabilities, flags and gates; see [`words::is_name`].
pub(super) const NAME: &str = "^[a-z][a-z0-9_-]{0,39}$";
/// Names of headers and cookies; see [`words::is_token`].
pub(super) const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
/// A place in a JSON document.
pub(super) const JSON_PATH: &str = r"^\$($|[.\[])";

/// A section, or a table under a key.
#[derive(Clone, Copy)]
pub(super) struct Section {
    /// As it is written: `[[route]]`. Complaints call it so, and hints show it.
    pub(super) written: &'static str,
    /// In the order of the reference.
    pub(super) keys: &'static [Key],
    /// Under a name that users choose: one line for people.
    pub(super) about: &'static str,
    /// What stands under names that users choose.
    pub(super) named: Option<(Names, Kind)>,
    /// Fewer keys than this say nothing.
    pub(super) least: usize,
    /// What its keys mean for each other.
    pub(super) bonds: &'static [Bond],
    /// What schemas call it that have it in several places.
    pub(super) shared: Option<&'static str>,
}

impl Section {
    pub(super) const fn new(written: &'static str, keys: &'static [Key]) -> Section {
        Section { written, keys, about: "", named: None, least: 0, bonds: &[], shared: None }
    }

    /// One whose keys are names that users choose.
    pub(super) const fn map(written: &'static str, names: Names, kind: Kind) -> Section {
        Section::new(written, &[]).with(names, kind)
    }

    /// With names that users choose, beside its keys.
    pub(super) const fn with(self, names: Names, kind: Kind) -> Section {
        Section { named: Some((names, kind)), ..self }
    }

    /// With at least so many keys.
    pub(super) const fn least(self, least: usize) -> Section {
        Section { least, ..self }
    }

    pub(super) const fn about(self, about: &'static str) -> Section {
        Section { about, ..self }
    }

    pub(super) const fn bound(self, bonds: &'static [Bond]) -> Section {
        Section { bonds, ..self }
    }

    pub(super) const fn shared(self, name: &'static str) -> Section {
        Section { shared: Some(name), ..self }
    }

    /// The key of this name. There is one: who reads another has forgotten to declare it.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        let found = self.keys.iter().find(|key| key.name == name);
        found.unwrap_or_else(|| panic!("`{name}` is not declared as a key of {}", self.written))
    }
}

/// A key of a section.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One line for people.
    pub(super) about: &'static str,
    /// It must be there.
    pub(super) must: bool,
    /// How it is written where it is missed.
    pub(super) example: &'static str,
    /// What holds unless it is set.
    pub(super) default: Option<Literal>,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Key {
        Key { name, kind, about, must: false, example: "", default: None }
    }

    /// One that must be there, written like this.
    pub(super) const fn must(self, example: &'static str) -> Key {
        Key { must: true, example, ..self }
    }

    /// One that means this unless it is set.
    pub(super) const fn unset(self, default: Literal) -> Key {
        Key { default: Some(default), ..self }
    }
}

/// What a key takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Boolean,
    /// `true`; `false` says nothing.
    True,
    /// `false`: what a route does not want of its file.
    Off,
    /// A whole number, not less than the first; without the second, without end.
    Natural(u64, Option<u64>),
    Number,
    /// A number above 0.
    Positive,
    Share,
    Duration,
    Size,
    Text,
    /// A string that is not empty.
    Filled,
    /// A string that matches.
    Like(&'static str),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// One of these numbers.
    Status(&'static [u64]),
    Name,
    /// A table's or column's name.
    Identifier,
    /// When something may begin; one or several.
    Windows,
    /// One string, or a list.
    Strings(&'static Kind),
    /// One string, or a list that is not empty.
    Several(&'static Kind),
    /// One string, or a list that is not empty and has none twice.
    Set(&'static Kind),
    /// A list that is not empty.
    List(&'static Kind),
    /// A user's id: a string or an integer.
    User,
    Users,
    /// What a column of a database may hold.
    Value,
    /// Whatever TOML has.
    Anything,
    Table(&'static Section),
    Tables(&'static Section),
    /// One of these.
    Either(&'static [Kind]),
}

/// From 0 on.
pub(super) const NATURAL: Kind = Kind::Natural(0, None);
/// From 1 on.
pub(super) const COUNT: Kind = Kind::Natural(1, None);
pub(super) const STRINGS: Kind = Kind::Strings(&Kind::Text);

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Boolean,
    Natural,
    Number,
    Share,
    Duration,
    Size,
    String,
    Strings,
    Table,
    Tables,
}

impl Kind {
    /// Whether a key of this kind may be read so.
    pub(super) fn is_read_as(&self, reading: Reading) -> bool {
        match self {
            Kind::Boolean | Kind::True | Kind::Off => reading == Reading::Boolean,
            Kind::Natural(..) | Kind::Status(_) => reading == Reading::Natural,
            Kind::Number | Kind::Positive => reading == Reading::Number,
            Kind::Share => reading == Reading::Share,
            Kind::Duration => reading == Reading::Duration,
            Kind::Size => reading == Reading::Size,
            Kind::Text | Kind::Filled | Kind::Like(_) | Kind::Word(_) | Kind::Name | Kind::Identifier => reading == Reading::String,
            Kind::Windows | Kind::Strings(_) | Kind::Several(_) | Kind::Set(_) => reading == Reading::Strings,
            Kind::Table(_) => reading == Reading::Table,
            Kind::Tables(_) => reading == Reading::Tables,
            Kind::Either(kinds) => kinds.iter().any(|kind| kind.is_read_as(reading)),
            Kind::List(_) | Kind::User | Kind::Users | Kind::Value | Kind::Anything => false,
        }
    }

    /// The table that it takes, or several of which.
    pub(super) fn section(&self) -> Option<&'static Section> {
        match self {
            Kind::Table(section) | Kind::Tables(section) => Some(section),
            Kind::Either(kinds) => kinds.iter().find_map(Kind::section),
            _ => None,
        }
    }
}

/// Which names users may choose.
#[derive(Clone, Copy)]
pub(super) enum Names {
    Any,
    Like(&'static str),
    /// Any but these.
    Not(&'static [&'static str]),
}

/// What keys mean for each other.
pub(super) enum Bond {
    /// Exactly one of them is there.
    One(&'static [&'static str]),
    /// At least one of them is.
    Any(&'static [&'static str]),
    /// At most one of them is.
    Apart(&'static [&'static str]),
    /// Where the first holds, one of the others does.
    Needs(If, &'static [If]),
    /// They do not hold together.
    Never(If, If),
    /// What is said best in JSON Schema itself.
    Json(&'static str),
}

/// What may hold of a key.
#[derive(Clone, Copy)]
pub(super) enum If {
    Given(&'static str),
    Is(&'static str, Literal),
}

/// A value of a key.
#[derive(Clone, Copy)]
pub(super) enum Literal {
    Boolean(bool),
    Natural(u64),
    Statuses(&'static [u16]),
    Text(&'static str),
    Texts(&'static [&'static str]),
    Duration(Duration),
    Size(u64),
}

impl Literal {
    /// As JSON has it; a duration and a size as they are written.
    pub(super) fn json(self) -> serde_json::Value {
        match self {
            Literal::Boolean(value) => value.into(),
            Literal::Natural(value) => value.into(),
            Literal::Statuses(values) => values.into(),
            Literal::Text(value) => value.into(),
            Literal::Texts(values) => values.into(),
            Literal::Duration(value) => words::written(value).into(),
            Literal::Size(value) => words::written_size(value).into(),
        }
    }
}
