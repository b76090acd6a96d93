//! The gateway between raw sockets: what strangers may send, how large, how slowly, how often.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod client;
mod corpus;
mod limits;
mod pieces;
mod raw;

use raw::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_corpus_becomes_what_it_must() {
    let world = World::start().await;
    let rows = corpus::rows();
    assert!(rows.len() >= 200, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let got = world.send(&row.send, row.want.answers.len()).await;
        let (answers, seen) = (got.statuses(), world.server.taken());
        let text = |requests: &[Vec<u8>]| requests.iter().map(|request| request.escape_ascii().to_string()).collect::<Vec<_>>();
        if answers != row.want.answers || seen != row.want.seen {
            wrong.push(format!(
                "{}: answers {answers:?}, wanted {:?}\n  saw    {:?}\n  wanted {:?}",
                row.name,
                row.want.answers,
                text(&seen),
                text(&row.want.seen)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
