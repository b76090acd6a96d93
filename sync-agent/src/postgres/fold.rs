//! Many transactions into one batch: the newest image of each key, completed where the log alone does not have it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, hash_map};
use std::time::{Duration, SystemTime};

use ficus_rules::mapping::{Row, Value};

use super::change::{Entry, Key, Layers};
use super::feed::Feed;
use super::{Endpoint, schema, sql};
use crate::error::Error;
use crate::port::{Batch, Position, Touched};

/// Microseconds from 1970 to 2000, where the server's clock begins.
const EPOCH: u64 = 946_684_800;

/// What is known of a key after all transactions of a batch.
enum Newest<'f> {
    Image(Layers<'f>),
    Gone,
    /// To be looked at in the table.
    Asked,
}

/// The newest state by key, whether there was no row of it before, and whether somebody wrote it; the keys in the order in which they
/// came.
#[derive(Default)]
struct Folded<'f> {
    order: Vec<(usize, Cow<'f, Key>)>,
    newest: HashMap<(usize, Cow<'f, Key>), (Newest<'f>, bool, bool)>,
}

impl<'f> Folded<'f> {
    fn add(&mut self, pair: usize, key: Cow<'f, Key>, born: bool, newest: impl FnOnce(Option<Newest<'f>>) -> Newest<'f>) {
        self.note(pair, key, born, true, newest);
    }

    /// Nobody wrote it: it is asked for.
    fn ask(&mut self, pair: usize, key: Cow<'f, Key>, newest: impl FnOnce(Option<Newest<'f>>) -> Newest<'f>) {
        self.note(pair, key, false, false, newest);
    }

    fn note(&mut self, pair: usize, key: Cow<'f, Key>, born: bool, written: bool, newest: impl FnOnce(Option<Newest<'f>>) -> Newest<'f>) {
        match self.newest.entry((pair, key)) {
            hash_map::Entry::Occupied(mut known) => {
                let (known, _, is_written) = known.get_mut();
                *known = newest(Some(std::mem::replace(known, Newest::Gone)));
                *is_written |= written;
            }
            hash_map::Entry::Vacant(place) => {
                self.order.push(place.key().clone());
                place.insert((newest(None), born, written));
            }
        }
    }

    fn entry(&mut self, entry: &'f Entry) {
        match entry {
            Entry::Row { pair, key, image: Some(image), born } => self.add(*pair, Cow::Borrowed(key), *born, |before| {
                Newest::Image(Layers::new(
                    image,
                    match before {
                        Some(Newest::Image(before)) => Some(before),
                        _ => None,
                    },
                ))
            }),
            Entry::Row { pair, key, image: None, .. } => self.add(*pair, Cow::Borrowed(key), false, |_| Newest::Gone),
            Entry::Touched { pair, key } => self.ask(*pair, Cow::Borrowed(key), |_| Newest::Asked),
            Entry::Unreadable { .. } => {}
        }
    }
}

impl Endpoint {
    /// Folds what has arrived after a position; `end` is where the log ended when the caller began to look.
    pub(super) async fn fold(&self, feed: &Feed, after: Position, end: u64, limit: usize, also: &[Touched]) -> Result<Batch, Error> {
        let mut folded = Folded::default();
        let mut batch = Batch { upto: after, rows: vec![Vec::new(); self.pairs.len()], ..Batch::default() };
        let mut taken = 0;
        for (index, transaction) in feed.following().enumerate() {
            let readable = transaction.commit < feed.forgiven || is_readable(&transaction.entries);
            if !readable && index == 0 {
                return Err(self.forgive(transaction.end, &transaction.entries).await?);
            }
            if !readable || taken >= limit {
                break;
            }
            if taken == 0 {
                batch.age = age(transaction.at);
            }
            transaction.entries.iter().for_each(|entry| folded.entry(entry));
            taken += transaction.entries.len();
            batch.upto = Position(transaction.end);
        }
        if taken == feed.entries() {
            batch.upto = Position(feed.received.max(after.0));
        }
        batch.entries = taken as u64;
        batch.left = (feed.entries() - taken) as u64;
        batch.end = Position(end.max(batch.upto.0));
        for touched in also {
            if let Some(key) = Key::of(&touched.key) {
                folded.ask(touched.pair, Cow::Owned(key), |before| before.unwrap_or(Newest::Asked));
            }
        }
        self.complete(folded, &mut batch).await?;
        Ok(batch)
    }

    /// The same with what has arrived of the transaction that is open, if it is what follows and large: that is taken out.
    pub(super) async fn fold_part(&self, feed: &mut Feed, after: Position, end: u64) -> Result<Option<Batch>, Error> {
        let forgiven = feed.forgiven;
        let Some(open) = feed.part() else { return Ok(None) };
        let (commit, at, entries) = (open.commit, open.at, open.take());
        if commit >= forgiven && !is_readable(&entries) {
            return Err(self.forgive(commit + 1, &entries).await?);
        }
        let mut folded = Folded::default();
        entries.iter().for_each(|entry| folded.entry(entry));
        let rows = vec![Vec::new(); self.pairs.len()];
        let end = Position(end.max(after.0));
        let mut batch = Batch { upto: after, end, entries: entries.len() as u64, age: age(at), rows, more: true, ..Batch::default() };
        self.complete(folded, &mut batch).await?;
        Ok(Some(batch))
    }

    /// Rows from images; rows and values that the log does not have are read.
    async fn complete(&self, mut folded: Folded<'_>, batch: &mut Batch) -> Result<(), Error> {
        let mut asked: Vec<Vec<Value>> = vec![Vec::new(); self.pairs.len()];
        let mut partial: Vec<HashMap<Key, Vec<Option<Value>>>> = vec![HashMap::new(); self.pairs.len()];
        let mut old: Vec<Vec<Row>> = vec![Vec::new(); self.pairs.len()];
        batch.touched.reserve(folded.order.len());
        for at in folded.order {
            let newest = folded.newest.remove(&at);
            let (pair, key) = (at.0, at.1.as_ref());
            if matches!(newest, Some((_, _, false))) {
                batch.asked.push(batch.touched.len());
            }
            match newest {
                Some((Newest::Image(image), born, _)) => {
                    let values = image.values(&self.pairs[pair].columns).map_err(|(column, reason)| self.unfit(pair, &column, reason))?;
                    if values.contains(&None) {
                        asked[pair].push(key.value());
                        partial[pair].insert(key.clone(), values);
                    } else {
                        let rows = if born { &mut batch.rows[pair] } else { &mut old[pair] };
                        rows.push(Row { key: key.value(), values: values.into_iter().flatten().collect() });
                    }
                }
                Some((Newest::Asked, ..)) => asked[pair].push(key.value()),
                Some((Newest::Gone, ..)) | None => {}
            }
            batch.touched.push(Touched { pair, key: key.value() });
        }
        batch.fresh = batch.rows.iter().map(Vec::len).collect();
        for (rows, old) in batch.rows.iter_mut().zip(&mut old) {
            rows.append(old);
        }
        for pair in 0..self.pairs.len() {
            self.look_up(pair, &mut batch.rows[pair]).await?;
            if asked[pair].is_empty() {
                continue;
            }
            for mut row in crate::port::Reader::rows(self, pair, &asked[pair]).await? {
                if let Some(known) = Key::of(&row.key).and_then(|key| partial[pair].remove(&key)) {
                    for (value, known) in row.values.iter_mut().zip(known) {
                        if let Some(known) = known {
                            *value = known;
                        }
                    }
                }
                batch.rows[pair].push(row);
            }
        }
        Ok(())
    }

    /// Appends what the pair's lookups find.
    async fn look_up(&self, pair: usize, rows: &mut [Row]) -> Result<(), Error> {
        let Some(this) = self.pairs.get(pair).filter(|this| !this.lookups.is_empty() && !rows.is_empty()) else { return Ok(()) };
        for (lookup, found_as) in this.shape.lookups.iter().zip(&this.lookups) {
            let place = this.shape.columns.iter().position(|column| *column == lookup.column);
            let wanted: HashSet<Key> = rows.iter().filter_map(|row| Key::of(row.values.get(place?)?)).collect();
            let texts: Vec<String> = wanted
                .into_iter()
                .map(|key| match key {
                    Key::Number(number) => number.to_string(),
                    Key::Text(text) => text,
                })
                .collect();
            let id = self.tables.get(&lookup.table).and_then(|table| table.column(&lookup.id)).ok_or(Error::SchemaChanged)?;
            let [table, id_name] = [schema::lookup(&lookup.table), sql::name(&lookup.id)];
            let query = format!(
                "SELECT {}, {} FROM {table} AS r WHERE r.{id_name} = ANY($1::text[]::{}[])",
                id.text_of("r"),
                found_as.text_of("r"),
                id.cast
            );
            let mut known: HashMap<Key, Value> = HashMap::new();
            let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
            for row in sql::query(&query).bind(texts).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))? {
                let cells = [super::read::cell(&row, 0, id), super::read::cell(&row, 1, found_as)];
                let [Ok(id), Ok(key)] = cells else { return Err(self.unfit(pair, &lookup.column, "refers to what cannot be read")) };
                known.extend(Key::of(&id).map(|id| (id, key)));
            }
            for row in rows.iter_mut() {
                let key = place.and_then(|place| row.values.get(place)).and_then(Key::of);
                row.values.push(key.and_then(|key| known.get(&key).cloned()).unwrap_or(Value::Null));
            }
        }
        Ok(())
    }

    /// Which rows the log means at a position cannot be known: their pairs are compared instead, from the next session on.
    async fn forgive(&self, position: u64, entries: &[Entry]) -> Result<Error, Error> {
        let mut pairs: Vec<usize> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Unreadable { pair } => Some(*pair),
                _ => None,
            })
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        tracing::warn!(scope = %self.names.scope, position, "tables were emptied or captured without their keys; they are compared");
        self.note_gaps(&pairs, Some(position)).await?;
        Ok(Error::SchemaChanged)
    }
}

/// Whether the log says of which rows it is.
fn is_readable(entries: &[Entry]) -> bool {
    !entries.iter().any(|entry| matches!(entry, Entry::Unreadable { .. }))
}

/// Seconds since a commit, by our clock.
fn age(at: i64) -> f64 {
    let at = Duration::from_secs(EPOCH) + Duration::from_micros(u64::try_from(at).unwrap_or(0));
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + at).unwrap_or_default().as_secs_f64()
}
