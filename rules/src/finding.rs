//! Something about a database that stands in a capability's way, or that somebody should know before it moves: what is the
//! matter, what follows from it, and the statement that mends it. Found by `ficus check --live` and by the agent's start.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing has to be done.
    Note,
    /// It works, and something is lost or may go wrong.
    Warning,
    /// The agent does not start like this.
    Refused,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Refused => "refused",
        }
    }
}

/// A finding about one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, the same in every version: `wal_level`.
    pub code: &'static str,
    /// The table that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The column that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is the matter. Names no value of a row.
    pub what: String,
    /// What follows from it.
    pub means: String,
    /// SQL for that database that mends it, in order.
    pub statements: Vec<String>,
    /// What has to be done that is no SQL, or after it: `restart the server`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub then: String,
    /// How many rows it is about, of those that were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Keys of some of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
}

impl Finding {
    /// One that keeps the agent from starting.
    pub fn refused(code: &'static str, what: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding::new(Severity::Refused, code, what, means)
    }

    /// One that should be mended.
    pub fn warning(code: &'static str, what: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, what, means)
    }

    /// One to know of.
    pub fn note(code: &'static str, what: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, what, means)
    }

    fn new(severity: Severity, code: &'static str, what: impl Into<String>, means: impl Into<String>) -> Finding {
        Finding {
            severity,
            code,
            table: None,
            column: None,
            what: what.into(),
            means: means.into(),
            statements: Vec::new(),
            then: String::new(),
            rows: None,
            samples: Vec::new(),
        }
    }

    /// About that table.
    #[must_use]
    pub fn table(mut self, table: &str) -> Finding {
        self.table = Some(table.to_owned());
        self
    }

    /// About that column.
    #[must_use]
    pub fn column(mut self, table: &str, column: &str) -> Finding {
        self.column = Some(column.to_owned());
        self.table(table)
    }

    /// Mended by that statement.
    #[must_use]
    pub fn mend(mut self, statement: impl Into<String>) -> Finding {
        self.statements.push(statement.into());
        self
    }

    /// Mended by that, which is no SQL, or only after the statements.
    #[must_use]
    pub fn then(mut self, then: impl Into<String>) -> Finding {
        self.then = then.into();
        self
    }

    /// About so many rows; some of their keys.
    #[must_use]
    pub fn rows(mut self, rows: u64, samples: Vec<String>) -> Finding {
        self.rows = Some(rows);
        self.samples = samples;
        self
    }
}

/// On one line: `what; means; run STATEMENT; then`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.means.is_empty() {
            write!(f, "; {}", self.means)?;
        }
        if !self.statements.is_empty() {
            write!(f, "; run {}", self.statements.join(" "))?;
        }
        if self.then.is_empty() {
            return Ok(());
        }
        // A statement has a semicolon of its own.
        write!(f, "{} {}", if self.statements.is_empty() { ";" } else { "" }, self.then)
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Severity};

    #[test]
    fn a_finding_is_one_line_with_its_remedy() {
        let finding = Finding::refused("wal_level", "wal_level is replica", "its log cannot be read")
            .mend("ALTER SYSTEM SET wal_level = logical;")
            .then("restart the server");
        let line = "wal_level is replica; its log cannot be read; run ALTER SYSTEM SET wal_level = logical; restart the server";
        assert_eq!(finding.to_string(), line);
        assert!(Severity::Note < Severity::Warning && Severity::Warning < Severity::Refused);
    }
}
