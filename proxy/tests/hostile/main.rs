//! The gateway between raw sockets: what strangers may send, how large, how slowly, how often.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

mod client;
mod corpus;
mod frames;
mod limits;
mod pieces;
#[path = "../gateway/pki.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod pki;
mod raw;

use raw::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_corpus_becomes_what_it_must() {
    let world = World::start().await;
    walk(&world, async |row| world.send(&row.send, row.want.answers.len()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_corpus_becomes_the_same_over_tls() {
    let authority = pki::Authority::new();
    let world = World::over_tls(authority.sign("a", &["a.test"])).await;
    let client = authority.client(&[], None);
    walk(&world, async |row| {
        let stream = pki::shake(&client, world.address, "a.test").await.unwrap();
        client::send_over(stream, &row.send, row.send.len(), row.want.answers.len(), std::time::Duration::from_millis(60)).await
    })
    .await;
}

async fn walk(world: &World, send: impl AsyncFn(&corpus::Row) -> client::Got) {
    let rows = corpus::rows();
    assert!(rows.len() >= 200, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let got = send(row).await;
        let (answers, seen) = (got.statuses(), alike(&world.server.taken()));
        let wanted = alike(&row.want.seen);
        let text = |requests: &[Vec<u8>]| requests.iter().map(|request| request.escape_ascii().to_string()).collect::<Vec<_>>();
        if answers != row.want.answers || seen != wanted {
            wrong.push(format!(
                "{}: answers {answers:?}, wanted {:?}\n  saw    {:?}\n  wanted {:?}",
                row.name,
                row.want.answers,
                text(&seen),
                text(&wanted)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Requests with the names of their headers in lower case: how they are spelled means nothing, and is not kept.
fn alike(requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut requests = requests.to_vec();
    for request in &mut requests {
        let end = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(request.len());
        for line in request[..end].split_mut(|byte| *byte == b'\n').skip(1) {
            let name = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            line[..name].make_ascii_lowercase();
        }
    }
    requests
}
