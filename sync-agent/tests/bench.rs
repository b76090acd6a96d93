//! How fast the initial copy is. `cargo test --release -p ficus-sync-agent --test bench -- --ignored --nocapture`
//! prints one JSON line per bench.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use ficus_rules::Side;
use support::{World, exec, streaming};

const USERS: u32 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, meaningful in release builds only"]
async fn backfill_sqlite() {
    let mut rates = Vec::new();
    for _ in 0..3 {
        let world = World::new().await;
        let mut legacy = world.app(Side::Legacy).await;
        exec(
            &mut legacy,
            &format!(
                "BEGIN;
                 WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {USERS})
                 INSERT INTO accounts_customuser SELECT i, 'pbkdf2_sha256$1000000$' || hex(randomblob(24)), NULL, 0, 'user' || i, 'Ada', 'Ray',
                   'user' || i || '@example.test', 0, 1, '2026-01-02 03:04:05.000006', 1 + i % 3 FROM n;
                 INSERT INTO accounts_staff SELECT id, '2026-01-01', '2026-01-01', '1 High St', id FROM accounts_customuser WHERE user_type = 2;
                 INSERT INTO accounts_student SELECT id, '2026-01-01', '2026-01-01', 'female', '1 High St', 3, 1, id FROM accounts_customuser WHERE user_type = 3;
                 INSERT INTO accounts_usernote SELECT id, 'a note of some length that says little', '2026-01-01', id FROM accounts_customuser;
                 COMMIT"
            ),
        )
        .await;
        let began = Instant::now();
        let mut agent = ficus_sync_agent::Config::new("bench", std::collections::BTreeMap::new());
        agent.batch_rows = 2_000;
        let agent = world.agent_with(agent).await;
        let seen = streaming(&agent).await;
        #[allow(clippy::cast_precision_loss)]
        rates.push(seen.backfill.done as f64 / began.elapsed().as_secs_f64());
        agent.stop().await;
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({"bench": "backfill_sqlite", "metric": "rows_per_s", "value": rates[1].round(), "unit": "rows/s", "bar": 50_000, "ok": rates[1] >= 50_000.0})
    );
}
