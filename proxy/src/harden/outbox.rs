//! What goes to a client in small pieces leaves in one: the head of an answer with its body, or with as much of it as is there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;

/// Bytes that wait for more. A piece that does not fit goes out with what was there before it.
const ROOM: usize = 4096;

/// What was written and has not left. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Outbox(BytesMut);

impl Outbox {
    /// Takes a piece, or sends it on with what waits.
    pub(super) fn write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        self.write_all_of(stream, cx, &[IoSlice::new(piece)])
    }

    /// The same with a piece that is made of several.
    pub(super) fn write_all_of<S>(&mut self, stream: &mut S, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if self.0.len() + length <= ROOM {
            self.0.reserve(length);
            pieces.iter().for_each(|piece| self.0.extend_from_slice(piece));
            return Poll::Ready(Ok(length));
        }
        if let ([piece], true, false) = (pieces, stream.is_write_vectored(), self.0.is_empty()) {
            // Of both, as much as the client takes at once.
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &[IoSlice::new(&self.0), IoSlice::new(piece)]))?;
            let before = written.min(self.0.len());
            self.left(before);
            if written > before {
                return Poll::Ready(Ok(written - before));
            }
        }
        ready!(self.empty(stream, cx))?;
        match pieces {
            [piece] => Pin::new(stream).poll_write(cx, piece),
            _ => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    /// Sends what waits.
    pub(super) fn empty<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while !self.0.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.0))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.left(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits as far as that can be done at once: afterwards nobody is there to do it.
    pub(super) fn hurry<S>(&mut self, stream: &mut S)
    where
        S: AsyncWrite + Unpin,
    {
        let _ = self.empty(stream, &mut Context::from_waker(Waker::noop()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn left(&mut self, written: usize) {
        match written < self.0.len() {
            true => self.0.advance(written),
            false => self.0 = BytesMut::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;
    use tokio::io::AsyncWrite;

    use super::{Outbox, ROOM};

    /// Takes so many bytes at each write in turn; none of them: it is busy.
    struct Slow {
        takes: Vec<usize>,
        turn: usize,
        vectored: bool,
        writes: usize,
        came: Vec<u8>,
    }

    impl Slow {
        fn new(takes: Vec<usize>, vectored: bool) -> Slow {
            Slow { takes, turn: 0, vectored, writes: 0, came: Vec::new() }
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(piece)])
        }

        fn poll_write_vectored(mut self: Pin<&mut Self>, _: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let most = self.takes[self.turn % self.takes.len()];
            self.turn += 1;
            if most == 0 {
                return Poll::Pending;
            }
            let all = pieces.iter().flat_map(|piece| piece.iter().copied()).take(most).collect::<Vec<_>>();
            self.writes += 1;
            self.came.extend(&all);
            Poll::Ready(Ok(all.len()))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn ready<T>(polled: Poll<io::Result<T>>) -> T {
        match polled {
            Poll::Ready(Ok(done)) => done,
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_head_and_its_body_leave_in_one_piece() {
        for body in [1024, 64 * 1024] {
            let (mut outbox, mut client, cx) =
                (Outbox::default(), Slow::new(vec![usize::MAX], true), &mut Context::from_waker(Waker::noop()));
            assert_eq!(ready(outbox.write(&mut client, cx, &[b'h'; 200])), 200);
            assert!(client.came.is_empty() && !outbox.is_empty(), "it waits for more");
            assert_eq!(ready(outbox.write(&mut client, cx, &vec![b'b'; body])), body);
            ready(outbox.empty(&mut client, cx));
            assert_eq!((client.writes, client.came.len()), (1, 200 + body));
            assert!(outbox.is_empty() && outbox.0.capacity() == 0, "it holds memory for nothing");
        }
    }

    #[test]
    fn what_waits_is_hurried_as_far_as_it_goes() {
        let (mut outbox, mut client, cx) = (Outbox::default(), Slow::new(vec![5, 0], true), &mut Context::from_waker(Waker::noop()));
        assert_eq!(ready(outbox.write(&mut client, cx, b"0123456789")), 10);
        outbox.hurry(&mut client);
        assert_eq!((client.came.as_slice(), &outbox.0[..]), (&b"01234"[..], &b"56789"[..]));
    }

    proptest! {
        /// Whatever a client takes at a time, it gets every byte once and in order.
        #[test]
        fn every_byte_leaves_once_and_in_order(
            lengths in proptest::collection::vec((0_usize..3 * ROOM, 1_usize..4, any::<bool>()), 1..12),
            takes in proptest::collection::vec(prop_oneof![Just(0), 1_usize..50, 1000_usize..20_000], 1..8),
            vectored in any::<bool>(),
        ) {
            prop_assume!(takes.iter().any(|take| *take > 0));
            let (mut outbox, mut client, cx) = (Outbox::default(), Slow::new(takes, vectored), &mut Context::from_waker(Waker::noop()));
            let mut expected: Vec<u8> = Vec::new();
            for (length, parts, flushed) in lengths {
                let piece = (0..length).map(|at| (expected.len() + at) as u8).collect::<Vec<_>>();
                expected.extend(&piece);
                let mut rest = &piece[..];
                while !rest.is_empty() {
                    let slices = rest.chunks(rest.len().div_ceil(parts)).map(IoSlice::new).collect::<Vec<_>>();
                    if let Poll::Ready(written) = outbox.write_all_of(&mut client, cx, &slices) {
                        rest = &rest[written.expect("a write")..];
                    }
                }
                while flushed && outbox.empty(&mut client, cx).is_pending() {}
            }
            while outbox.empty(&mut client, cx).is_pending() {}
            prop_assert_eq!(client.came, expected);
        }
    }
}
