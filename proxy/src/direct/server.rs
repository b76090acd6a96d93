//! The server's side of a plain read: one head is sent, one answer read. Answers that say their length are read here, without a
//! second copy of anything; what is framed in another way, or said in another tongue than HTTP/1.1's plainest, is pingora's to read
//! ([`Other`](Heard::Other)).

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode, request};
use memchr::memmem;
use pingora::http::ResponseHeader;
use pingora::protocols::{Shutdown, Stream};
use pingora::{Error, ErrorType, Result, RetryType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until};

use super::plain::{Plain, says_close};
use super::replay::Replay;
use super::spelled::Spelled;

/// Room for a head, with a small body.
const ROOM: usize = 4096;
/// Room for more of a large body.
const LARGE: usize = 64 << 10;
/// A head that is longer is looked at by pingora, and so is one of more lines.
const HEAD: usize = 64 << 10;
const LINES: usize = 64;

/// A connection to a server, for one request.
pub(super) struct Server<'a> {
    stream: Stream,
    answer: Answer,
    persists: bool,
    /// How long it may be silent.
    pub(super) patience: Option<Duration>,
    alarm: &'a mut Alarm,
}

/// What has come of an answer, and was not handed on. Pure: no sockets.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) came: BytesMut,
    /// Bytes of the body that are to be handed on.
    pub(super) left: u64,
}

/// What a server says.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer that says how long it is. `persists`: its connection goes on.
    Answer { head: Box<ResponseHeader>, spelled: Spelled, ends: bool, persists: bool },
    /// Something else: it begins with these bytes.
    Other(Bytes),
}

impl Server<'_> {
    pub(super) fn new(stream: Stream, patience: Option<Duration>, alarm: &mut Alarm) -> Server<'_> {
        Server { stream, answer: Answer::default(), persists: false, patience, alarm }
    }

    /// Sends a head.
    pub(super) async fn ask(&mut self, head: &request::Parts) -> Result<()> {
        let text = wire(head);
        self.persists = !head.headers.get(header::CONNECTION).is_some_and(|said| says_close(said.as_bytes()));
        let (stream, alarm, patience) = (&mut self.stream, &mut *self.alarm, self.patience);
        let mut write = pin!(async {
            stream.write_all(&text).await?;
            stream.flush().await
        });
        alarm.begin();
        let written = poll_fn(|cx| match write.as_mut().poll(cx) {
            Poll::Pending if alarm.is_over(cx, patience) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            written => written,
        });
        written.await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Error::because(ErrorType::WriteTimedout, "while writing request headers (timeout)", error),
            _ => Error::because(ErrorType::WriteError, "while writing request headers", error),
        })
    }

    /// Waits for its answer. An error is a client's that leaves meanwhile.
    pub(super) async fn hear(&mut self, method: &Method, client: &mut Plain) -> Result<Heard> {
        loop {
            self.answer.came.reserve(ROOM);
            if self.more(client).await? == 0 {
                let mut error = Error::explain(ErrorType::ConnectionClosed, "while reading response headers").into_up();
                error.retry = RetryType::ReusedOnly;
                return Err(error);
            }
            if let Some(heard) = self.answer.head(method) {
                self.persists &= matches!(heard, Heard::Answer { persists: true, .. });
                return Ok(heard);
            }
        }
    }

    /// The next piece of the body, and whether it is the last one.
    pub(super) async fn piece(&mut self, client: &mut Plain) -> Result<(Bytes, bool)> {
        if self.answer.came.is_empty() {
            let left = self.answer.left;
            self.answer.came.reserve(usize::try_from(left).unwrap_or(LARGE).clamp(ROOM, LARGE));
            if self.more(client).await? == 0 {
                return Err(Error::explain(ErrorType::ConnectionClosed, format!("{left} bytes of the body were to come")).into_up());
            }
        }
        Ok(self.answer.piece())
    }

    /// Reads more, while its client stays.
    async fn more(&mut self, client: &mut Plain) -> Result<usize> {
        let (stream, came, alarm, patience) = (&mut self.stream, &mut self.answer.came, &mut *self.alarm, self.patience);
        let mut read = pin!(stream.read_buf(came));
        alarm.begin();
        poll_fn(|cx| {
            if let Poll::Ready(read) = read.as_mut().poll(cx) {
                return Poll::Ready(read.map_err(|error| {
                    let by_system = error.raw_os_error().is_some();
                    let mut error = Error::because(ErrorType::ReadError, "while reading an answer", error).into_up();
                    if by_system {
                        error.retry = RetryType::ReusedOnly;
                    }
                    error
                }));
            }
            if alarm.is_over(cx, patience) {
                return Poll::Ready(Err(Error::explain(ErrorType::ReadTimedout, "while reading an answer").into_up()));
            }
            client.poll_left(cx).map(Err)
        })
        .await
    }

    /// Has pingora read what was [`Other`](Heard::Other).
    pub(super) fn replay(self, before: Bytes) -> Replay {
        Replay::new(self.stream, before)
    }

    /// The connection, if another request may go by it.
    pub(super) async fn reuse(mut self) -> Option<Stream> {
        if self.persists && self.answer.left == 0 && self.answer.came.is_empty() {
            return Some(self.stream);
        }
        Shutdown::shutdown(&mut *self.stream).await;
        None
    }
}

impl Answer {
    /// Its head, once all of that has come, or as soon as it is clear that it is another's to read. Called when more has come.
    pub(super) fn head(&mut self, method: &Method) -> Option<Heard> {
        if let Some(end) = memmem::find(&self.came, b"\n\r\n") {
            let raw = self.came.split_to(end + 3).freeze();
            return Some(match parsed(&raw, method) {
                Some(Parsed { head, spelled, length, persists }) => {
                    self.left = length;
                    Heard::Answer { head, spelled, ends: length == 0, persists }
                }
                None => Heard::Other([&raw[..], &self.came[..]].concat().into()),
            });
        }
        let other = self.came.len() > HEAD || memmem::find(&self.came, b"\n\n").is_some();
        other.then(|| Heard::Other(self.came.split().freeze()))
    }

    /// What has come of its body, and whether that was the rest of it.
    pub(super) fn piece(&mut self) -> (Bytes, bool) {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.came.len());
        self.left -= length as u64;
        (self.came.split_to(length).freeze(), self.left == 0)
    }
}

/// A head as it is sent. (No target and no value has a byte that would end its line: their types have seen to it.)
fn wire(head: &request::Parts) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &head.headers {
        // The one name that some look for in capitals.
        let name = if *name == header::HOST { "Host" } else { name.as_str() };
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// A head that could be read.
struct Parsed {
    head: Box<ResponseHeader>,
    spelled: Spelled,
    /// Of the body.
    length: u64,
    persists: bool,
}

/// The plainest of answers: final, by HTTP/1.1, and of a length that is said once or goes without saying.
fn parsed(raw: &Bytes, method: &Method) -> Option<Parsed> {
    // An empty line before it would be skipped, and is one that ends a head when it comes alone.
    if !raw.starts_with(b"HTTP/1.1 ") {
        return None;
    }
    let mut lines = [const { MaybeUninit::uninit() }; LINES];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, raw, &mut lines);
    let status = answer.code.filter(|status| *status >= 200)?;
    if !parsed.is_ok_and(|parsed| parsed == httparse::Status::Complete(raw.len())) {
        return None;
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).ok()?;
    parts.headers.reserve(answer.headers.len() + 4);
    let (mut length, mut persists) = (None, true);
    for line in answer.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = if line.value.is_empty() { Bytes::new() } else { raw.slice_ref(line.value) };
        match name {
            header::TRANSFER_ENCODING => return None,
            header::CONTENT_LENGTH => {
                let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
                if !digits || length.is_some() {
                    return None;
                }
                length = Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
            }
            header::CONNECTION => persists &= !says_close(&value),
            _ => {}
        }
        parts.headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    let bodiless = *method == Method::HEAD || matches!(status, 204 | 304);
    let length = if bodiless { 0 } else { length? };
    let mut head = Box::new(ResponseHeader::from(parts));
    head.set_reason_phrase(answer.reason).ok()?;
    let begin = raw.as_ptr() as usize;
    let spelled = Spelled::of(raw, answer.headers.iter().map(|line| (line.name.as_ptr() as usize - begin, line.name.len())));
    Some(Parsed { head, spelled, length, persists })
}

/// Wakes whoever waits for a server when that was silent for too long. One timer for all that is asked for on a client's
/// connection: it is left alone when something comes, and armed anew only when it has gone off.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When what is waited for now is too late, once that was reckoned.
    until: Option<Instant>,
}

impl Alarm {
    /// Something is waited for from here on.
    fn begin(&mut self) {
        self.until = None;
    }

    /// Nothing has come: whether that was so for too long.
    fn is_over(&mut self, cx: &mut Context<'_>, patience: Option<Duration>) -> bool {
        let Some(patience) = patience else { return false };
        let until = *self.until.get_or_insert_with(|| Instant::now() + patience);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= until {
                return true;
            }
            timer.as_mut().reset(until);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;

    use super::parsed;

    /// The length of the body and whether its connection goes on, if it is read here.
    fn read(method: &Method, head: &'static str) -> Option<(u64, bool)> {
        parsed(&Bytes::from_static(head.as_bytes()), method).map(|parsed| (parsed.length, parsed.persists))
    }

    #[test]
    fn what_says_its_length_is_read_here_and_nothing_else() {
        let get = |head| read(&Method::GET, head);
        assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Some((12, true)));
        assert_eq!(get("HTTP/1.1 404 \r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n"), Some((0, false)));
        assert_eq!(get("HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n"), Some((0, true)));
        assert_eq!(get("HTTP/1.1 204 No Content\r\n\r\n"), Some((0, true)));
        assert_eq!(read(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Some((0, true)));
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456789\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\n",
            "HTTP/2 200\r\nContent-Length: 1\r\n\r\n",
            "\n\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(get(other), None, "{other:?}");
        }
    }
}
