//! A client's conduct, frame by frame, on a clock of our own.

use std::time::{Duration, Instant};

use super::super::frames::{Frame, Frames};
use super::{CONTINUATIONS, Conduct, ENOUGH, STREAM_WINDOW};
use crate::config::Limits;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Five seconds for a head; for a body too, and one more for each thousand bytes.
fn limits() -> Limits {
    let five = Duration::from_secs(5);
    Limits { head_within: five, body_patience: five, body_rate: 1_000, ..Limits::default() }
}

/// A frame, read from its bytes.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    let mut read = Vec::new();
    Frames::new(false).pass(&[&head, payload].concat(), |frame, _| read.push(frame));
    read.pop().expect("a frame")
}

/// A client that has said its preface, and the clock.
struct Client {
    conduct: Conduct,
    now: Instant,
}

impl Client {
    fn new() -> Client {
        let now = Instant::now();
        let mut conduct = Conduct::new(now);
        conduct.prefaced();
        Client { conduct, now }
    }

    fn sends(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), &'static str> {
        self.conduct.hear(frame(kind, flags, stream, payload), &limits(), self.now)
    }

    /// So often, or until it was too often.
    fn repeats(&mut self, times: u32, kind: u8, stream: u32) -> Result<(), &'static str> {
        (0..times).try_for_each(|_| self.sends(kind, 0, stream, &[]))
    }

    fn is_answered(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.conduct.answer(frame(kind, flags, stream, payload));
    }

    fn waits(&mut self, seconds: f64) -> Result<(), &'static str> {
        self.now += Duration::from_secs_f64(seconds);
        self.conduct.look(&limits(), self.now)
    }

    /// The streams that are given up after so long, while there are so many calls.
    fn loses(&mut self, seconds: f64, calls: usize) -> Vec<u32> {
        self.waits(seconds).expect("a connection that goes on");
        self.conduct.give_up(calls, &limits())
    }
}

#[test]
fn a_head_has_its_time() {
    let now = Instant::now();
    let mut silent = Client { conduct: Conduct::new(now), now };
    assert!(silent.conduct.is_awaited(), "the preface is");
    assert_eq!((silent.waits(5.0), silent.waits(0.1)), (Ok(()), Err("slow_head")));

    let mut client = Client::new();
    assert!(!client.conduct.is_awaited());
    assert_eq!(client.sends(HEADERS, END_STREAM, 1, &[]), Ok(()));
    assert_eq!(client.waits(4.0), Ok(()));
    assert_eq!(client.sends(CONTINUATION, 0, 1, &[]), Ok(()));
    assert_eq!(client.waits(1.1), Err("slow_head"), "a continuation buys no time");
    let mut client = Client::new();
    assert_eq!(client.sends(HEADERS, END_STREAM, 1, &[]), Ok(()));
    assert_eq!(client.sends(CONTINUATION, END_HEADERS, 1, &[]), Ok(()));
    assert_eq!((client.conduct.is_awaited(), client.waits(60.0)), (false, Ok(())), "the head is there");
}

#[test]
fn a_body_has_its_patience_and_what_its_bytes_buy() {
    let mut client = Client::new();
    assert_eq!(client.sends(HEADERS, END_HEADERS, 1, &[]), Ok(()));
    assert_eq!(client.waits(4.0), Ok(()));
    assert_eq!(client.sends(DATA, 0, 1, &[0; 2_000]), Ok(()));
    assert_eq!((client.loses(2.9, 0), client.loses(0.2, 0)), (vec![], vec![1]));
    assert!(!client.conduct.is_awaited(), "it is over");

    // Trailers end it, and so does our answer.
    let mut client = Client::new();
    for stream in [1, 3] {
        assert_eq!(client.sends(HEADERS, END_HEADERS, stream, &[]), Ok(()));
    }
    assert_eq!(client.sends(HEADERS, END_HEADERS | END_STREAM, 1, &[]), Ok(()));
    assert!(client.conduct.is_awaited());
    client.is_answered(HEADERS, END_HEADERS | END_STREAM, 3, &[]);
    assert!(!client.conduct.is_awaited());
    assert_eq!((client.conduct.begun, client.loses(60.0, 0)), (2, vec![]));
}

#[test]
fn a_conversation_is_as_slow_as_the_two_that_talk() {
    let mut client = Client::new();
    for stream in [1, 3] {
        assert_eq!(client.sends(HEADERS, END_HEADERS, stream, &[]), Ok(()));
    }
    client.is_answered(HEADERS, END_HEADERS, 1, &[]);
    assert_eq!(client.loses(6.0, 0), [3], "who is answered goes on");
    assert!(!client.conduct.is_awaited());
    assert_eq!(client.sends(DATA, 0, 1, &[0; 10]), Ok(()));
    assert_eq!(client.loses(600.0, 0), [0; 0]);
}

#[test]
fn calls_may_take_their_time_until_they_are_answered() {
    let mut client = Client::new();
    for stream in [1, 3, 5] {
        assert_eq!(client.sends(HEADERS, END_HEADERS, stream, &[]), Ok(()));
    }
    assert_eq!(client.loses(6.0, 3), [0; 0]);
    assert_eq!(client.loses(60.0, 2), [5], "of more than there are calls, those that came first are taken for them");
    assert!(!client.conduct.hangs(2, &limits()));
    assert!(client.conduct.hangs(1, &limits()), "it could not be told, and too much time has passed");
    assert_eq!(client.loses(0.0, 0), [1, 3]);
}

#[test]
fn a_body_is_not_waited_for_before_it_begins() {
    // GIVEN a connection that was idle for longer than a body may take
    let mut client = Client::new();
    client.now += Duration::from_secs(60);
    // WHEN a request begins
    client.sends(HEADERS, END_HEADERS, 1, &[]).expect("a request");
    // THEN its body has its time
    assert_eq!((client.loses(4.9, 0), client.loses(0.2, 0)), (vec![], vec![1]));
}

#[test]
fn who_may_not_send_keeps_nobody_waiting() {
    // All of the connection's window is used: the upstream is slow, not the client.
    let mut client = Client::new();
    assert_eq!(client.sends(HEADERS, END_HEADERS, 1, &[]), Ok(()));
    for payload in [&[0; 60_000][..], &[0; 5_535]] {
        assert_eq!(client.sends(DATA, 0, 1, payload), Ok(()));
    }
    assert_eq!(client.loses(600.0, 0), [0; 0]);
    client.is_answered(WINDOW_UPDATE, 0, 0, &100_000u32.to_be_bytes());
    // 65 seconds are bought by what came.
    assert_eq!((client.loses(69.0, 0), client.loses(2.0, 0)), (vec![], vec![1]), "now it may");

    // All of the stream's window, in a connection that has more.
    let mut client = Client::new();
    client.is_answered(WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
    assert_eq!(client.sends(HEADERS, END_HEADERS, 1, &[]), Ok(()));
    for _ in 0..STREAM_WINDOW / 32_768 {
        assert_eq!(client.sends(DATA, 0, 1, &[0; 32_768]), Ok(()));
    }
    assert_eq!(client.loses(600.0, 0), [0; 0]);
    client.is_answered(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes());
    assert_eq!((client.loses(266.0, 0), client.loses(2.0, 0)), (vec![], vec![1]), "now it may");
}

#[test]
fn work_for_nothing_is_allowed_in_measure() {
    for (kind, stream, at_once, each_second, word) in [
        (RESET, 1, 200, 20, "resets"),
        (PING, 0, 1_000, 200, "control_frames"),
        (4, 0, 1_000, 200, "control_frames"),
        (DATA, 1, 1_000, 200, "empty_frames"),
    ] {
        let mut client = Client::new();
        client.sends(HEADERS, END_HEADERS, 1, &[]).expect("a request");
        client.sends(DATA, 0, 1, &[0; 60_000]).expect("a minute's worth");
        assert_eq!(client.repeats(at_once, kind, stream), Ok(()), "{word}");
        client.now += Duration::from_secs(1);
        assert_eq!(client.repeats(each_second, kind, stream), Ok(()), "{word}: a second later");
        assert_eq!(client.repeats(1, kind, stream), Err(word));
    }
    // What moves windows is no such work, and neither is a body in small pieces.
    let mut client = Client::new();
    client.sends(HEADERS, END_HEADERS, 1, &[]).expect("a request");
    for _ in 0..5_000 {
        assert_eq!(client.sends(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), Ok(()));
        assert_eq!(client.sends(DATA, 0, 1, &[0]), Ok(()));
    }
}

#[test]
fn a_header_block_has_a_few_pieces() {
    let mut client = Client::new();
    for stream in [1, 3] {
        client.sends(HEADERS, END_STREAM, stream, &[]).expect("a request");
        assert_eq!(client.repeats(CONTINUATIONS, CONTINUATION, stream), Ok(()));
    }
    assert_eq!(client.repeats(1, CONTINUATION, 3), Err("continuations"));
}

#[test]
fn a_connection_on_which_there_was_enough_ends_when_nothing_is_under_way() {
    let mut client = Client::new();
    client.sends(HEADERS, END_HEADERS | END_STREAM, 1, &[]).expect("a request");
    client.conduct.end(client.now);
    assert_eq!(client.waits(60.0), Ok(()), "its answer is under way");
    client.is_answered(DATA, END_STREAM, 1, &[]);
    assert_eq!((client.waits(5.0), client.waits(0.1)), (Ok(()), Err(ENOUGH)));
}

#[test]
fn what_comes_late_of_a_stream_that_has_ended_begins_none() {
    // GIVEN a request whose answer ended before its body did
    let mut client = Client::new();
    client.sends(HEADERS, END_HEADERS, 1, &[]).expect("a request");
    client.is_answered(HEADERS, END_HEADERS | END_STREAM, 1, &[]);
    // WHEN the rest of it comes, with trailers
    client.sends(DATA, 0, 1, &[0; 10]).expect("it was on its way");
    client.sends(HEADERS, END_HEADERS | END_STREAM, 1, &[]).expect("it was on its way");
    // THEN nothing is under way
    assert_eq!((client.conduct.begun, client.conduct.is_awaited()), (1, false));
    client.conduct.end(client.now);
    assert_eq!((client.waits(5.0), client.waits(0.1)), (Ok(()), Err(ENOUGH)), "it is not kept open for ever");
}
