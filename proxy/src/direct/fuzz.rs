//! Answers on anything at all: the reader never panics, takes no byte beyond an answer, and takes the same whatever the pieces that it
//! arrives in. What it reads by itself, a plainer reader reads as well.

use http::Method;

use super::server::{Answer, Heard};
use crate::mutator::fuzz;

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// Its status, the names and values of its headers, its body so far, whether that is all of it, and whether another request may
    /// come by its connection; what came after it.
    Here { status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>, whole: bool, persists: bool, rest: Vec<u8> },
    /// All that came, for pingora to read.
    Other(Vec<u8>),
    /// Its head is not complete.
    Waits,
}

/// What is read of an input that arrives in pieces.
fn read(input: &[u8], piece: usize, method: &Method) -> Read {
    let (mut answer, mut pieces) = (Answer::default(), input.chunks(piece));
    let (head, ends, persists) = loop {
        let Some(more) = pieces.next() else { return Read::Waits };
        answer.came.extend_from_slice(more);
        match answer.head(method) {
            Some(Heard::Answer { head, ends, persists, .. }) => break (head, ends, persists),
            Some(Heard::Other(before)) => return Read::Other([&before[..], &pieces.collect::<Vec<_>>().concat()].concat()),
            None => {}
        }
    };
    let (mut body, mut whole) = (Vec::new(), ends);
    while !whole {
        if answer.came.is_empty() {
            let Some(more) = pieces.next() else { break };
            answer.came.extend_from_slice(more);
        }
        let (more, last) = answer.piece();
        assert!(!more.is_empty(), "a piece of nothing");
        body.extend_from_slice(&more);
        whole = last;
    }
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let rest = [&answer.came[..], &pieces.collect::<Vec<_>>().concat()].concat();
    Read::Here { status: head.status.as_u16(), headers, body, whole, persists, rest }
}

/// Where the head of an answer ends, and how long its body is, by the first line that says so.
fn plainly(input: &[u8], method: &Method) -> (usize, u64) {
    let end = input.windows(3).position(|three| three == b"\n\r\n").expect("the end of a head") + 3;
    let text = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
    let said = text.lines().find_map(|line| line.strip_prefix("content-length:")).map(|length| length.trim().parse::<u64>());
    let bodiless = *method == Method::HEAD || matches!(text.get(9..12), Some("204" | "304"));
    (end, if bodiless { 0 } else { said.expect("a length").expect("a number") })
}

#[test]
fn answers_end_where_they_end_however_they_are_cut() {
    let corpus: [&[u8]; 8] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nConnection: x, close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nServer:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
    ];
    let dictionary: [&[u8]; 18] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"Content-Length: ",
        b"content-length:5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"18446744073709551615",
        b"999999999999999999",
        b"+5",
        b"HTTP/1.1 ",
        b"101",
    ];
    for method in [Method::GET, Method::HEAD] {
        fuzz("answer", &corpus, &dictionary, |input| {
            let whole = read(input, input.len().max(1), &method);
            for piece in [1, 3, 17] {
                assert_eq!(read(input, piece, &method), whole, "in pieces of {piece}");
            }
            match whole {
                Read::Waits => None,
                Read::Other(before) => {
                    assert_eq!(before, input, "pingora reads all of it");
                    Some(0)
                }
                Read::Here { status, body, whole, rest, .. } => {
                    let (end, length) = plainly(input, &method);
                    let has = usize::try_from(length).map_or(input.len(), |length| input.len().min(end + length));
                    assert_eq!((&body[..], &rest[..], whole), (&input[end..has], &input[has..], body.len() as u64 == length));
                    Some(status)
                }
            }
        });
    }
}
