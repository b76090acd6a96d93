//! Whoever waits for a table to change it keeps everybody out who comes later: nobody may wait long behind the agent.

use super::*;

/// Asks for the table while the agent wants it, as long as somebody else uses it: by a statement that what the agent wants
/// to do keeps out.
async fn is_usable_while(bed: &Bed, statement: &str, wants: impl Future<Output = ()> + Send + 'static) {
    let (mut holder, mut other, mut look) = (bed.app(Side::Legacy).await, bed.app(Side::Legacy).await, bed.app(Side::Legacy).await);
    exec(&mut holder, &format!("BEGIN; {statement}")).await;
    // Below the agent's own patience with a row, which would be far too long here.
    exec(&mut other, "SET lock_timeout = '8s'").await;
    let wanting = tokio::spawn(wants);
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass";
    for _ in 0..3 {
        while number(&mut look, waits).await == 0 {
            assert!(std::time::Instant::now() < deadline && !wanting.is_finished(), "the agent does not want the table");
        }
        exec(&mut other, statement).await;
    }
    exec(&mut holder, "COMMIT").await;
    wanting.await.unwrap();
}

/// Until it succeeds: the table may be busy for longer than the agent has patience.
async fn until_done<F: Future<Output = Result<(), Error>>>(attempt: impl Fn() -> F) {
    while attempt().await.is_err() {}
}

const TRIGGERS: &str = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'item'::regclass AND NOT tgisinternal";

#[tokio::test]
async fn the_first_preparation_keeps_nobody_out() {
    let bed = Bed::new("name text", &[]).await;
    let side = bed.opened[0].side("another", Side::Legacy, &bed.plans).await.unwrap();
    let before = number(&mut bed.app(Side::Legacy).await, TRIGGERS).await;
    let write = "INSERT INTO item (id) SELECT coalesce(max(id), 0) + 1 + pg_backend_pid() FROM item";
    is_usable_while(&bed, write, async move { until_done(|| side.prepare()).await }).await;
    assert_eq!(number(&mut bed.app(Side::Legacy).await, TRIGGERS).await, 2 * before);
}

#[tokio::test]
async fn taking_out_keeps_nobody_out() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let engine = bed.opened[0].clone();
    let read = "SELECT count(*) FROM item";
    is_usable_while(&bed, read, async move { until_done(|| engine.remove("test", Side::Legacy, 1)).await }).await;
    assert_eq!(number(&mut app, TRIGGERS).await, 0);
    assert_eq!(text(&mut app, "SELECT to_regnamespace('_ficus')").await, None);
}
