//! A log that need not be read, because the fence is closed.

use super::super::Endpoint;
use super::super::rest::MOVE;
use super::*;
use crate::port::{Database, Sink, Source};

/// The copy's side, with its turn taken and its fence closed, read up to where reading rests.
struct Resting {
    bed: Bed,
    side: Endpoint,
    app: PgConnection,
    position: Position,
}

impl Resting {
    async fn new() -> Resting {
        Resting::on(Server::shared()).await
    }

    async fn on(server: &'static Server) -> Resting {
        let bed = Bed::on(server, "name text", &[]).await;
        let side = session(&bed).await;
        let app = bed.app(Side::Modern).await;
        let position = side.end_position().await.unwrap();
        side.fence(true).await.unwrap();
        let mut resting = Resting { bed, side, app, position };
        assert_eq!(resting.rest().await, [], "nobody wrote");
        resting
    }

    /// What was read is durable; then another session begins, which the target remembers nothing new for.
    async fn session(&mut self) {
        self.side.confirm(self.position).await.unwrap();
        self.side = session(&self.bed).await;
    }

    /// Whether the first look finds that nothing has to be read.
    async fn rests_at_once(&self, after: Position) -> bool {
        let batch = self.side.read(after, 100, &[]).await.unwrap();
        self.side.feed.lock().await.rest.since.is_some() && batch.upto == batch.end
    }

    /// Reads on until reading rests; the keys that came.
    async fn rest(&mut self) -> Vec<Value> {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut keys = Vec::new();
        loop {
            let batch = self.side.read(self.position, 100, &[]).await.unwrap();
            keys.extend(batch.touched.into_iter().map(|touched| touched.key));
            self.position = batch.upto;
            if self.side.feed.lock().await.rest.since.is_some() {
                assert_eq!(batch.upto, batch.end);
                return keys;
            }
            assert!(std::time::Instant::now() < deadline, "reading does not rest");
        }
    }

    async fn write(&self, key: i64) {
        let upserts = vec![Row { key: Value::Int(key), values: vec![Value::Text("applied".into())] }];
        let done = self.side.apply(&[Changes { upserts, ..Changes::default() }], Position(1), Effort::Plain, &[]).await;
        assert!(matches!(done, Ok(Applied::Done { .. })));
    }

    async fn slot(&mut self, what: &str) -> String {
        let query = format!("SELECT {what}::text FROM pg_replication_slots WHERE database = current_database()");
        text(&mut self.app, &query).await.unwrap()
    }
}

async fn session(bed: &Bed) -> Endpoint {
    let side = Endpoint::new(bed.opened[1].clone(), "test", Side::Modern, &bed.plans).await.unwrap();
    side.prepare().await.unwrap();
    side.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    side
}

const STRANGE: &str = "INSERT INTO \"the new\".\"Item\" VALUES (2, 'by somebody')";

#[tokio::test]
async fn the_next_session_need_not_read_it_either() {
    let mut side = Resting::new().await;
    let start = side.position;
    side.session().await;
    side.write(1).await;
    assert!(side.rests_at_once(start).await);
    // Nor the one after it.
    side.session().await;
    assert!(side.rests_at_once(start).await);
    // But where a turn lies between, whose agent may not have known of the note.
    side.side.confirm(side.position).await.unwrap();
    session(&side.bed).await;
    let fence = text(&mut side.app, "SELECT relname::text FROM pg_class WHERE relkind = 'S' AND relname LIKE 'fence%'").await.unwrap();
    exec(&mut side.app, &format!("SELECT setval('_ficus.{fence}', 1)")).await;
    exec(&mut side.app, STRANGE).await;
    exec(&mut side.app, &format!("SELECT setval('_ficus.{fence}', 3)")).await;
    side.side = session(&side.bed).await;
    side.position = start;
    assert_eq!(side.rest().await, [Value::Int(2)]);
}

#[tokio::test]
async fn the_next_session_reads_what_was_written_since_the_fence_was_opened() {
    let mut side = Resting::new().await;
    let start = side.position;
    side.side.confirm(start).await.unwrap();
    side.side.fence(false).await.unwrap();
    exec(&mut side.app, STRANGE).await;
    side.side.fence(true).await.unwrap();
    side.side = session(&side.bed).await;
    assert!(!side.rests_at_once(start).await);
    side.side = session(&side.bed).await;
    assert_eq!(side.rest().await, [Value::Int(2)]);
}

#[tokio::test]
async fn a_note_says_nothing_of_what_comes_after_the_first_look() {
    let mut side = Resting::new().await;
    side.session().await;
    assert!(side.rests_at_once(side.position).await);
    // Somebody opens the fence by hand, and closes it again.
    let fence = text(&mut side.app, "SELECT relname::text FROM pg_class WHERE relkind = 'S' AND relname LIKE 'fence%'").await.unwrap();
    exec(&mut side.app, &format!("SELECT setval('_ficus.{fence}', 1)")).await;
    assert!(!side.rests_at_once(side.position).await);
    exec(&mut side.app, STRANGE).await;
    exec(&mut side.app, &format!("SELECT setval('_ficus.{fence}', 3)")).await;
    assert_eq!(side.rest().await, [Value::Int(2)]);
}

#[tokio::test]
async fn a_fenced_log_is_not_read_and_goes_on_where_it_was_opened() {
    let mut side = Resting::new().await;
    // GIVEN what the agent applies behind the fence
    let before = side.position;
    side.write(1).await;
    assert_eq!(side.rest().await, []);
    assert!(side.position > before, "what is applied moves the log");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while side.slot("active").await == "true" {
        assert!(std::time::Instant::now() < deadline, "the connection stays");
    }
    // WHEN it is opened, and somebody writes
    side.side.fence(false).await.unwrap();
    exec(&mut side.app, STRANGE).await;
    side.write(3).await;
    side.side.fence(true).await.unwrap();
    // THEN that is found, though it is closed again by now; and what was applied is not
    assert_eq!(side.rest().await, [Value::Int(2)]);
}

#[tokio::test]
async fn what_the_agent_asks_for_behind_a_fence_is_read() {
    let mut side = Resting::new().await;
    side.side.touch(&[Touched { pair: 0, key: Value::Int(7) }]).await.unwrap();
    assert_eq!(side.rest().await, [Value::Int(7)]);
}

#[tokio::test]
async fn what_was_read_before_the_rest_may_be_asked_for_again() {
    let mut side = Resting::new().await;
    side.side.fence(false).await.unwrap();
    let start = side.position;
    exec(&mut side.app, STRANGE).await;
    side.side.fence(true).await.unwrap();
    assert_eq!(side.rest().await, [Value::Int(2)]);
    side.position = start;
    assert_eq!(side.rest().await, [Value::Int(2)]);
}

#[tokio::test]
async fn the_slot_of_a_log_that_is_not_read_is_moved_now_and_then() {
    let mut side = Resting::new().await;
    side.write(1).await;
    side.rest().await;
    let before = side.slot("confirmed_flush_lsn").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while side.slot("active").await == "true" {
        assert!(std::time::Instant::now() < deadline, "the connection stays");
    }
    side.side.confirm(side.position).await.unwrap();
    assert_eq!(side.slot("confirmed_flush_lsn").await, before, "not each time");
    side.side.feed.lock().await.rest.moved = std::time::Instant::now().checked_sub(MOVE);
    side.side.confirm(side.position).await.unwrap();
    assert_ne!(side.slot("confirmed_flush_lsn").await, before);
    // An agent whose turn is over moves nothing.
    side.write(2).await;
    side.rest().await;
    let later = side.bed.opened[1].side("test", Side::Modern, &side.bed.plans).await.unwrap();
    later.claim(&side.bed.legacy.id().await.unwrap(), None).await.unwrap();
    side.side.feed.lock().await.rest.moved = None;
    assert!(matches!(side.side.confirm(side.position).await, Err(Error::Superseded)));
}

/// Longer than a lock is waited for.
const LONG: Duration = Duration::from_secs(11);

#[tokio::test]
async fn a_large_transaction_that_is_being_written_stops_nothing() {
    // Whoever makes a slot waits for it: other tests have another server.
    static SERVER: std::sync::OnceLock<Server> = std::sync::OnceLock::new();
    let side = Resting::on(SERVER.get_or_init(|| Server::start(&["fsync=off"]))).await;
    let mut parts = side.side.in_parts().unwrap();
    let upserts = vec![Row { key: Value::Int(1), values: vec![Value::Text("a part".into())] }];
    assert!(parts.write(&[Changes { upserts, ..Changes::default() }], &[]).await.unwrap());
    // What can be done later is left for later.
    side.side.feed.lock().await.rest.moved = None;
    side.side.confirm(side.position).await.unwrap();
    assert!(side.side.feed.lock().await.rest.moved.is_none(), "the slot stays where it is");
    // What has to be done waits, however long that takes.
    let rows = [Touched { pair: 0, key: Value::Int(7) }];
    let end = async {
        tokio::time::sleep(LONG).await;
        parts.commit(side.position).await
    };
    let (closed, touched, ended) = tokio::join!(side.side.close_gaps(&[0]), side.side.touch(&rows), end);
    closed.unwrap();
    touched.unwrap();
    assert_eq!(ended.unwrap(), Some(0));
    assert!(side.side.gaps().await.unwrap().is_empty());
}
