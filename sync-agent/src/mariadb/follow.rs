//! The connection that the server sends its binary log on, and a bounded buffer of the transactions that came. The task here
//! decides nothing: it decodes ([`super::capture`]) and waits for room. [`super::source`] makes batches of the buffer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::capture::{Capture, Header, Step, Transaction, number};
use super::{Endpoint, Server, refusal};
use crate::error::Error;
use crate::port::Position;

/// Bytes of transactions that wait to be read. One that is greater alone is kept whole.
pub(super) const ROOM: usize = 64 << 20;

/// The server says that it lives this often, and is taken for dead after that.
const HEARTBEAT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(20);

/// How long the server waits until the connection takes more of the log.
const STANDSTILL: Duration = Duration::from_secs(24 * 3600);

/// The type of those events: they say nothing about the log.
const HEARTBEATS: u8 = 27;

/// What has come, and is still needed.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) transactions: VecDeque<Transaction>,
    /// Everything up to here has come.
    pub(super) received: Position,
    pub(super) bytes: usize,
    /// When the last event of the log came, also one of a transaction that is not whole yet.
    alive: Option<Instant>,
    /// Why nothing comes any more.
    pub(super) ended: Option<Ended>,
}

/// The end of a connection.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// Another try will not help.
    Refused(String),
    /// It may.
    Lost(String),
}

/// What the task and its reader share.
#[derive(Default)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Something came.
    pub(super) arrived: Notify,
    /// Something was taken out.
    room: Notify,
}

impl Shared {
    pub(super) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is enough, as long as events come: a great transaction takes its time. `false`: none came for too long.
    pub(super) async fn until(&self, enough: impl Fn(&Buffer) -> bool, patience: Duration) -> bool {
        let mut since = Instant::now();
        loop {
            {
                let buffer = self.buffer();
                if enough(&buffer) {
                    return true;
                }
                since = buffer.alive.map_or(since, |alive| alive.max(since));
            }
            let late = tokio::time::timeout_at(since + patience, self.arrived.notified()).await.is_err();
            if late && self.buffer().alive.is_none_or(|alive| alive <= since) {
                return enough(&self.buffer());
            }
        }
    }

    fn forget(&self, upto: Position) {
        let mut buffer = self.buffer();
        while buffer.transactions.front().is_some_and(|transaction| transaction.end <= upto) {
            if let Some(gone) = buffer.transactions.pop_front() {
                buffer.bytes -= gone.bytes;
            }
        }
        drop(buffer);
        self.room.notify_one();
    }
}

impl Running {
    /// Forgets what nobody asks for any more when a question begins at a position: a batch may be read while the one before
    /// it is being written, which then is asked for again.
    pub(super) fn ask(&mut self, from: Position) {
        let done = from.min(std::mem::replace(&mut self.asked, from));
        self.forget(done);
    }

    /// Forgets transactions up to a position.
    pub(super) fn forget(&mut self, upto: Position) {
        self.floor = self.floor.max(upto);
        self.shared.forget(upto);
    }
}

/// The connection, if there is one.
#[derive(Default)]
pub(super) struct State {
    pub(super) running: Option<Running>,
}

/// A connection that is followed.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    /// Nothing up to here is in the buffer.
    pub(super) floor: Position,
    /// Where the last question began: what follows is kept, since it may be asked for again.
    pub(super) asked: Position,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Endpoint {
    /// Begins to follow the log.
    pub(super) async fn start(&self, base: &str, start: Position) -> Result<Running, Error> {
        let mut conn = self.server.fresh().await?;
        // The connection may stand still for long while the target is busy: the server must not end it for that.
        let beats = format!(
            "SET @mariadb_slave_capability = 4, @master_heartbeat_period = {}, SESSION net_write_timeout = {}",
            HEARTBEAT.as_nanos(),
            STANDSTILL.as_secs()
        );
        conn.query_drop(beats).await.map_err(|e| self.failed(e))?;
        let shared = Arc::new(Shared::default());
        shared.buffer().received = start;
        let capture = Capture::new(self.server.database(), &self.scope, &self.stream(), Arc::clone(&self.pairs), start);
        let (file, offset) = (file(base, start), start.0 & 0xffff_ffff);
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let ended = follow(conn, &file, offset, capture, &shared).await;
                shared.buffer().ended = Some(ended);
                shared.arrived.notify_one();
            }
        });
        Ok(Running { shared, floor: start, asked: start, task })
    }
}

async fn follow(conn: Conn, file: &str, offset: u64, mut capture: Capture, shared: &Shared) -> Ended {
    // Any number that no replica of the server has; the server ends an older connection of the same number.
    let id = 0x8000_0000 | u32::try_from(uuid::Uuid::new_v4().as_u128() >> 97).unwrap_or(0);
    let request = BinlogStreamRequest::new(id).with_filename(file.as_bytes()).with_pos(offset);
    let mut stream = match conn.get_binlog_stream(request).await {
        Ok(stream) => stream,
        Err(error) => return lost(&error),
    };
    loop {
        let event = match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => return lost(&error),
            Ok(None) => return Ended::Lost("the server ended the connection".to_owned()),
            Err(_) => return Ended::Lost(format!("nothing came for {} s", SILENCE.as_secs())),
        };
        let header = event.header();
        let header = Header { kind: header.event_type_raw(), next: header.log_pos(), at: header.timestamp(), flags: header.flags_raw() };
        if header.kind != HEARTBEATS {
            shared.buffer().alive = Some(Instant::now());
        }
        match capture.event(header, event.data()) {
            Err(why) => return Ended::Refused(why),
            Ok(None) => {}
            Ok(Some(Step::Reached(position))) => {
                let mut buffer = shared.buffer();
                if position > buffer.received {
                    buffer.received = position;
                    drop(buffer);
                    shared.arrived.notify_one();
                }
            }
            Ok(Some(Step::Ended(transaction))) => {
                while shared.buffer().bytes > ROOM {
                    shared.room.notified().await;
                }
                let mut buffer = shared.buffer();
                buffer.received = buffer.received.max(transaction.end);
                buffer.bytes += transaction.bytes;
                buffer.transactions.push_back(transaction);
                drop(buffer);
                shared.arrived.notify_one();
            }
        }
    }
}

/// 1236: the log does not have that place (any more).
fn lost(error: &mysql_async::Error) -> Ended {
    match error {
        mysql_async::Error::Server(said) if said.code == 1236 => Ended::Refused(format!(
            "its binary log does not have the place any more that the stream goes on from ({}); keep it longer (binlog_expire_logs_seconds), and start over: remove the capability from sync, then add it again",
            said.message
        )),
        mysql_async::Error::Server(said) if matches!(said.code, 1227 | 1045) => Ended::Refused(
            "the agent's account may not read the binary log; GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO it".to_owned(),
        ),
        other => Ended::Lost(refusal::words(other)),
    }
}

/// What the server says of its log: file, offset, the databases that are logged alone, and those that are not; nothing where
/// there is no log.
pub(super) async fn log(server: &Server, conn: &mut Conn) -> Result<Option<(String, u64, String, String)>, Error> {
    let renamed = !server.is_mariadb() && server.version() >= (8, 4, 0);
    let query = if renamed { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let found: Option<mysql_async::Row> = conn.query_first(query).await.map_err(|error| match error {
        mysql_async::Error::Server(said) if said.code == 1227 => Error::Refused(format!(
            "{}: the agent's account may not ask for the end of the binary log; GRANT BINLOG MONITOR ON *.* TO it",
            server.label()
        )),
        error => server.failed(error),
    })?;
    Ok(found.and_then(|row| Some((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))))
}

/// The base of the files' names, and where the log ends now.
pub(super) async fn end_of_log(server: &Server, conn: &mut Conn) -> Result<(String, Position), Error> {
    let found = log(server, conn).await?;
    let read = found.and_then(|(file, offset, ..)| Some((file.rsplit_once('.')?.0.to_owned(), place(&file, offset)?)));
    read.ok_or_else(|| Error::Refused(format!("{}: it writes no binary log; start it with log_bin=binlog", server.label())))
}

/// A place as a position.
pub(super) fn place(file: &str, offset: u64) -> Option<Position> {
    Some(Position(number(file)? << 32 | offset)).filter(|_| offset <= u64::from(u32::MAX))
}

/// The name of a position's file.
pub(super) fn file(base: &str, position: Position) -> String {
    format!("{base}.{:06}", position.0 >> 32)
}

#[cfg(test)]
mod tests;
