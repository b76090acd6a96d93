//! From events to transactions of captured changes. Knows which tables are captured; knows no connection. Pure.
//!
//! A transaction whose first change is on the agent's own checkpoint row is the agent's, and dropped as a whole. A change is
//! carried by the images in the log. What the log cannot tell (DDL, `TRUNCATE`, a statement logged as text, a partial image)
//! is handed on as [`Unfollowed`]: the pairs that it may concern have to be compared. What is not understood at all stops
//! capture.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ficus_rules::mapping::{Kind, Row, Value, same};

use super::Pair;
use super::bytes::{Broken, Bytes};
use super::event::{self, Event, Query, Rows, TableMap};
use super::image::{self, Cell};
use super::value::{Charset, Column, Form};
use crate::port::Position;

/// What the header of an event says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: u8,
    /// Where the next event begins; 0: nowhere.
    pub(super) next: u32,
    /// Seconds since 1970.
    pub(super) at: u32,
    pub(super) flags: u16,
}

/// Made up by the server for this connection: it stands nowhere in the log.
const ARTIFICIAL: u16 = 0x20;
/// May be skipped by whoever does not know it.
const IGNORABLE: u16 = 0x80;

/// What became of an event.
#[derive(Debug)]
pub(super) enum Step {
    /// Everything up to here has been seen.
    Reached(Position),
    /// A transaction with something to tell has ended.
    Ended(Transaction),
}

/// What a transaction did to captured rows, in its order.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) end: Position,
    /// Seconds since 1970.
    pub(super) at: u32,
    pub(super) changes: Vec<Change>,
    /// What it costs to keep it.
    pub(super) bytes: usize,
    pub(super) unfollowed: Option<Unfollowed>,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) pair: usize,
    pub(super) key: Value,
    pub(super) image: Image,
    /// There was no such row of the pair before.
    pub(super) born: bool,
}

impl Change {
    /// What it takes in memory, roughly.
    fn size(&self) -> usize {
        let of = |value: &Value| {
            size_of::<Value>()
                + match value {
                    Value::Text(text) => text.len(),
                    Value::Blob(bytes) => bytes.len(),
                    _ => 0,
                }
        };
        let image = if let Image::Row(values) = &self.image { values.iter().map(of).sum() } else { 0 };
        size_of::<Change>() + of(&self.key) + image
    }
}

/// How the row is now.
#[derive(Debug, Clone)]
pub(super) enum Image {
    /// So; without its lookups.
    Row(Vec<Value>),
    /// It is no more, or none of the pair.
    Gone,
    /// As the table has it.
    Reread,
    /// The same, and nobody wrote it: it is asked for.
    Asked,
}

impl Image {
    /// What is known of a row after one more change.
    pub(super) fn then(self, next: Image) -> Image {
        match (self, next) {
            (Image::Asked, next) => next,
            (_, Image::Asked) => Image::Reread,
            (_, next) => next,
        }
    }
}

/// Something happened that the log does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Unfollowed {
    /// Whose rows may have changed.
    pub(super) pairs: BTreeSet<usize>,
    /// What somebody should do about it; nothing: it was a change of the schema.
    pub(super) why: Option<String>,
}

/// Follows the log.
pub(super) struct Capture {
    database: String,
    scope: String,
    stream: String,
    pairs: Arc<Vec<Pair>>,
    file: u64,
    last: u32,
    begun: bool,
    tables: HashMap<u64, Table>,
    open: Option<Open>,
}

/// A table that the log speaks of.
enum Table {
    Other,
    Checkpoint(TableMap),
    Touch(TableMap),
    Captured(TableMap, Vec<Places>),
}

/// Where a pair's columns stand in an image.
struct Places {
    pair: usize,
    key: Option<usize>,
    /// Missing when the table had another shape then.
    columns: Option<Vec<usize>>,
}

#[derive(Default)]
struct Open {
    standalone: bool,
    changes: Vec<Change>,
    bytes: usize,
    /// The first change has been seen.
    begun: bool,
    /// It is the agent's.
    own: bool,
    savepoints: Vec<(String, usize)>,
    unfollowed: Option<Unfollowed>,
}

impl Capture {
    /// Begins in a file.
    pub(super) fn new(database: &str, scope: &str, stream: &str, pairs: Arc<Vec<Pair>>, start: Position) -> Capture {
        Capture {
            database: database.to_owned(),
            scope: scope.to_owned(),
            stream: stream.to_owned(),
            pairs,
            file: start.0 >> 32,
            last: 0,
            begun: false,
            tables: HashMap::new(),
            open: None,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// Why the log cannot be followed any further, in words.
    pub(super) fn event(&mut self, header: Header, data: &[u8]) -> Result<Option<Step>, String> {
        // The first event only repeats which file was asked for; whether it has a checksum is not known yet.
        if !std::mem::replace(&mut self.begun, true) && header.kind == 4 {
            return Ok(None);
        }
        let real = header.next > 0 && header.flags & ARTIFICIAL == 0 && header.kind != 15;
        if real && header.next < self.last {
            return Err(
                "a file of the binary log is longer than 4 GiB, because of one transaction; split it, and begin a new backfill".to_owned()
            );
        }
        if real {
            self.last = header.next;
        }
        let event = Event::read(header.kind, header.flags & IGNORABLE != 0, data).map_err(|error| self.broken(error))?;
        let ended = match event {
            Event::Nothing => false,
            Event::Rotate(name) => {
                self.file = number(&name).ok_or("a file of the binary log has no number")?;
                self.last = 0;
                self.tables.clear();
                return Ok(Some(Step::Reached(Position(self.file << 32 | 4))));
            }
            Event::Gtid { standalone } => {
                self.begin(standalone);
                false
            }
            Event::Query(query) => self.query(&query),
            Event::Commit => true,
            Event::TableMap(map) => {
                self.tables.insert(map.id, self.table(map));
                false
            }
            Event::Rows(rows) => {
                self.rows(&rows)?;
                false
            }
            Event::Unfollowed(why) if header.kind == 38 => {
                // Nobody knows yet whether it will be committed, and where.
                if self.open.as_ref().is_some_and(|open| !open.changes.is_empty()) {
                    return Err(format!("{why}, then remove the capability from sync, and add it again"));
                }
                true
            }
            Event::Unfollowed(why) if header.kind == 26 => {
                // What was going on has no end in the log.
                self.open = None;
                self.unfollow(0..self.pairs.len(), Some(why));
                true
            }
            Event::Unfollowed(why) => {
                self.unfollow(0..self.pairs.len(), Some(why));
                false
            }
            Event::Unknown(kind) => {
                return Err(format!(
                    "its binary log has an event of type {kind}, which is not known here; do not upgrade the server past what Ficus knows"
                ));
            }
        };
        if !real {
            return Ok(None);
        }
        let end = Position(self.file << 32 | u64::from(header.next));
        if ended {
            let open = self.open.take().unwrap_or_default();
            if !open.changes.is_empty() || open.unfollowed.is_some() {
                let Open { changes, bytes, unfollowed, .. } = open;
                return Ok(Some(Step::Ended(Transaction { end, at: header.at, changes, bytes, unfollowed })));
            }
        }
        Ok(self.open.is_none().then_some(Step::Reached(end)))
    }

    fn broken(&self, error: Broken) -> String {
        format!("{error}, after position {} of file {}", self.last, self.file)
    }

    /// Whether a transaction has ended with it.
    fn query(&mut self, query: &Query<'_>) -> bool {
        let text = String::from_utf8_lossy(&query.text).trim().to_owned();
        let lower = text.to_lowercase();
        let mut words = bare(&lower).split([' ', '\t', '\n', ';']).filter(|word| !word.is_empty());
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let standalone = self.open.as_ref().is_none_or(|open| open.standalone);
        match first {
            "begin" => {
                self.begin(false);
                return false;
            }
            "commit" => return true,
            "rollback" if second.is_empty() => {
                self.begin(false);
                return true;
            }
            "rollback" | "savepoint" => {
                let open = self.open.get_or_insert_default();
                let name = lower.rsplit([' ', '\t']).next().unwrap_or("").to_owned();
                if first == "savepoint" {
                    open.savepoints.push((name, open.changes.len()));
                } else if let Some((_, length)) = open.savepoints.iter().rev().find(|(known, _)| *known == name) {
                    open.changes.truncate(*length);
                }
                return false;
            }
            "release" | "xa" => return standalone,
            _ => {}
        }
        let ours = query.database == self.database.as_bytes() || mentions(&lower, &self.database.to_lowercase());
        if ours && lower.contains("_ficus_") {
            // Ours; a stranger's would be noticed by looking whether everything is in its place.
            self.unfollow(0..0, None);
        } else if ours && is_ddl(first) {
            let named: Vec<usize> =
                (0..self.pairs.len()).filter(|pair| mentions(&lower, &self.pairs[*pair].shape.table.to_lowercase())).collect();
            self.unfollow(named.into_iter(), None);
        } else if ours && !matches!(first, "analyze" | "optimize" | "check" | "grant" | "revoke" | "flush" | "set") {
            let why = "a statement was logged as text, and which rows it changed is not known; set binlog_format=ROW for every session";
            self.unfollow(0..self.pairs.len(), Some(why));
        }
        standalone
    }

    /// What could not be followed of one that never ended is not forgotten.
    fn begin(&mut self, standalone: bool) {
        let unfollowed = self.open.take().and_then(|open| open.unfollowed);
        self.open = Some(Open { standalone, unfollowed, ..Open::default() });
    }

    fn unfollow(&mut self, pairs: impl Iterator<Item = usize>, why: Option<&str>) {
        let unfollowed = self.open.get_or_insert_default().unfollowed.get_or_insert_default();
        unfollowed.pairs.extend(pairs);
        unfollowed.why = unfollowed.why.take().or(why.map(str::to_owned));
    }

    fn table(&self, map: TableMap) -> Table {
        if map.database != self.database {
            return Table::Other;
        }
        match map.table.as_str() {
            "_ficus_checkpoint" => return Table::Checkpoint(map),
            "_ficus_touch" => return Table::Touch(map),
            _ => {}
        }
        let at = |name: &String| map.names.iter().position(|known| known == name);
        let places = self.pairs.iter().enumerate().filter(|(_, pair)| pair.shape.table == map.table).map(|(index, pair)| Places {
            pair: index,
            key: at(&pair.shape.key),
            columns: pair.shape.columns.iter().map(at).collect(),
        });
        let places: Vec<Places> = places.collect();
        if places.is_empty() { Table::Other } else { Table::Captured(map, places) }
    }

    fn rows(&mut self, rows: &Rows<'_>) -> Result<(), String> {
        let pairs = Arc::clone(&self.pairs);
        let (scope, stream) = (self.scope.clone(), self.stream.clone());
        let last = self.last;
        let file = self.file;
        let broken = |error: Broken| format!("{error}, before position {last} of file {file}");
        let table = self.tables.get(&rows.table).ok_or("rows of a table that the log has not described")?;
        let open = self.open.get_or_insert_default();
        let first = !std::mem::replace(&mut open.begun, true);
        let (map, places) = match table {
            Table::Other => return Ok(()),
            Table::Checkpoint(map) => {
                if first {
                    let found = control(map, rows, &["stream"]).map_err(broken)?;
                    open.own = found.iter().any(|row| row[0] == Value::Text(stream.clone()));
                }
                return Ok(());
            }
            Table::Touch(map) => {
                if rows.change == event::Change::Insert {
                    for row in control(map, rows, &["scope", "pair", "key"]).map_err(broken)? {
                        open.changes.extend(touched(&pairs, &scope, &row));
                    }
                }
                return Ok(());
            }
            Table::Captured(map, places) => (map, places),
        };
        if open.own {
            return Ok(());
        }
        let before = open.changes.len();
        let mut missing = None;
        for (before, after) in images(map, rows).map_err(broken)? {
            for places in places {
                let pair = &pairs[places.pair];
                match change(pair, places, before.as_deref(), after.as_deref()).map_err(broken)? {
                    Some(changed) => open.changes.extend(changed),
                    None => missing = Some(places.pair),
                }
            }
        }
        open.bytes += open.changes[before..].iter().map(Change::size).sum::<usize>();
        if let Some(pair) = missing {
            let why = if map.names.is_empty() {
                "rows were logged without the names of their columns; SET GLOBAL binlog_row_metadata = 'FULL'"
            } else {
                "rows were logged in part; SET GLOBAL binlog_row_image = 'FULL', and for every session"
            };
            self.unfollow(std::iter::once(pair), Some(why));
        }
        Ok(())
    }
}

type Cells<'a> = Vec<Option<Cell<'a>>>;

/// What was there before, and what is there now.
type BothImages<'a> = (Option<Cells<'a>>, Option<Cells<'a>>);

/// Before and after, row by row.
fn images<'a>(map: &TableMap, rows: &'a Rows<'_>) -> Result<Vec<BothImages<'a>>, Broken> {
    if rows.width != map.columns.len() {
        return Err(Broken("rows have another width than their table"));
    }
    let mut bytes = Bytes(&rows.images);
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let left = bytes.0.len();
        let one = image::cut(&mut bytes, &map.columns, &rows.present)?;
        found.push(match rows.change {
            event::Change::Insert => (None, Some(one)),
            event::Change::Delete => (Some(one), None),
            event::Change::Update => (Some(one), Some(image::cut(&mut bytes, &map.columns, &rows.after)?)),
        });
        if bytes.0.len() == left {
            return Err(Broken("rows have no columns"));
        }
    }
    Ok(found)
}

/// Columns of the agent's own tables.
fn control(map: &TableMap, rows: &Rows<'_>, wanted: &[&str]) -> Result<Vec<Vec<Value>>, Broken> {
    let places: Option<Vec<usize>> = wanted.iter().map(|name| map.names.iter().position(|known| known == name)).collect();
    let places = places.ok_or(Broken("the agent's own table has no names of columns"))?;
    let text = Column {
        name: String::new(),
        kind: Kind::Text,
        form: Form::Text(Charset::Utf8),
        nullable: true,
        required: false,
        generated: false,
        length: 0,
    };
    let mut found = Vec::new();
    for (before, after) in images(map, rows)? {
        let Some(cells) = after.or(before) else { continue };
        let value = |place: &usize| cells.get(*place).copied().flatten().map_or(Ok(Value::Null), |cell| text.of_cell(cell));
        found.push(places.iter().map(value).collect::<Result<Vec<Value>, Broken>>()?);
    }
    Ok(found)
}

/// A row that was touched by hand.
fn touched(pairs: &[Pair], scope: &str, row: &[Value]) -> Option<Change> {
    let [Value::Text(of), Value::Text(name), Value::Text(key)] = row else { return None };
    let pair = pairs.iter().position(|pair| pair.name == *name).filter(|_| of == scope)?;
    Some(Change { pair, key: serde_json::from_str(key).ok()?, image: Image::Asked, born: false })
}

/// What a row event means for a pair; `None`: the image does not say.
fn change(
    pair: &Pair,
    places: &Places,
    before: Option<&[Option<Cell<'_>>]>,
    after: Option<&[Option<Cell<'_>>]>,
) -> Result<Option<Vec<Change>>, Broken> {
    let (Some(key), Some(columns)) = (places.key, &places.columns) else { return reread(pair, places, before, after) };
    let read = |cells: &[Option<Cell<'_>>]| -> Result<Option<Row>, Broken> {
        let Some(Some(cell)) = cells.get(key) else { return Ok(None) };
        let key = pair.key.of_cell(*cell)?;
        let mut values = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().zip(&pair.columns) {
            let Some(Some(cell)) = cells.get(*place) else { return Ok(None) };
            values.push(column.of_cell(*cell)?);
        }
        Ok(Some(Row { key, values }))
    };
    let (old, new) = (before.map(read).transpose()?, after.map(read).transpose()?);
    if old == Some(None) || new == Some(None) {
        return Ok(None);
    }
    let (old, new) = (old.flatten(), new.flatten());
    if old == new {
        // Only columns that stay behind.
        return Ok(Some(Vec::new()));
    }
    let mine = |row: &Row| row.key != Value::Null && belongs(pair, row);
    let (old, new) = (old.filter(mine), new.filter(mine));
    let born = new.as_ref().is_some_and(|new| old.as_ref().is_none_or(|old| old.key != new.key));
    let mut changes = Vec::new();
    if let Some(old) = old
        && new.as_ref().is_none_or(|new| new.key != old.key)
    {
        changes.push(Change { pair: places.pair, key: carried(old.key)?, image: Image::Gone, born: false });
    }
    if let Some(new) = new {
        changes.push(Change { pair: places.pair, key: carried(new.key)?, image: Image::Row(new.values), born });
    }
    Ok(Some(changes))
}

/// The table had another shape then: its rows are read as they are now.
fn reread(
    pair: &Pair,
    places: &Places,
    before: Option<&[Option<Cell<'_>>]>,
    after: Option<&[Option<Cell<'_>>]>,
) -> Result<Option<Vec<Change>>, Broken> {
    let Some(key) = places.key else { return Ok(None) };
    let mut changes = Vec::new();
    for cells in [before, after].into_iter().flatten() {
        let Some(Some(cell)) = cells.get(key) else { return Ok(None) };
        let key = pair.key.of_cell(*cell)?;
        if key != Value::Null {
            changes.push(Change { pair: places.pair, key: carried(key)?, image: Image::Reread, born: false });
        }
    }
    Ok(Some(changes))
}

fn carried(key: Value) -> Result<Value, Broken> {
    match key {
        Value::Int(_) | Value::Text(_) => Ok(key),
        _ => Err(Broken("a key is neither a number nor a text")),
    }
}

fn belongs(pair: &Pair, row: &Row) -> bool {
    pair.shape.filter.iter().all(|(column, wanted)| {
        let place = pair.shape.columns.iter().position(|known| known == column);
        place.is_some_and(|place| same(&row.values[place], wanted))
    })
}

/// The number at the end of a file's name.
pub(super) fn number(file: &str) -> Option<u64> {
    file.rsplit_once('.')?.1.parse().ok().filter(|number| *number < 1 << 31)
}

/// A statement without the settings that it was given: `SET STATEMENT max_statement_time = 1 FOR …`, in small letters. Nothing
/// of one that does not say where they end.
fn bare(statement: &str) -> &str {
    let settings = statement.strip_prefix("set").filter(|rest| rest.starts_with(char::is_whitespace));
    let Some(settings) = settings.and_then(|rest| rest.trim_start().strip_prefix("statement")) else { return statement };
    let part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$' || letter == '@';
    let (mut quote, mut escaped, mut before) = (None, false, 'x');
    for (at, letter) in settings.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '\'' | '"' | '`') => quote = Some(letter),
            None if !part(before) => {
                if let Some(rest) = settings[at..].strip_prefix("for").filter(|rest| !rest.starts_with(part)) {
                    return bare(rest.trim_start());
                }
            }
            None => {}
        }
        before = letter;
    }
    ""
}

fn is_ddl(word: &str) -> bool {
    matches!(word, "create" | "alter" | "drop" | "rename" | "truncate" | "repair" | "install" | "uninstall" | "start")
        || word.starts_with("/*")
}

/// Whether a name stands in a text as a word.
fn mentions(text: &str, name: &str) -> bool {
    let part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '$');
    text.match_indices(name).any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + name.len()..].chars().next()))
}

#[cfg(test)]
mod tests;
