//! The replication connection and the transactions that came over it, decoded, from a position on. Keeps them until they
//! are durable in the target: a batch may be asked for twice.
//!
//! Nothing here waits for an applier: whoever holds the connection ([`super::receiver`]) tells the server every half second
//! that we are alive, and stops reading when its queue is full.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pgwire_replication::{PgWireError, ReplicationEvent};

use super::Endpoint;
use super::change::{Entry, Key, Places, Seen};
use super::pgoutput::{self, Message, Relation, Tuple};
use super::receiver::Receiver;
use super::rest::Rest;
use crate::error::Error;

/// Events between the socket and us.
pub(super) const EVENTS: usize = 512;

/// Bytes of a batch, unless one transaction alone has more.
pub(super) const MOST_BYTES: usize = 24 << 20;

/// Bytes of a part of a transaction that has more, and of what is held of it: in memory it is several times as much.
pub(super) const PART_BYTES: usize = 6 << 20;

/// How long a slot may stay with the connection that had it before.
const HANDOVER: Duration = Duration::from_secs(10);

/// What came over the connection.
#[derive(Default)]
pub(super) struct Feed {
    client: Option<Receiver>,
    /// Where it begins.
    start: u64,
    /// Everything that was committed up to here has arrived.
    pub(super) received: u64,
    relations: HashMap<u32, Known>,
    open: Option<Open>,
    ready: VecDeque<Transaction>,
    /// In `ready`, and of it in front what was asked for before: it may be asked for again.
    held: Amount,
    again: Amount,
    /// Where the last question began.
    asked: u64,
    /// The last one with entries that is not in `ready` any more; before the first connection it is not known. A position
    /// without entries is nothing that a target has to remember, so that it never stands here but at the beginning.
    dropped: Option<u64>,
    /// Up to here the source knows that the log may be gone.
    pub(super) noted: u64,
    /// Up to here what cannot be read has become a gap.
    pub(super) forgiven: u64,
    /// The log says anew how a table looks: perhaps it has changed.
    pub(super) suspect: bool,
    /// Up to here it is in a batch that was handed out; what of it is in `ready` is kept in case it is asked for again.
    pub(super) handed: u64,
    /// How many of `ready`, from the front, others on the server see.
    seen: usize,
    /// Transactions that are too large to be held are taken out in parts.
    pub(super) parts: bool,
    pub(super) rest: Rest,
    /// The last one between two looks for what others see; none while they see everything.
    pub(super) pause: Duration,
}

/// So much of the log.
#[derive(Default, Clone, Copy)]
struct Amount {
    transactions: usize,
    entries: usize,
    bytes: usize,
}

impl Amount {
    fn of(transaction: &Transaction) -> Amount {
        Amount { transactions: 1, entries: transaction.entries.len(), bytes: transaction.bytes }
    }

    fn with(self, other: Amount) -> Amount {
        Amount {
            transactions: self.transactions + other.transactions,
            entries: self.entries + other.entries,
            bytes: self.bytes + other.bytes,
        }
    }

    fn without(self, other: Amount) -> Amount {
        Amount {
            transactions: self.transactions - other.transactions,
            entries: self.entries - other.entries,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// A committed transaction, as far as it concerns the pairs.
pub(super) struct Transaction {
    /// Where the log goes on after its commit.
    pub(super) end: u64,
    /// Where its commit stands.
    pub(super) commit: u64,
    xid: u32,
    /// Microseconds since 2000.
    pub(super) at: i64,
    pub(super) entries: Vec<Entry>,
    bytes: usize,
    /// Entries before these have been taken out.
    torn: bool,
}

/// A transaction of whose entries the last has not arrived. It is committed: the server sends no other.
#[derive(Default)]
pub(super) struct Open {
    /// The agent's own: it begins with the checkpoint.
    own: bool,
    begun: bool,
    pub(super) commit: u64,
    xid: u32,
    pub(super) at: i64,
    pub(super) entries: Vec<Entry>,
    bytes: usize,
    /// As in [`Transaction`].
    torn: bool,
    /// Others on the server see it.
    seen: bool,
}

/// What a relation of the log is to us.
enum Known {
    Table(Vec<Arc<Places>>),
    /// Place of the stream.
    Checkpoint(usize),
    /// Places of scope, pair and key.
    Touch([usize; 3]),
    Other,
}

impl Feed {
    /// Makes sure that everything after a position is here or will come. What follows the position before is kept: a batch
    /// may be read while the one before it is being written, which then is asked for again.
    pub(super) async fn seek(&mut self, endpoint: &Endpoint, after: u64) -> Result<(), Error> {
        if self.client.is_none() || after < self.start || self.is_torn(after) {
            self.connect(endpoint, after).await?;
        }
        let done = after.min(std::mem::replace(&mut self.asked, after));
        self.forget(done);
        Ok(())
    }

    /// Whether a transaction after a position is not whole any more.
    fn is_torn(&self, after: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.torn) || self.ready.iter().any(|transaction| transaction.torn && transaction.end > after)
    }

    /// Forgets transactions up to a position.
    fn forget(&mut self, upto: u64) {
        while self.ready.front().is_some_and(|transaction| transaction.end <= upto) {
            if let Some(gone) = self.ready.pop_front() {
                self.held = self.held.without(Amount::of(&gone));
                self.dropped = self.dropped.max(Some(gone.end));
                self.seen = self.seen.saturating_sub(1);
            }
        }
        let again = self.ready.iter().take_while(|transaction| transaction.end <= self.asked);
        self.again = again.map(Amount::of).fold(Amount::default(), Amount::with);
        self.start = self.start.max(upto);
    }

    /// What follows the position that was sought, and is seen by others.
    pub(super) fn following(&self) -> impl Iterator<Item = &Transaction> {
        self.ready.iter().take(self.seen).skip(self.again.transactions)
    }

    /// Entries that follow it.
    pub(super) fn entries(&self) -> usize {
        self.held.without(self.again).entries
    }

    /// Whether that is as much as one batch may be, or as much of a transaction as is held.
    pub(super) fn is_enough(&self, entries: usize) -> bool {
        let following = self.held.without(self.again);
        following.entries >= entries || following.bytes >= MOST_BYTES || self.is_full()
    }

    /// Whether nothing more is taken in before a part of the open transaction is taken out.
    pub(super) fn is_full(&self) -> bool {
        self.parts && self.open.as_ref().is_some_and(|open| open.bytes >= PART_BYTES)
    }

    /// The open transaction, if it is what follows and there is a part of it to be taken out.
    pub(super) fn part(&mut self) -> Option<&mut Open> {
        let next = self.ready.len() == self.again.transactions && self.is_full();
        self.open.as_mut().filter(|open| next && open.seen)
    }

    /// Whether more of a transaction of which parts were taken out can still be taken in.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_full() && self.open.as_ref().is_some_and(|open| open.torn)
    }

    /// Whether the end of a transaction that was taken out in parts is what follows.
    pub(super) fn ends_torn(&self) -> bool {
        self.following().next().is_some_and(|transaction| transaction.torn)
    }

    /// Whether nothing that was read is kept, but what the agent itself writes.
    pub(super) fn holds_nothing(&self) -> bool {
        self.ready.is_empty() && self.open.as_ref().is_none_or(|open| open.own)
    }

    /// Lets go of the connection; what is known of the log stays known.
    pub(super) fn disconnect(&mut self) {
        (self.client, self.open) = (None, None);
    }

    async fn connect(&mut self, endpoint: &Endpoint, after: u64) -> Result<(), Error> {
        let (noted, forgiven) = endpoint.notes().await?;
        // An earlier session may have read some before the first position: that one is durable. Later ones need not be.
        let read = self.ready.iter().map(|transaction| transaction.end).take_while(|end| *end <= after).last();
        let dropped = self.dropped.map_or(after, |dropped| dropped.max(read.unwrap_or(0)));
        let (parts, rest) = (self.parts, std::mem::take(&mut self.rest));
        *self =
            Feed { start: after, asked: after, received: after, dropped: Some(dropped), noted, forgiven, parts, rest, ..Feed::default() };
        let (slot, publication) = (&endpoint.names.slot, &endpoint.names.publication);
        let until = Instant::now() + HANDOVER;
        loop {
            let mut config = endpoint.server.address.replication(slot, publication, after, noted.min(after).max(1));
            config.options = config.options.into_iter().chain(endpoint.wal.decoding()).reduce(|all, more| format!("{all} {more}"));
            match Receiver::connect(config).await {
                Ok(client) => {
                    self.client = Some(client);
                    return Ok(());
                }
                // Whose turn it is has been settled by the checkpoint's epoch; the one before may still hang on to the slot.
                Err(PgWireError::Server(message)) if message.contains("55006") && Instant::now() < until => {
                    endpoint.release_slot().await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(endpoint.lost(&error)),
            }
        }
    }

    /// Takes in what has arrived already, while what follows is less than so many bytes. Whether anything had.
    pub(super) fn drain(&mut self, endpoint: &Endpoint, most: usize) -> Result<bool, Error> {
        let mut any = false;
        while !self.is_full() && (self.held.without(self.again).bytes < most || self.open.is_some()) {
            let Some(event) = self.client.as_mut().and_then(Receiver::arrived) else { break };
            self.arrived(endpoint, event)?;
            any = true;
        }
        Ok(any)
    }

    /// Whether a transaction has arrived that is in no batch yet, or as much of one as is held.
    pub(super) fn has_news(&self) -> bool {
        self.is_full() || self.ready.back().is_some_and(|transaction| transaction.end > self.handed)
    }

    /// Whether what has arrived was not seen by others when it was looked for, so that there is nothing to go on with yet.
    pub(super) fn waits_for_others(&self) -> bool {
        !self.pause.is_zero()
    }

    /// Waits for the next event and takes it in. May be dropped while it waits.
    pub(super) async fn next(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        match &mut self.client {
            Some(client) => {
                let event = client.next().await;
                self.arrived(endpoint, event)
            }
            None => std::future::pending().await,
        }
    }

    fn arrived(&mut self, endpoint: &Endpoint, event: Result<ReplicationEvent, PgWireError>) -> Result<(), Error> {
        let taken = match event {
            Ok(event) => self.take(endpoint, event),
            Err(error) => Err(endpoint.lost(&error)),
        };
        if taken.is_err() {
            // The next read begins anew where it has to.
            self.client = None;
        }
        taken
    }

    fn take(&mut self, endpoint: &Endpoint, event: ReplicationEvent) -> Result<(), Error> {
        match event {
            ReplicationEvent::KeepAlive { wal_end, .. } => self.received = self.received.max(wal_end.as_u64()),
            ReplicationEvent::Begin { xid, commit_time_micros, final_lsn } => {
                self.open = Some(Open { xid, at: commit_time_micros, commit: final_lsn.as_u64(), ..Open::default() });
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                let end = end_lsn.as_u64();
                if let Some(Open { xid, at, commit, entries, bytes, torn, .. }) = self.open.take()
                    && (!entries.is_empty() || torn)
                    && end > self.start
                {
                    let transaction = Transaction { end, commit, xid, at, entries, bytes, torn };
                    self.held = self.held.with(Amount::of(&transaction));
                    self.ready.push_back(transaction);
                }
                self.received = self.received.max(end);
            }
            ReplicationEvent::XLogData { data, .. } => self.change(endpoint, &data)?,
            ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    fn change(&mut self, endpoint: &Endpoint, data: &Bytes) -> Result<(), Error> {
        // The agent's own rows are not even decoded.
        if self.open.as_ref().is_some_and(|open| open.own) && !matches!(data.first(), Some(b'R')) {
            return Ok(());
        }
        let message = pgoutput::decode(data).map_err(|error| {
            Error::Refused(format!("{}: a message of the log cannot be read ({error}); report the server's version", endpoint.server.label))
        })?;
        match message {
            Message::Relation(relation) => self.relation(endpoint, &relation),
            Message::Insert { relation, new } => {
                self.row(endpoint, data, relation, |seen, entries| seen.inserted(new.clone(), entries), Some(&new))?
            }
            Message::Update { relation, old, new } => {
                self.row(endpoint, data, relation, |seen, entries| seen.updated(old.clone(), new.clone(), entries), Some(&new))?;
            }
            Message::Delete { relation, old } => self.row(endpoint, data, relation, |seen, entries| seen.deleted(&old, entries), None)?,
            Message::Truncate { relations } => {
                for relation in relations {
                    if let (Some(Known::Table(pairs)), Some(open)) = (self.relations.get(&relation), &mut self.open) {
                        open.begun = true;
                        open.entries.extend(pairs.iter().map(|places| Entry::Unreadable { pair: places.pair() }));
                    }
                }
            }
            Message::Begin { .. } | Message::Commit { .. } | Message::Origin | Message::Type | Message::Logical => {}
        }
        Ok(())
    }

    fn relation(&mut self, endpoint: &Endpoint, relation: &Relation) {
        let place = |name: &str| relation.columns.iter().position(|column| column.name == name).unwrap_or(usize::MAX);
        let known = match (relation.schema.as_str(), relation.name.as_str()) {
            ("_ficus", "checkpoint") => Known::Checkpoint(place("stream")),
            ("_ficus", "touch") => Known::Touch([place("scope"), place("pair"), place("key")]),
            _ => match endpoint.tables.iter().find(|(_, table)| table.oid == relation.id) {
                Some((name, _)) => {
                    self.suspect = true;
                    let pairs = endpoint.pairs_of(name);
                    Known::Table(pairs.into_iter().map(|pair| Arc::new(Places::new(pair, &endpoint.pairs[pair], relation))).collect())
                }
                None => Known::Other,
            },
        };
        self.relations.insert(relation.id, known);
    }

    fn row(
        &mut self,
        endpoint: &Endpoint,
        data: &Bytes,
        relation: u32,
        each: impl Fn(&Seen<'_>, &mut Vec<Entry>) -> Result<(), super::change::Unfit>,
        written: Option<&Tuple>,
    ) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let text = |place: usize| written.and_then(|new| new.cell(place).text(data)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        match self.relations.get(&relation) {
            // Other capabilities write to this database too: their agent is a stranger here.
            Some(Known::Checkpoint(stream)) => open.own |= !open.begun && text(*stream) == Some(endpoint.names.stream.as_str()),
            Some(Known::Table(pairs)) => {
                let before = open.entries.len();
                for places in pairs {
                    let seen = Seen { message: data, pair: &endpoint.pairs[places.pair()], places };
                    each(&seen, &mut open.entries).map_err(|(column, reason)| endpoint.unfit(places.pair(), &column, reason))?;
                }
                if open.entries.len() > before {
                    open.bytes += data.len() + 100;
                }
            }
            Some(Known::Touch([scope, pair, key])) => {
                if let (Some(scope), Some(pair), Some(key)) = (text(*scope), text(*pair), text(*key))
                    && scope == endpoint.names.scope
                    && let Some(pair) = endpoint.pair_index(pair)
                    && let Some(key) = endpoint.pairs[pair].key.read(key).ok().as_ref().and_then(Key::of)
                {
                    open.entries.push(Entry::Touched { pair, key });
                }
            }
            Some(Known::Other) | None => {}
        }
        open.begun = true;
        Ok(())
    }

    /// The last position up to which something was read that is not in the log for anybody else.
    pub(super) fn last_with_entries(&self, through: u64) -> u64 {
        let read = self.ready.iter().map(|transaction| transaction.end).take_while(|end| *end <= through);
        read.last().max(self.dropped.filter(|dropped| *dropped <= through)).unwrap_or(0)
    }

    /// Whether some of the next `limit` entries belong to a transaction that nobody was found to see.
    pub(super) fn unseen(&self, limit: usize) -> bool {
        let seen: usize = self.following().map(|transaction| transaction.entries.len()).sum();
        let open = || self.is_full() && self.open.as_ref().is_some_and(|open| !open.seen);
        seen < limit && (self.seen < self.ready.len() || open())
    }

    /// Takes in who is seen, in the order of the log: what comes after one that is not waits with it.
    pub(super) fn see(&mut self, sees: impl Fn(u32) -> bool) {
        self.seen += self.ready.iter().skip(self.seen).take_while(|transaction| sees(transaction.xid)).count();
        if let Some(open) = self.open.as_mut().filter(|_| self.seen == self.ready.len()) {
            open.seen |= sees(open.xid);
        }
    }

    /// It is durable in the target: nobody asks for it again, and the server may forget it.
    pub(super) fn confirm(&mut self, through: u64) {
        self.forget(through);
        if let Some(client) = &self.client {
            client.confirm(through.min(self.received));
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.is_some()
    }
}

impl Open {
    /// What has arrived of it; it is not whole from here on.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        (self.bytes, self.torn) = (0, true);
        std::mem::take(&mut self.entries)
    }
}

impl Endpoint {
    /// The replication connection ended, or would not begin.
    pub(super) fn lost(&self, error: &PgWireError) -> Error {
        let label = &self.server.label;
        match error {
            PgWireError::Server(message) if message.contains("42704") => Error::SchemaChanged,
            PgWireError::Server(message) if message.contains("55000") || message.contains("58P01") => Error::Refused(format!(
                "{label}: the slot {} cannot be read any more ({message}); raise max_slot_wal_keep_size, remove the capability from sync, then add it again",
                self.names.slot
            )),
            PgWireError::Server(message) if message.contains("53300") => Error::Refused(format!(
                "{label}: no replication connection is free ({message}); raise max_wal_senders, then restart the server"
            )),
            error => Error::Database { database: format!("{label}, replication"), source: Box::new(error.clone()) },
        }
    }

    /// A column holds something that its kind does not have.
    pub(super) fn unfit(&self, pair: usize, column: &str, reason: &str) -> Error {
        Error::Refused(format!("{}: column {column} of table {} {reason}; correct it", self.server.label, self.pairs[pair].shape.table))
    }
}
