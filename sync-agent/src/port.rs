//! What the agent needs of a database, whatever its engine. The loops above ([`crate::stream`], [`crate::backfill`],
//! [`crate::verify`]) name no engine; an engine is a set of files that implements these traits and passes the contract
//! in `contract.rs`.
//!
//! One value of [`Database`] stands for one side of one capability: it knows the shapes of that side's tables, in the
//! order of the plans (parents before children); `pair` is an index into them.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::catalog::Catalog;
use ficus_rules::finding::{Finding, Severity};
use ficus_rules::mapping::{Plan, Row, Shape, TableMap, Tables, Value};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::quarantine::Kept;

/// A place in a source's log. Only grows; how it is read off the engine is the engine's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Which way a stream flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Legacy to modern.
    Forward,
    /// Modern to legacy.
    Reverse,
}

impl Direction {
    /// The stream that leaves a side.
    pub fn from(side: Side) -> Direction {
        match side {
            Side::Legacy => Direction::Forward,
            Side::Modern => Direction::Reverse,
        }
    }

    /// The side that it leaves.
    pub fn source(self) -> Side {
        match self {
            Direction::Forward => Side::Legacy,
            Direction::Reverse => Side::Modern,
        }
    }

    /// The word in labels and in the checkpoint.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }
}

/// A row that was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The pair.
    pub pair: usize,
    /// The legacy key.
    pub key: Value,
}

/// A folded piece of a source's log: the keys that were touched, and their newest state.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Everything up to here is in the batch.
    pub upto: Position,
    /// The end of the log in the same transaction.
    pub end: Position,
    /// Entries of the log that were folded.
    pub entries: u64,
    /// Entries after `upto`.
    pub left: u64,
    /// Age in seconds of the oldest entry.
    pub age: f64,
    /// The keys, each once.
    pub touched: Vec<Touched>,
    /// Those of them, by index, that nobody wrote: the agent asked for them ([`Source::touch`], or to read them too).
    pub asked: Vec<usize>,
    /// By pair, the rows of these keys that exist.
    pub rows: Vec<Vec<Row>>,
    /// By pair, how many of them, from the front, did not exist at the position before: a hint, and empty where it is not
    /// known.
    pub fresh: Vec<usize>,
    /// It ends inside a transaction, and `upto` before it: [`Source::rest`] goes on.
    pub more: bool,
}

/// What to do to one table of the target.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Rows that shall be as given.
    pub upserts: Vec<Row>,
    /// So many of them, from the front, are probably not there yet.
    pub fresh: usize,
    /// Keys that shall not be.
    pub deletes: Vec<Value>,
    /// What others are told of it, kept in the outbox with the rows.
    pub events: Vec<Event>,
}

/// An event of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The row's key: what is set aside is not told.
    pub key: Value,
    /// What is kept.
    pub outgoing: Outgoing,
}

/// An event, as the outbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place among all events of the capability.
    pub number: u64,
    /// Where it goes.
    pub bus: String,
    /// What it is known by when it comes twice.
    pub id: String,
    /// Its type: `user.updated`.
    pub kind: String,
    /// Whom it is about: the order of these is kept.
    pub subject: String,
    /// The whole event, as JSON.
    pub body: String,
}

/// Bytes of events that are read from an outbox at once, unless the first has more.
pub const OUTBOX: i64 = 4 << 20;

/// A row that could not be applied.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Which.
    pub row: Touched,
    /// The row that was to be written, by column; `None`: it was to be removed.
    pub image: Option<serde_json::Value>,
    /// Why; names columns, never values.
    pub reason: String,
    /// The foreign key that refused it, where it may be written once the other end is as it has to be ([`Sink::returning`]).
    pub reference: Option<String>,
}

/// How hard a sink tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Write the rows; any refusal refuses the whole.
    Plain,
    /// First move unique values of the rows that are about to change out of each other's way.
    Parked,
    /// In ever smaller parts, each as it is, or like `Parked` where that helps, or by removing its rows first where nothing else
    /// is lost by it; what is refused alone is set aside, the rest is written.
    Isolated,
}

/// What became of [`Sink::apply`].
#[derive(Debug)]
pub enum Applied {
    /// It is durable, with the position. The rows that were set aside, and how many are set aside in all.
    Done {
        /// Set aside now.
        rejected: Vec<Rejected>,
        /// Set aside in all.
        quarantined: u64,
    },
    /// A constraint refused it; nothing was written. Rows of the target outside the batch that hold a unique value
    /// that the batch brings: their newest state belongs into the batch.
    Refused {
        /// These rows.
        holders: Vec<Touched>,
    },
}

/// What a target remembers of the stream that ends in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checkpoint {
    /// Applied so far; `None`: never begun.
    pub position: Option<Position>,
    /// The initial copy is complete.
    pub backfilled: bool,
    /// The turn that was taken.
    pub turn: i64,
}

/// A piece of a snapshot ends where it holds so many bytes of texts and blobs: photos are not as small as notes.
pub(crate) const PIECE_BYTES: usize = 4 << 20;

/// One piece of a snapshot.
#[derive(Debug)]
pub enum Piece {
    /// Sent first: the moment that the snapshot shows, and how many rows come.
    Begins(Position, u64),
    /// Some rows of a pair, by key.
    Rows(usize, Vec<Row>),
    /// The same, where they are wanted as the engine prints them.
    Lines(usize, Lines),
}

/// Rows as their engine prints them, each a line with its end.
#[derive(Debug, Clone)]
pub struct Lines {
    /// All of them.
    pub text: Vec<u8>,
    /// How many; never none.
    pub rows: u64,
}

/// A way for rows of the initial copy from one database to another of the same engine, past their values.
pub trait Straight: Send + Sync {
    /// The same as the values of each row, mapped and got ready ([`Sink::ready`]), would give.
    ///
    /// # Errors
    /// As [`Source::snapshot`]: a column holds something that its kind does not have.
    fn map(self: Arc<Self>, lines: Lines) -> Result<Mapped, Error>;

    /// The mapped rows of these lines, but for those that have no counterpart.
    ///
    /// # Errors
    /// As [`Straight::map`].
    fn rows(&self, lines: &Lines) -> Result<Vec<Row>, Error>;
}

/// A piece of a snapshot in the shape of modern.
pub struct Mapped {
    /// Rows that it was made of.
    pub read: u64,
    /// The key of the last of them.
    pub last: Value,
    /// What is to be written.
    pub load: Load,
    /// What has no counterpart.
    pub aside: Vec<Rejected>,
}

/// What of a pair is still to be read by a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Left {
    /// Everything.
    #[default]
    All,
    /// What follows a key.
    After(Value),
    /// Nothing.
    Nothing,
}

/// What a target remembers of the copy of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Copied {
    /// The pair's name.
    pub pair: String,
    /// By which plan; for nobody but the copy to read.
    pub plan: String,
    /// Rows that were taken in.
    pub rows: u64,
    /// The rest.
    pub left: Left,
}

impl Copied {
    /// What is left as a column keeps it: a key as JSON; nothing at all is everything.
    pub(crate) fn text_of_left(&self) -> Option<String> {
        match &self.left {
            Left::All => None,
            // A key is a number or a text: its JSON cannot fail.
            Left::After(key) => serde_json::to_string(key).ok(),
            Left::Nothing => Some(String::new()),
        }
    }

    /// From what the columns keep. What cannot be read is copied again.
    pub(crate) fn read(pair: String, plan: String, rows: u64, left: Option<&str>) -> Copied {
        let left = match left {
            None => Left::All,
            Some("") => Left::Nothing,
            Some(key) => serde_json::from_str(key).map_or(Left::All, Left::After),
        };
        Copied { pair, plan, rows, left }
    }
}

/// Rows of the initial copy, on their way into a table.
pub struct Load {
    /// The pair.
    pub pair: usize,
    /// They have no counterpart there yet.
    pub rows: LoadRows,
    /// The same as the sink sends them, where it can tell ahead of time.
    pub wire: Option<Vec<Vec<u8>>>,
    /// What is to be remembered with them, in the same transaction.
    pub copied: Option<Copied>,
}

/// Rows that are written one by one if need be.
pub enum LoadRows {
    /// These.
    Rows(Vec<Row>),
    /// Those of lines of the source.
    Lines(Arc<dyn Straight>, Lines),
}

impl LoadRows {
    /// The rows.
    ///
    /// # Errors
    /// As [`Straight::rows`].
    pub(crate) fn into_rows(self) -> Result<Vec<Row>, Error> {
        match self {
            LoadRows::Rows(rows) => Ok(rows),
            LoadRows::Lines(way, lines) => way.rows(&lines),
        }
    }
}

/// Bounds of a walk by key: `after` is outside, `through` inside.
#[derive(Debug, Clone, Default)]
pub struct KeyRange {
    /// Lower bound.
    pub after: Option<Value>,
    /// Upper bound.
    pub through: Option<Value>,
}

/// A gap of no pair, among those of pairs: what [`Source::set_unseen`] says. No table is called so.
pub(crate) fn unseen_name(token: u64) -> String {
    format!("\t{token}")
}

/// The token in the name of such a gap. An earlier release noted none, and had no name for it.
pub(crate) fn unseen_token(name: &str) -> Option<u64> {
    if name.is_empty() { Some(0) } else { name.strip_prefix('\t')?.parse().ok() }
}

/// Reads rows in the shape of the side's plans.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The rows of these keys that exist, in any order.
    async fn rows(&self, pair: usize, keys: &[Value]) -> Result<Vec<Row>, Error>;

    /// Rows inside a range, by key, at most `limit`. Rows without a key are none of the pair.
    async fn chunk(&self, pair: usize, range: &KeyRange, limit: usize) -> Result<Vec<Row>, Error>;

    /// How many rows of the pair have no key, so that nothing can correlate them.
    async fn keyless(&self, pair: usize) -> Result<u64, Error>;

    /// References of the side's own tables that lead nowhere, in words; empty when there are none.
    async fn orphans(&self) -> Result<Vec<String>, Error>;
}

/// A database that changes are read from.
#[async_trait]
pub trait Source: Reader {
    /// Makes capture complete: log, triggers, fence (open). Idempotent. Pairs whose capture was missing or outdated are
    /// remembered as gaps in the same transaction.
    async fn prepare(&self) -> Result<(), Error>;

    /// The pairs that may have changed without an entry in the log.
    async fn gaps(&self) -> Result<Vec<usize>, Error>;

    /// These pairs may have changed without the target having it. Durable, like a gap that [`Source::prepare`] finds.
    async fn open_gaps(&self, pairs: &[usize]) -> Result<(), Error>;

    /// These pairs have been compared since.
    async fn close_gaps(&self, pairs: &[usize]) -> Result<(), Error>;

    /// What [`Source::set_unseen`] said last.
    async fn unseen(&self) -> Result<Option<u64>, Error>;

    /// Something may have been written here that nobody saw, while the other side owned: it is not written over before
    /// somebody says so who knows, with a token higher than this one. `None`: that is over. Durable.
    async fn set_unseen(&self, token: Option<u64>) -> Result<(), Error>;

    /// The rows that are left, of each pair by key, as of one position, exactly; parents first. A pair that is not named
    /// has everything left. `lines`: the pairs whose rows are wanted as [`Lines`], of those that [`Source::printed`] knows.
    /// Ends when the receiver is gone.
    async fn snapshot(&self, left: &[Left], lines: &[usize], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error>;

    /// What the lines are in which a snapshot prints rows of the pair: for [`Sink::straight`] of a database of the same engine,
    /// and for nobody else to understand. `None`: it has none.
    fn printed(&self, pair: usize) -> Option<Box<dyn Any + Send>> {
        let _ = pair;
        None
    }

    /// Whether anything may have been committed since the last call; `false` promises that [`Source::read`] would find
    /// nothing that was committed before the call. Cheap: it is asked every few milliseconds.
    async fn changed(&self) -> Result<bool, Error>;

    /// Waits until [`Source::changed`] is worth asking, `at_most` so long. An engine that is pushed to comes back as soon
    /// as something has arrived. May be dropped while it waits; nothing is lost by that.
    async fn wait(&self, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }

    /// Takes in what arrives while a batch is being written, for an engine that is pushed to. Never comes back by itself; is
    /// dropped when the batch is written, and nothing is lost by that.
    async fn gather(&self) -> Infallible {
        std::future::pending().await
    }

    /// Folds at most `limit` entries after a position; `also` are read as if they had been touched. Rows and position
    /// are of one transaction.
    ///
    /// # Errors
    /// [`Error::SchemaChanged`] when capture is no longer complete.
    async fn read(&self, after: Position, limit: usize, also: &[Touched]) -> Result<Batch, Error>;

    /// The same, for a sink that writes in parts ([`Sink::in_parts`]): a transaction that is too large to be held comes as
    /// several batches. Each but the last has [`Batch::more`]. Whoever reads from a position again gets it from its beginning.
    async fn read_parts(&self, after: Position, limit: usize) -> Result<Batch, Error> {
        self.read(after, limit, &[]).await
    }

    /// What follows a batch that has [`Batch::more`]: another such, or the end of its transaction, perhaps with some that
    /// follow it. May be empty; is asked for nothing else.
    async fn rest(&self, after: Position, limit: usize) -> Result<Batch, Error> {
        self.read(after, limit, &[]).await
    }

    /// Bytes of the log between two positions with so many entries in between, as near as the engine knows.
    fn bytes(&self, from: Position, to: Position, entries: u64) -> u64;

    /// Bytes of the log that are kept because this reader has not confirmed them yet, as near as the engine knows. None where
    /// the server keeps its log for as long as it is set to, whoever reads it.
    async fn kept_log(&self) -> Result<u64, Error> {
        Ok(0)
    }

    /// Everything up to here is durable in the target: the log below it may go. At most a small write.
    async fn confirm(&self, position: Position) -> Result<(), Error>;

    /// Up to here entries may be gone from the log: a stream that begins below has missed something.
    async fn pruned(&self) -> Result<Position, Error>;

    /// Whether part of the log after a position is gone that nobody was told could go, and its rows have not been compared
    /// since.
    async fn lost(&self, position: Position) -> Result<bool, Error> {
        let _ = position;
        Ok(false)
    }

    /// The end of the log. With the fence on: nothing but the agent writes after it.
    async fn end_position(&self) -> Result<Position, Error>;

    /// Appends entries to the log, as if the rows had been written.
    async fn touch(&self, rows: &[Touched]) -> Result<(), Error>;
}

/// A number for the first turn at a stream: by chance, so that it is no other one's.
pub(crate) fn first_turn() -> i64 {
    // 48 bits of chance; the others of a UUID tell its version.
    i64::try_from(uuid::Uuid::new_v4().as_u128() >> 80).unwrap_or(i64::MAX).saturating_add(1)
}

/// A database that changes are written to.
#[async_trait]
pub trait Sink: Reader {
    /// The turn that was taken last. `None`: none ever was, or everything of the capability was taken out again.
    async fn turn(&self) -> Result<Option<i64>, Error>;

    /// Takes the stream over from whichever agent had it. From here on, that agent's writes fail with
    /// [`Error::Superseded`], for good: the first turn is a number that was never given before ([`first_turn`]), so that
    /// nobody finds his own again after the capability was taken out and begun anew. An agent that has had a turn before names
    /// it, and is refused when another came between, or when there is none to follow ([`Error::TakenOut`]).
    /// Refuses when the stream came from another database than `source_id`.
    async fn claim(&self, source_id: &str, held: Option<i64>) -> Result<Checkpoint, Error>;

    /// Rows, position, quarantine and outbox in one transaction.
    async fn apply(&self, changes: &[Changes], position: Position, effort: Effort, aside: &[Rejected]) -> Result<Applied, Error>;

    /// Begins to write a transaction in parts, where the engine can; it does nothing before the first.
    fn in_parts(&self) -> Option<Box<dyn InParts + '_>> {
        None
    }

    /// How many times the configured size a batch may grow to while a backlog is drained: where a long transaction keeps
    /// nobody else from writing, what each of them costs beside its rows is spent less often.
    fn growth(&self) -> usize {
        1
    }

    /// Gets rows of the initial copy ready while those before them are being written. Asks no database.
    fn ready(&self, pair: usize, rows: Vec<Row>) -> Load {
        Load { pair, rows: LoadRows::Rows(rows), wire: None, copied: None }
    }

    /// A way past the values of the pair's rows, from a source whose lines are what [`Source::printed`] says. `None`: the plan
    /// needs their values, or the source is of another engine.
    fn straight(&self, pair: usize, plan: &Plan, printed: Box<dyn Any + Send>) -> Option<Arc<dyn Straight>> {
        let _ = (pair, plan, printed);
        None
    }

    /// Writes rows of the initial copy, and what is to be remembered with them, in one transaction.
    async fn load(&self, load: Load) -> Result<Vec<Rejected>, Error>;

    /// What is remembered of the copy, by pair.
    async fn copied(&self) -> Result<Vec<Copied>, Error>;

    /// Remembers it; what is known of other pairs stays.
    async fn note_copied(&self, copied: &[Copied]) -> Result<(), Error>;

    /// Remembers it in the place of what is known under other names, of which nothing else is kept either: their rows are about to be
    /// compared.
    async fn rename_copied(&self, copied: &[Copied], former: &[String]) -> Result<(), Error>;

    /// Removes the rows of all pairs, in small transactions, and forgets the checkpoint and what was copied.
    async fn empty(&self) -> Result<(), Error>;

    /// Sets the position, and says whether the initial copy is complete.
    async fn begin_at(&self, position: Position, backfilled: bool) -> Result<(), Error>;

    /// How many rows are set aside.
    async fn quarantined(&self) -> Result<u64, Error>;

    /// The newest rows that are set aside, at most so many, newest first. An image that is too
    /// large to be shown stays where it is.
    async fn set_aside(&self, at_most: u32) -> Result<Vec<Kept>, Error>;

    /// Forgets those that are set aside: this side owns now, and its rows are right.
    async fn forget_aside(&self) -> Result<(), Error>;

    /// Rows that are set aside because of a foreign key that would not refuse them any more: at most so many, those first that
    /// have waited longest. None where references are not enforced on what the agent writes.
    async fn returning(&self, at_most: u32) -> Result<Vec<Touched>, Error> {
        let _ = at_most;
        Ok(Vec::new())
    }

    /// The oldest events that wait for a bus, in their order: at most so many, of [`OUTBOX`] bytes.
    async fn outbox(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, Error>;

    /// The bus has those of these numbers: they are forgotten. Lower ones may have come to the outbox since.
    async fn sent(&self, bus: &str, numbers: &[u64]) -> Result<(), Error>;

    /// How many wait for a bus.
    async fn waiting(&self, bus: &str) -> Result<u64, Error>;

    /// The highest number of an event that waits for whichever bus; 0: none does.
    async fn last_event(&self) -> Result<u64, Error>;

    /// The highest number that the pair's sequence has given out, or that a row bears.
    async fn sequence(&self, pair: usize) -> Result<i64, Error>;

    /// Makes the pair's sequence go on above a number. A pair without a sequence on this side: nothing.
    async fn raise_sequence(&self, pair: usize, above: i64) -> Result<(), Error>;
}

/// One transaction of the target that takes in a large one of the source, part by part. Nobody sees any of it before it is
/// committed; dropped before that, it leaves nothing.
#[async_trait]
pub trait InParts: Send {
    /// Writes the next part. `false`: something refused it, and the whole is lost: it is for [`Sink::apply`], in one.
    async fn write(&mut self, changes: &[Changes], aside: &[Rejected]) -> Result<bool, Error>;

    /// Commits the parts with the position that they reach. How many rows are set aside in all; `None`: refused, as above.
    async fn commit(self: Box<Self>, position: Position) -> Result<Option<u64>, Error>;
}

/// Whether somebody's open transaction would keep [`Database::fence`] waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Busy {
    /// Nobody's; or the engine does not tell.
    Free,
    /// Somebody's, and whether it is an old one is not known yet: worth asking again soon.
    Perhaps,
    /// An old one.
    Held {
        /// Whose, in words, with what to do.
        text: String,
        /// [`Database::end_writers`] would end all of them.
        ends: bool,
    },
}

/// One side of a capability.
#[async_trait]
pub trait Database: Source + Sink {
    /// Identifies the database: another one after a restore from elsewhere.
    async fn id(&self) -> Result<String, Error>;

    /// Remembers that orders of an epoch are carried out here from now on. Durable.
    ///
    /// # Errors
    /// [`Error::Outdated`]: orders of a later epoch were.
    async fn obey(&self, epoch: u64) -> Result<(), Error>;

    /// The newest epoch of which that is remembered; 0: none.
    async fn obeyed(&self) -> Result<u64, Error>;

    /// Refuses every writer but the agent, or stops refusing. Durable; no schema change.
    async fn fence(&self, on: bool) -> Result<(), Error>;

    /// Whether it refuses.
    async fn is_fenced(&self) -> Result<bool, Error>;

    /// From the next [`Source::prepare`] on, what [`Database::let_through`] needs is made too.
    fn record_strays(&self);

    /// A fence that is closed lets writers through from now on, and keeps each row that they write, as it was and as it became, with
    /// who wrote it, in their own transaction. Closing it again waits for those under way, as it always does. Durable; no schema change.
    async fn let_through(&self) -> Result<(), Error>;

    /// Whether it does that. `false` where nothing was ever made.
    async fn lets_through(&self) -> Result<bool, Error>;

    /// The rows that were kept so.
    async fn let_in(&self) -> Result<LetIn, Error>;

    /// Those of them that nobody has decided about: their numbers.
    async fn unsettled(&self) -> Result<Vec<i64>, Error>;

    /// The same as people are shown them: the newest, at most so many.
    async fn show_unsettled(&self, at_most: u32) -> Result<Vec<Kept>, Error>;

    /// These have been decided about. They stay for a while, for who wants to look them up.
    async fn settle_strays(&self, numbers: &[i64]) -> Result<(), Error>;

    /// Removes what was decided about longer ago than [`KEPT_DAYS`], and the oldest beyond [`KEPT_ROWS`]: at most [`SETTLE`] at once.
    /// They stay counted. Whether there may be more.
    async fn forget_strays(&self) -> Result<bool, Error>;

    /// The oldest of them that nobody has decided about, nor passed by, in their order: at most so many.
    async fn oldest_strays(&self, at_most: u32) -> Result<Vec<Stray>, Error>;

    /// One of them cannot be written to the other side, and why: somebody has to decide about it.
    async fn pass_stray(&self, number: i64, reason: &str) -> Result<(), Error>;

    /// Writes rows as an application does, in one transaction, if all of them are as they are expected to be: without the loop
    /// mark, so that they come back by the stream. `number`: the other side's stray row that they are of; when it is the last that
    /// was written here, it is not written again. `same` compares rows in the shape of the pair.
    async fn rewrite(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error>;

    /// Whose open transaction the fence would wait for. Waits for no lock, holds none longer than a statement that
    /// changes nothing; remembers what it saw last time.
    async fn busy(&self) -> Result<Busy, Error>;

    /// Ends the sessions whose old transactions keep [`Database::fence`] waiting at this moment, where it may; none of Ficus's own.
    /// Each one that it ended, in words.
    async fn end_writers(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// For how long [`Database::fence`] waits for such a transaction before it gives up.
    fn fence_waits(&self) -> Duration;

    /// How much the whole server has to do: the statements that it executes at this moment, those of the copy not counted where
    /// the engine can tell them. `None`: the engine has no server.
    ///
    /// # Errors
    /// [`Error::Refused`]: the agent may not see it; with the statement that lets it.
    async fn load_of_server(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Who was refused by the fence. `None`: the engine cannot tell, because a refused statement leaves nothing behind in it.
    async fn refused(&self) -> Result<Option<Refused>, Error> {
        Ok(None)
    }
}

/// Whom a fence refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Statements, since the fence was made.
    pub statements: u64,
    /// Sessions that are still there, in words.
    pub writers: Vec<String>,
}

/// Rows that strangers wrote while a fence let them through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetIn {
    /// All of them, since the fence was made.
    pub rows: u64,
    /// So many nobody has decided about.
    pub unsettled: u64,
    /// The same by pair.
    pub pairs: Vec<LetInPair>,
    /// Who wrote the newest of those, in words, each once; when there is none, the newest of all. Empty where the engine does not tell.
    pub wrote: Vec<String>,
}

/// Rows of a pair that strangers wrote and that nobody has decided about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetInPair {
    /// Its name.
    pub pair: String,
    /// How many.
    pub rows: u64,
    /// So many of them were passed by.
    pub passed: u64,
}

/// A row that strangers wrote, in the shape of the side's plans. With neither image nothing was written after all.
#[derive(Debug, Clone, PartialEq)]
pub struct Stray {
    /// Which of them; later ones have higher numbers, of one transaction at least.
    pub number: i64,
    /// Its pair; `None`: it has left the rules, and the row is nobody's to carry.
    pub pair: Option<usize>,
    /// As it was; `None`: there was none.
    pub was: Option<Row>,
    /// As it became; `None`: it was removed.
    pub becomes: Option<Row>,
}

/// What to make of a row, in the shape of the side's plans.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// The legacy key.
    pub key: Value,
    /// As it has to be; `None`: there must be none.
    pub was: Option<Row>,
    /// As it shall be; `None`: removed.
    pub becomes: Option<Row>,
}

impl Rewrite {
    /// Whether the row is as it has to be. That it is already as it shall be says nothing: another one may have made it so.
    pub(crate) fn fits(&self, found: Option<&Row>, same: &Same<'_>) -> bool {
        match (found, &self.was) {
            (Some(found), Some(was)) => same(found, was),
            (None, None) => true,
            _ => false,
        }
    }

    /// What is to be written over the row that was found: what the other side keeps less of, and was not changed there, stays whole.
    pub(crate) fn over(&self, found: Option<&Row>) -> Option<Row> {
        let mut row = self.becomes.clone()?;
        if let (Some(was), Some(found)) = (&self.was, found) {
            let values = row.values.iter_mut().zip(&was.values).zip(&found.values);
            values.filter(|((value, was), _)| *value == *was).for_each(|((value, _), found)| value.clone_from(found));
        }
        Some(row)
    }
}

/// Whether two rows of a pair mean the same.
pub type Same<'s> = dyn Fn(&Row, &Row) -> bool + Send + Sync + 's;

/// What came of [`Database::rewrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// The rows are as they shall be.
    Done,
    /// One of them is not as expected; nothing was written.
    Changed,
    /// A constraint refused them; nothing was written. Names columns, never values.
    Refused(String),
}

/// Newest rows that are looked at for who wrote.
pub(crate) const WROTE: u32 = 50;

/// Numbers that are settled, or forgotten, in one statement.
pub(crate) const SETTLE: usize = 1_000;

/// How many days a row that strangers wrote is kept after somebody has decided about it.
pub(crate) const KEPT_DAYS: u32 = 30;

/// How many such rows are kept.
pub(crate) const KEPT_ROWS: u32 = 100_000;

/// An opened database, before anything is compiled for it.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The columns of the named tables.
    async fn columns(&self, tables: &[String]) -> Result<Tables, Error>;

    /// All its tables.
    async fn catalog(&self) -> Result<Catalog, Error>;

    /// What stands in the way of a capability, all of it, and what somebody should know: settings, rights, triggers, what
    /// [`Source::prepare`] would refuse. Reads only. What catalogs of both sides tell is found elsewhere
    /// ([`ficus_rules::preflight`]).
    async fn findings(&self, wanted: &Wanted) -> Result<Vec<Finding>, Error>;

    /// One side of a capability's plans in it.
    async fn side(&self, capability: &str, side: Side, plans: &[Plan]) -> Result<Shared, Error>;

    /// Takes away what would refuse an application's writes only because a column that it names is gone, unless the side is
    /// fenced. For a capability that cannot be mapped; [`Source::prepare`] makes it again.
    async fn make_way(&self, capability: &str, side: Side) -> Result<(), Error> {
        let _ = (capability, side);
        Ok(())
    }

    /// Takes everything of a capability out again, by orders of an epoch. Idempotent; works on a database that never had it.
    ///
    /// # Errors
    /// [`Error::Outdated`]: orders of a later epoch were carried out.
    async fn remove(&self, capability: &str, side: Side, epoch: u64) -> Result<(), Error>;

    /// Asks the server something small, by a connection that nobody uses if there is one, and comes back with any answer, also
    /// with a refusal. Never, if there is none.
    async fn pulse(&self) {}

    /// Closes its connections.
    async fn close(&self);
}

/// What a capability wants of the database of one side.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The capability.
    pub capability: String,
    /// The side.
    pub side: Side,
    /// Its tables, by pair.
    pub tables: Vec<WantedTable>,
    /// How many capabilities want something of this database, itself included.
    pub together: usize,
}

/// A table of a pair.
#[derive(Debug, Clone)]
pub struct WantedTable {
    /// Its name.
    pub table: String,
    /// The column that holds the legacy key.
    pub key: String,
    /// The columns that are read and written, without the key; empty while they are not known.
    pub columns: Vec<String>,
    /// Not every row is of the pair.
    pub filtered: bool,
}

impl Wanted {
    /// By the shapes of compiled pairs.
    pub fn of_shapes<'s>(capability: &str, side: Side, shapes: impl Iterator<Item = &'s Shape>) -> Wanted {
        let tables = shapes.map(|shape| WantedTable {
            table: shape.table.clone(),
            key: shape.key.clone(),
            columns: shape.columns.clone(),
            filtered: !shape.filter.is_empty(),
        });
        Wanted { capability: capability.to_owned(), side, tables: tables.collect(), together: 1 }
    }

    /// By a rule file whose pairs do not compile.
    pub fn of_maps(capability: &str, side: Side, maps: &[TableMap]) -> Wanted {
        let tables = maps.iter().map(|map| {
            let (table, key) = match side {
                Side::Legacy => (&map.legacy, &map.legacy_key),
                Side::Modern => (&map.modern, &map.modern_key),
            };
            WantedTable { table: table.clone(), key: key.clone(), columns: Vec::new(), filtered: true }
        });
        Wanted { capability: capability.to_owned(), side, tables: tables.collect(), together: 1 }
    }

    /// Its tables, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for wanted in &self.tables {
            if !names.contains(&wanted.table) {
                names.push(wanted.table.clone());
            }
        }
        names
    }
}

/// Refuses when a finding does: everything that keeps the agent from starting, at once.
///
/// # Errors
/// [`Error::Refused`] with all findings that refuse.
pub fn accept(label: &str, findings: &[Finding]) -> Result<(), Error> {
    let mut refused = String::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Refused) {
        // A statement at its end has a semicolon of its own.
        refused.push_str(match refused.chars().last() {
            None => "",
            Some(';') => " and ",
            Some(_) => "; and ",
        });
        refused.push_str(&finding.to_string());
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(format!("{label}: {refused}"))) }
}

/// A shared side.
pub type Shared = Arc<dyn Database>;
