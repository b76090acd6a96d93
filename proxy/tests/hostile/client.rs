//! A client that speaks bytes. Also used by the end-to-end tests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a client got.
#[derive(Default)]
pub struct Got {
    pub bytes: Vec<u8>,
    pub closed: bool,
}

impl Got {
    /// The statuses of all final answers.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let starts = text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
        starts.filter(|status| *status >= 200).collect()
    }
}

/// Sends bytes in pieces of a size, and reads whatever comes back, until the connection is closed or, after the answers
/// that are expected, nothing has come for a while.
pub async fn send(address: SocketAddr, bytes: &[u8], piece: usize, expected: usize, quiet: Duration) -> Got {
    let socket = TcpStream::connect(address).await.expect("a connection");
    socket.set_nodelay(true).expect("a socket");
    send_over(socket, bytes, piece, expected, quiet).await
}

/// The same, over a connection.
pub async fn send_over(socket: impl AsyncRead + AsyncWrite, bytes: &[u8], piece: usize, expected: usize, quiet: Duration) -> Got {
    let (mut reading, mut writing) = tokio::io::split(socket);
    let mut got = Got::default();
    let read = async {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let enough = got.statuses().len() >= expected;
            let wait = if enough { quiet } else { patience.saturating_duration_since(Instant::now()) };
            match tokio::time::timeout(wait, reading.read_buf(&mut got.bytes)).await {
                Ok(Ok(0) | Err(_)) => return got.closed = true,
                Ok(Ok(_)) => {}
                Err(_) => return,
            }
        }
    };
    // Whoever is refused early does not read it all.
    let write = async {
        for piece in bytes.chunks(piece.max(1)) {
            if writing.write_all(piece).await.is_err() {
                return;
            }
            if writing.flush().await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(read, write);
    got
}
