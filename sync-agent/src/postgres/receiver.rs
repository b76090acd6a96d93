//! The replication connection, on a thread of its own, and what comes over it, in pieces.
//!
//! The server hands each message to the network by itself. Whoever waits for the next is woken by each, and to wake somebody
//! costs the server more than to decode a small transaction. So while much comes, the thread does not wait: it sleeps for a
//! moment, deaf, and then takes all that has come. That is why it is a thread: nothing else may have to be heard by it.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use tokio::sync::{mpsc, oneshot, watch};

/// A piece has no more events than that, and ends where it has so many bytes.
const EVENTS: usize = 1_024;
const BYTES: usize = 128 << 10;

/// Pieces that nobody has taken yet.
const PIECES: usize = 4;

/// So many events in no more time than that are much: a few thousand small transactions a second are not.
const MUCH: usize = 64;
const WITHIN: Duration = Duration::from_millis(4);

/// How long it is deaf. What comes meanwhile has to find room in the socket.
const DEAF: Duration = Duration::from_millis(1);

/// How long the server may take to hear that nobody listens any more.
const PARTING: Duration = Duration::from_secs(2);

/// Some events that follow each other, or why there are no more.
type Piece = Result<VecDeque<ReplicationEvent>, PgWireError>;

/// What comes over a connection. Ends it when it is dropped.
pub(super) struct Receiver {
    pieces: mpsc::Receiver<Piece>,
    /// The first of them, as far as it has not been taken.
    first: VecDeque<ReplicationEvent>,
    durable: watch::Sender<u64>,
}

impl Receiver {
    /// Connects, and comes back when the server has begun to send.
    pub(super) async fn connect(config: ReplicationConfig) -> Result<Receiver, PgWireError> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let (durable, known) = watch::channel(0);
        let (begin, begun) = oneshot::channel();
        let no_thread = |error: std::io::Error| PgWireError::Task(format!("no thread for it ({error})"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let listen = Listening { pieces: sender, durable: known };
        let thread = thread::Builder::new().name("ficus-log".to_owned());
        thread.spawn(move || runtime.block_on(listen.run(config, begin))).map_err(no_thread)?;
        begun.await.unwrap_or_else(|_| Err(PgWireError::Task("its thread ended".to_owned())))?;
        Ok(Receiver { pieces, first: VecDeque::new(), durable })
    }

    /// The next event, if it has arrived already.
    pub(super) fn arrived(&mut self) -> Option<Result<ReplicationEvent, PgWireError>> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Some(Ok(event));
            }
            match self.pieces.try_recv() {
                Ok(Ok(piece)) => self.first = piece,
                Ok(Err(error)) => return Some(Err(error)),
                Err(mpsc::error::TryRecvError::Empty) => return None,
                Err(mpsc::error::TryRecvError::Disconnected) => return Some(Err(ended())),
            }
        }
    }

    /// The next event. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<ReplicationEvent, PgWireError> {
        loop {
            if let Some(event) = self.first.pop_front() {
                return Ok(event);
            }
            self.first = self.pieces.recv().await.ok_or_else(ended)??;
        }
    }

    /// Everything up to here is durable: the server may forget it.
    pub(super) fn confirm(&self, upto: u64) {
        self.durable.send_replace(upto);
    }
}

fn ended() -> PgWireError {
    PgWireError::Task("the server ended the stream".to_owned())
}

/// The thread's end of it.
struct Listening {
    pieces: mpsc::Sender<Piece>,
    durable: watch::Receiver<u64>,
}

impl Listening {
    async fn run(mut self, config: ReplicationConfig, mut begin: oneshot::Sender<Result<(), PgWireError>>) {
        let begun = async {
            let mut client = ReplicationClient::connect(config).await?;
            client.wait_started().await?;
            Ok(client)
        };
        let begun = tokio::select! {
            begun = begun => begun,
            () = begin.closed() => return,
        };
        let mut client = match begun {
            Ok(client) => client,
            Err(error) => {
                // Whoever wanted to know may be gone.
                let _ = begin.send(Err(error));
                return;
            }
        };
        if begin.send(Ok(())).is_ok() {
            self.listen(&mut client).await;
        }
        // The slot is free for the next one when the server has heard it; else when it finds the connection gone.
        let _ = tokio::time::timeout(PARTING, client.shutdown()).await;
    }

    /// Until the connection ends, or nobody wants to hear of it.
    async fn listen(&mut self, client: &mut ReplicationClient) {
        let mut pace = Pace { since: Instant::now(), events: 0 };
        loop {
            let first = tokio::select! {
                event = client.recv() => event,
                moved = self.durable.changed() => match moved {
                    Ok(()) => {
                        client.update_applied_lsn(Lsn::from_u64(*self.durable.borrow_and_update()));
                        continue;
                    }
                    Err(_) => return,
                },
                () = self.pieces.closed() => return,
            };
            let mut piece = VecDeque::new();
            let end = match first {
                Ok(Some(first)) => {
                    piece.push_back(first);
                    more(client, &mut piece).await
                }
                Ok(None) => End::Ended,
                Err(error) => End::Failed(error),
            };
            let events = piece.len();
            if !piece.is_empty() && self.hand_over(client, Ok(piece)).await.is_none() {
                return;
            }
            match end {
                End::Full => pace.events += events,
                End::Empty if pace.is_much(events) => {
                    thread::sleep(DEAF);
                    pace = Pace { since: Instant::now(), events: 0 };
                }
                End::Empty => {}
                End::Ended => return,
                End::Failed(error) => {
                    self.hand_over(client, Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Waits until there is room; what is durable is told meanwhile. `None`: nobody wants it.
    async fn hand_over(&mut self, client: &ReplicationClient, piece: Piece) -> Option<()> {
        loop {
            tokio::select! {
                room = self.pieces.reserve() => {
                    room.ok()?.send(piece);
                    return Some(());
                }
                moved = self.durable.changed() => {
                    moved.ok()?;
                    client.update_applied_lsn(Lsn::from_u64(*self.durable.borrow_and_update()));
                }
            }
        }
    }
}

/// Where a piece ends.
enum End {
    /// It is long enough.
    Full,
    /// Nothing more has come.
    Empty,
    Ended,
    Failed(PgWireError),
}

/// What else has come.
async fn more(client: &mut ReplicationClient, piece: &mut VecDeque<ReplicationEvent>) -> End {
    let mut bytes = piece.iter().map(size).sum::<usize>();
    let mut asked = false;
    while piece.len() < EVENTS && bytes < BYTES {
        // The connection's own task shares the thread: nothing has come when it has had its turn and there still is nothing.
        match tokio::task::unconstrained(client.recv()).now_or_never() {
            Some(Ok(Some(event))) => {
                bytes += size(&event);
                piece.push_back(event);
                asked = false;
            }
            Some(Ok(None)) => return End::Ended,
            Some(Err(error)) => return End::Failed(error),
            None if asked => return End::Empty,
            None => {
                tokio::task::yield_now().await;
                asked = true;
            }
        }
    }
    End::Full
}

fn size(event: &ReplicationEvent) -> usize {
    match event {
        ReplicationEvent::XLogData { data, .. } => data.len(),
        ReplicationEvent::Message { content, .. } => content.len(),
        _ => 0,
    }
}

/// How much has come of late.
struct Pace {
    since: Instant,
    events: usize,
}

impl Pace {
    /// Whether it is much, with these.
    fn is_much(&mut self, events: usize) -> bool {
        self.events += events;
        let recent = self.since.elapsed() <= WITHIN;
        let much = self.events >= MUCH && recent;
        if !recent {
            *self = Pace { since: Instant::now(), events: 0 };
        }
        much
    }
}
