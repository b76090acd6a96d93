//! The plain book of what was committed, and the same read out of a database.

use std::collections::BTreeMap;

use ficus_rules::Side;
use ficus_rules::mapping::uuid_of;

use super::app::{App, Engine};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) body: Option<String>,
    pub(crate) level: i64,
    /// In hundredths.
    pub(crate) price: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) writer: i64,
    pub(crate) title: String,
    pub(crate) price: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) writers: BTreeMap<i64, Writer>,
    pub(crate) books: BTreeMap<i64, Book>,
}

impl Ledger {
    pub(crate) fn with(&self, other: &Ledger) -> Ledger {
        let mut both = self.clone();
        both.writers.extend(other.writers.clone());
        both.books.extend(other.books.clone());
        both
    }

    /// What a database has. A row that is there twice, or whose uuid is not its key's, is no row of a book.
    pub(crate) async fn read(app: &mut App, side: Side) -> Ledger {
        let engine = app.engine();
        let cast = |column: &str| if engine == Engine::Sqlite { format!("CAST({column} AS TEXT)") } else { column.to_owned() };
        let list = |columns: &[&str]| columns.iter().map(|column| cast(column)).collect::<Vec<_>>().join(", ");
        let (writers, books) = match side {
            Side::Legacy => (
                format!("SELECT {} FROM writer", list(&["id", "name", "body", "level", "price", "NULL"])),
                format!("SELECT {} FROM book", list(&["id", "writer_id", "title", "price", "NULL"])),
            ),
            Side::Modern => (
                format!("SELECT {} FROM writers", list(&["legacy_id", "name", "body", "level", "price", "id"])),
                format!(
                    "SELECT {} FROM books b JOIN writers w ON w.id = b.writer_id",
                    list(&["b.legacy_id", "w.legacy_id", "b.title", "b.price", "b.id"])
                ),
            ),
        };
        let number = |cell: &Option<String>| cell.as_ref().unwrap().parse::<i64>().unwrap();
        let is_its = |of: &str, id: i64, uuid: &Option<String>| {
            assert!(uuid.as_ref().is_none_or(|uuid| *uuid == uuid_of("users", of, id).to_string()), "{of} {id}: {uuid:?}");
        };
        let mut found = Ledger::default();
        for row in app.rows(&writers).await {
            let [id, name, body, level, price, uuid] = &row[..] else { panic!("{row:?}") };
            let (id, price) = (number(id), hundredths(price));
            is_its("writer", id, uuid);
            let writer = Writer { name: name.clone().unwrap(), body: body.clone(), level: number(level), price };
            assert!(found.writers.insert(id, writer).is_none(), "writer {id} is doubled on {side}");
        }
        for row in app.rows(&books).await {
            let [id, writer, title, price, uuid] = &row[..] else { panic!("{row:?}") };
            let (id, price) = (number(id), hundredths(price));
            is_its("book", id, uuid);
            let book = Book { writer: number(writer), title: title.clone().unwrap(), price };
            assert!(found.books.insert(id, book).is_none(), "book {id} is doubled on {side}");
        }
        let count = if side == Side::Legacy { "SELECT count(*) FROM book" } else { "SELECT count(*) FROM books" };
        let count = count.replace("count(*)", &cast("count(*)"));
        assert_eq!(number(&app.rows(&count).await[0][0]), i64::try_from(found.books.len()).unwrap(), "books without a writer on {side}");
        found
    }

    /// Panics with the first rows that differ.
    pub(crate) fn must_be(&self, found: &Ledger, whose: &str) {
        if self == found {
            return;
        }
        let writers = differing(&self.writers, &found.writers);
        let books = differing(&self.books, &found.books);
        panic!("{whose}: not what was committed (expected, found)\nwriters: {writers:#?}\nbooks: {books:#?}");
    }
}

fn differing<T: PartialEq + std::fmt::Debug>(expected: &BTreeMap<i64, T>, found: &BTreeMap<i64, T>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&i64> = expected.keys().chain(found.keys()).collect();
    let show = |row: Option<&T>| format!("{row:?}").chars().take(200).collect::<String>();
    let differing = keys.into_iter().filter(|key| expected.get(key) != found.get(key));
    differing.take(5).map(|key| format!("{key}: {} / {}", show(expected.get(key)), show(found.get(key)))).collect()
}

/// `12.5`, `12.50` and `12`.
fn hundredths(cell: &Option<String>) -> i64 {
    let text = cell.as_ref().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |whole| (-1, whole));
    sign * format!("{whole}{fraction:0<2.2}").parse::<i64>().unwrap()
}
