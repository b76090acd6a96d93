//! What strangers may send, and what must become of it. Each row is one connection: a name, its bytes, the statuses that
//! come back, and the requests that the server behind the gateway may see, byte for byte but for the headers that the
//! gateway adds itself, and with `upstream` for the server's own address. Also read by the end-to-end tests, which send it all to real Python servers.

#[path = "corpus/chunks.rs"]
mod chunks;
#[path = "corpus/connections.rs"]
mod connections;
#[path = "corpus/headers.rs"]
mod headers;
#[path = "corpus/hosts.rs"]
mod hosts;
#[path = "corpus/lengths.rs"]
mod lengths;
#[path = "corpus/lines.rs"]
mod lines;
#[path = "corpus/targets.rs"]
mod targets;

/// One connection.
pub struct Row {
    pub name: String,
    pub send: Vec<u8>,
    pub want: Want,
}

/// What must become of it.
pub struct Want {
    /// The statuses of the answers, in order. None: the connection is closed without a word.
    pub answers: Vec<u16>,
    /// The complete requests that arrive behind the gateway, in order.
    pub seen: Vec<Vec<u8>>,
}

/// The whole corpus.
pub fn rows() -> Vec<Row> {
    [lines::rows(), headers::rows(), hosts::rows(), targets::rows(), lengths::rows(), chunks::rows(), connections::rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn row(name: &str, send: impl Into<Vec<u8>>, want: Want) -> Row {
    Row { name: name.to_owned(), send: send.into(), want }
}

/// The gateway answers itself, and nothing arrives.
fn refused(status: u16) -> Want {
    Want { answers: vec![status], seen: Vec::new() }
}

/// One request arrives, as these bytes.
fn forwarded(seen: impl Into<Vec<u8>>) -> Want {
    Want { answers: vec![200], seen: vec![seen.into()] }
}

/// The connection is closed without a word.
fn closed() -> Want {
    Want { answers: Vec::new(), seen: Vec::new() }
}

/// A GET with more header lines, each with its end.
fn get(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /a HTTP/1.1\r\nHost: a.test\r\n", lines.as_ref(), b"\r\n"].concat()
}

/// A POST with more header lines, and what follows them.
fn post(lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST /a HTTP/1.1\r\nHost: a.test\r\n", lines.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// The same POST as it arrives: a write travels on a connection of its own.
fn posted(lines: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST /a HTTP/1.1\r\nHost: a.test\r\n", lines.as_ref(), b"Connection: close\r\n\r\n", body.as_ref()].concat()
}

/// A POST with a chunked body as it arrives: framed anew.
fn chunked(body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}
