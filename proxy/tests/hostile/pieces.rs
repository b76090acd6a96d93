//! The same bytes in other pieces, and other bytes: what the gateway counted is what the server saw.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::corpus;
use super::raw::{World, counted};

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_one_by_one_mean_the_same() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for row in corpus::rows().iter().filter(|row| row.send.len() <= 400) {
        let got = world.send_in(&row.send, 1, row.want.answers.len(), Duration::from_millis(30)).await;
        let (answers, seen) = (got.statuses(), world.server.taken().len());
        if answers != row.want.answers || seen != row.want.seen.len() {
            wrong.push(format!("{}: {answers:?} and {seen}, wanted {:?} and {}", row.name, row.want.answers, row.want.seen.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What mutations put in: all that means something to some reader.
const WORDS: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b";",
    b"0\r\n\r\n",
    b"3\r\n",
    b"+",
    b"0x",
    b"\xff",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n",
];

#[derive(Debug, Clone)]
enum Mutation {
    Insert(usize),
    Delete(usize),
    Repeat(usize),
    Flip(u8),
}

fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, Mutation)>> {
    let mutation = prop_oneof![
        4 => (0..WORDS.len()).prop_map(Mutation::Insert),
        1 => (1..12_usize).prop_map(Mutation::Delete),
        1 => (1..40_usize).prop_map(Mutation::Repeat),
        1 => any::<u8>().prop_map(Mutation::Flip),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), mutation), 1..5)
}

fn mutated(mut bytes: Vec<u8>, mutations: &[(prop::sample::Index, Mutation)]) -> Vec<u8> {
    for (at, mutation) in mutations {
        let at = at.index(bytes.len() + 1);
        let end = |length: &usize| (at + length).min(bytes.len());
        match mutation {
            Mutation::Insert(word) => drop(bytes.splice(at..at, WORDS[*word].iter().copied())),
            Mutation::Delete(length) => drop(bytes.drain(at..end(length))),
            Mutation::Repeat(length) => {
                let again = bytes[at..end(length)].to_vec();
                bytes.splice(at..at, again);
            }
            Mutation::Flip(byte) => {
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
        }
    }
    bytes
}

#[test]
fn no_mutation_makes_the_server_see_more_than_the_gateway_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let valid: Vec<Vec<u8>> = corpus::rows()
        .into_iter()
        .filter(|row| row.send.len() <= 2_000 && !row.want.seen.is_empty() && row.want.answers.iter().all(|status| *status == 200))
        .map(|row| row.send)
        .collect();
    assert!(valid.len() > 50);
    let strategy = (prop::sample::select(valid), mutations(), 1..200_usize);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    // The usual run is short; `make fuzz` says how long another one is.
    let seconds = std::env::var("FICUS_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let inputs = std::cell::Cell::new(0_u64);
    let mut run = || {
        runner.run(&strategy, |(request, mutations, piece)| {
            inputs.set(inputs.get() + 1);
            let bytes = mutated(request, &mutations);
            let before = counted();
            let heads = runtime.block_on(async {
                world.send_in(&bytes, piece, 0, Duration::from_millis(12)).await;
                let (mut heads, start) = (world.server.heads(), Instant::now());
                while counted() - before < heads.len() as u64 && start.elapsed() < Duration::from_secs(3) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    heads.extend(world.server.heads());
                }
                heads
            });
            let shown = bytes.escape_ascii().to_string();
            prop_assert!(
                heads.len() as u64 <= counted() - before,
                "{} requests arrived, {} were counted: {shown}",
                heads.len(),
                counted() - before
            );
            for head in heads {
                let ours = head.matches("\r\nx-forwarded-for: 127.0.0.1\r\n").count();
                prop_assert_eq!(ours, 1, "not every request went through the gateway: {}", &shown);
            }
            Ok(())
        })
    };
    let mut ran = run();
    while ran.is_ok() && Instant::now() < end {
        ran = run();
        world.server.taken();
    }
    println!("{} mutated requests", inputs.get());
    world.server.taken();
    ran.unwrap();
}
