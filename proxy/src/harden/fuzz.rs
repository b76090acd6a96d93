//! The guards' readers on anything at all: they never panic, and see the same whatever the pieces that it arrives in.

use super::fault::Fault;
use super::frames::{Frames, PREFACE};
use super::wire::Wire;
use crate::config::Limits;
use crate::mutator::fuzz;

/// How many bytes are cleared of an input that arrives in pieces, and what is wrong with the next ones.
fn cleared(input: &[u8], piece: usize, limits: &Limits) -> (usize, Option<Fault>) {
    let (mut wire, mut done, mut have) = (Wire::new(), 0, 0);
    while have < input.len() {
        have = (have + piece).min(input.len());
        while done < have {
            match wire.clear(&input[done..have], limits) {
                Ok(0) => break,
                Ok(more) => {
                    assert!(more <= have - done, "more is cleared than there is");
                    done += more;
                }
                Err(fault) => return (done, Some(fault)),
            }
        }
    }
    (done, None)
}

#[test]
fn messages_end_where_they_end_however_they_are_cut() {
    let corpus: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n\x81\x05hello",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    ];
    let dictionary: [&[u8]; 18] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b"Content-Length: ",
        b"content-length:",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"18446744073709551616",
        b"0x5",
        b"+5",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"Connection: close\r\n",
        b"Upgrade: websocket\r\n",
        b"GET / HTTP/1.1\r\n",
    ];
    let limits = Limits::default();
    fuzz("guard", &corpus, &dictionary, |input| {
        let (whole, fault) = cleared(input, input.len().max(1), &limits);
        for piece in [1, 3, 17] {
            let (so, other) = cleared(input, piece, &limits);
            assert_eq!(fault, other, "in pieces of {piece}");
            // Where there is a fault, what came in one piece with it does not pass.
            assert!(so == whole || (fault.is_some() && so >= whole), "{so} and {whole} in pieces of {piece}");
        }
        fault.map(|fault| format!("{fault:?}"))
    });
}

#[test]
fn frames_are_told_whatever_they_say() {
    let mut connection = PREFACE.to_vec();
    connection.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    connection.extend([0, 0, 3, 1, 5, 0, 0, 0, 1, b'a', b'b', b'c']);
    connection.extend([0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 1, 0, 0]);
    let dictionary: [&[u8]; 4] = [&[0, 0, 4, 8, 0, 0, 0, 0, 0], &[0xff, 0xff, 0xff, 9], &[0, 0, 5, 8, 0, 0, 0, 0, 1], &[0, 0, 8, 6, 0]];
    fuzz("frames", &[&connection, &PREFACE[..]], &dictionary, |input| {
        let told = |piece: usize| {
            let (mut frames, mut told) = (Frames::new(true), Vec::new());
            for bytes in input.chunks(piece) {
                frames.pass(bytes, |frame, _| told.push((frame.kind, frame.stream, frame.length, frame.adds, frame.ends_headers())));
            }
            (told, frames.is_between(), frames.has_begun())
        };
        let whole = told(input.len().max(1));
        assert!(whole == told(1) && whole == told(5), "other frames in other pieces");
        whole.0.len().min(8)
    });
}
