//! Columns that are fields of a JSON document on the other side: which rule they become, and what may not survive it.

use super::{Pair, kind, place};
use crate::Side;
use crate::mapping::cast::{self, Loss};
use crate::mapping::pack::Field;
use crate::mapping::plan::{Document, Rule};
use crate::mapping::{ColumnMap, Kind};

impl Pair<'_> {
    /// A document on modern of several legacy columns.
    pub(super) fn pack(&mut self, column: &ColumnMap, from: &[String], legacy: &[String]) -> Option<Rule> {
        self.must_hold_documents("modern", &self.map.modern, &column.modern, kind(self.modern, &column.modern))?;
        let mut fields = Vec::new();
        for name in from {
            fields.push((place(legacy, name), self.field(name, &self.map.legacy, name, kind(self.legacy, name))?));
        }
        self.lose(column, Side::Legacy, "a document with other keys does not fit; white space and the order of keys are not kept");
        Some(Rule::Pack(fields))
    }

    /// One field of a legacy document.
    pub(super) fn unpack(
        &mut self,
        at: usize,
        column: &ColumnMap,
        (from, field): (&String, &str),
        legacy: &[String],
        documents: &mut Vec<Document>,
    ) -> Option<Rule> {
        self.must_hold_documents("legacy", &self.map.legacy, from, kind(self.legacy, from))?;
        let field = self.field(field, &self.map.modern, &column.modern, kind(self.modern, &column.modern))?;
        let from_place = place(legacy, from);
        let known = documents.iter().position(|document| document.from == from_place);
        let document = known.unwrap_or_else(|| {
            let required = self.legacy.iter().any(|info| info.name == *from && info.required);
            documents.push(Document { from: from_place, fields: Vec::new(), required });
            documents.len() - 1
        });
        if known.is_none() {
            self.lose(column, Side::Modern, "a document with keys that no column takes does not fit");
            self.lose(
                column,
                Side::Legacy,
                "a key with null comes back as one that is missing; white space and the order of keys are not kept",
            );
        }
        documents[document].fields.push((at, field));
        Some(Rule::Unpack { document, field: documents[document].fields.len() - 1 })
    }

    fn must_hold_documents(&mut self, side: &str, table: &str, column: &str, kind: &Kind) -> Option<()> {
        if matches!(cast::bare(kind), Kind::Json | Kind::Text | Kind::Any) {
            return Some(());
        }
        self.error(format!("column {column} of {side} table {table} is {kind}, and is to hold JSON documents"), "make it json, or text");
        None
    }

    fn field(&mut self, name: &str, table: &str, column: &str, kind: &Kind) -> Option<Field> {
        let field = Field::of(name, kind);
        if field.is_none() {
            let message = format!("column {column} of {table} holds bytes, which JSON does not have");
            self.error(message, "leave it out of the document");
        }
        field
    }

    fn lose(&mut self, column: &ColumnMap, to: Side, what: &str) {
        let (table, column) = (self.map.modern.clone(), column.modern.clone());
        self.losses.push(Loss { table, column, to, what: what.to_owned() });
    }
}
