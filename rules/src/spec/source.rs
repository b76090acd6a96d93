//! Texts, places in them, and the report that collects complaints about them.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::Complaint;
use crate::wire::RuleFile;

/// A place in a rule file. Places are ordered by file, then line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    index: usize,
    file: Arc<str>,
    pub(super) line: usize,
    column: usize,
}

impl Place {
    /// `users.toml:12`
    pub(super) fn source(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// Something that was read, and where.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

/// One rule file's text.
pub(super) struct Text<'a> {
    pub(super) name: Arc<str>,
    pub(super) text: &'a str,
    pub(super) report: &'a Report,
    index: usize,
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(index: usize, file: &'a RuleFile, report: &'a Report) -> Text<'a> {
        let ends = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Text { name: file.name.as_str().into(), text: &file.text, report, index, lines }
    }

    /// The place of a byte range.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let line = self.lines.partition_point(|begin| *begin <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Place { index: self.index, file: self.name.clone(), line, column }
    }
}

/// All complaints so far.
#[derive(Default)]
pub(super) struct Report {
    complaints: RefCell<Vec<(Place, Complaint)>>,
}

impl Report {
    pub(super) fn error(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.add(at, message.into(), hint.into(), false);
    }

    pub(super) fn warn(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.add(at, message.into(), hint.into(), true);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.complaints.borrow().iter().any(|(_, complaint)| !complaint.warning)
    }

    /// In the order of files and lines.
    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by(|(a, _), (b, _)| a.cmp(b));
        complaints.into_iter().map(|(_, complaint)| complaint).collect()
    }

    fn add(&self, at: &Place, message: String, hint: String, warning: bool) {
        let complaint = Complaint { file: at.file.to_string(), line: at.line, column: at.column, message, hint, warning };
        self.complaints.borrow_mut().push((at.clone(), complaint));
    }
}
