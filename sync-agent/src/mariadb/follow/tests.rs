//! Waiting for what is on its way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::port::Position;

const PATIENCE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_transaction_may_take_long_as_long_as_it_comes() {
    let shared = Arc::new(Shared::default());
    let task = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move {
            for _ in 0..20 {
                tokio::time::sleep(PATIENCE / 8).await;
                shared.buffer().alive = Some(Instant::now());
            }
            shared.buffer().received = Position(5);
            shared.arrived.notify_one();
        }
    });
    assert!(shared.until(|buffer| buffer.received >= Position(5), PATIENCE).await, "events came all the time");
    task.await.expect("ends");
    let begun = Instant::now();
    assert!(!shared.until(|buffer| buffer.received >= Position(6), PATIENCE).await, "nothing comes any more");
    assert!(begun.elapsed() >= PATIENCE);
}
