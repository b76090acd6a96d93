//! A first `[[table]]` for each pair of tables that belong together, from the catalogs of both sides: by names, by the
//! conventions of Django and SQLAlchemy, by keys and references. Pure. What it cannot know it asks, in a comment; a rule
//! file is written by a person.
//!
//! 1. `likeness` says how alike two names are;
//! 2. `tables` pairs tables, finds their keys and sequences, parents before children;
//! 3. `columns` says where each modern column comes from;
//! 4. `text` writes it down, every decision with its reason.

mod columns;
mod likeness;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use crate::catalog::Catalog;

/// What is proposed for two databases.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposal {
    /// Pairs, parents before children.
    pub pairs: Vec<Pair>,
    /// Legacy tables without a counterpart, each with the nearest modern one if there is any.
    pub unpaired: Vec<(String, Option<String>)>,
    /// Modern tables that nothing feeds.
    pub unfed: Vec<String>,
    /// Legacy tables that belong to a framework and stay.
    pub left: Vec<String>,
}

/// A pair of tables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pair {
    /// Legacy table.
    pub legacy: String,
    /// Modern table.
    pub modern: String,
    /// The legacy key.
    pub key: String,
    /// The modern column that keeps it.
    pub modern_key: String,
    /// The table on modern that gives out legacy keys.
    pub sequence: Option<String>,
    /// Columns that are spelled out.
    pub columns: Vec<Decision>,
    /// Legacy columns that stay, with the reason.
    pub keep_legacy: Vec<(String, String)>,
    /// Why the tables belong together.
    pub why: String,
    /// What somebody has to look at or to decide: lines of comments.
    pub questions: Vec<String>,
}

/// Where a modern column comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The modern column.
    pub modern: String,
    /// From what.
    pub from: From,
    /// Why.
    pub why: String,
}

/// The forms that are proposed.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// `given_name = "first_name"`
    Column(String),
    /// `id = { from = "id", as = "uuid5" }`; `of` where it is not the pair's own table.
    Uuid5 {
        /// The legacy column.
        column: String,
        /// The legacy table that it refers to.
        of: Option<String>,
    },
    /// `kind = { constant = "staff" }`
    Constant(String),
}

/// What a rule file is called and names.
#[derive(Debug, Clone)]
pub struct Names {
    /// The capability.
    pub capability: String,
    /// The upstream of the monolith.
    pub legacy: String,
    /// The upstream of the new service.
    pub modern: String,
}

/// Proposes pairs. `only`: legacy tables whose names begin with one of these; empty: all.
pub fn propose(legacy: &Catalog, modern: &Catalog, only: &[String]) -> Proposal {
    let mut proposal = tables::pair(legacy, modern, only);
    columns::decide(&mut proposal, legacy, modern);
    proposal
}

impl Proposal {
    /// As a rule file, with every reason and every question.
    pub fn rule_file(&self, names: &Names) -> String {
        text::rule_file(self, names)
    }
}
