//! A cable between two processes: a TCP proxy on a port of its own that can be cut. While it is, nothing passes and nobody
//! is told: bytes and new connections wait, as they do when packets are lost; mended, they arrive late. Or it is torn: every
//! connection breaks.

use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A cable; dropping it breaks every connection.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    whole: Arc<watch::Sender<bool>>,
    torn: Arc<watch::Sender<()>>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// A cable to a port of this machine.
    ///
    /// # Errors
    /// There is no port for its other end.
    pub async fn to(port: u16) -> Result<Cable> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = listener.local_addr()?.port();
        let whole = Arc::new(watch::Sender::new(true));
        let watched = Arc::clone(&whole);
        let torn = Arc::new(watch::Sender::new(()));
        let tears = Arc::clone(&torn);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (whole, mut torn) = (watched.subscribe(), tears.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(client, port, whole) => {}
                        _ = torn.changed() => {}
                    }
                });
            }
        });
        Ok(Cable { port: near, whole, torn, accepting })
    }

    /// The port of its near end.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its near end is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on nothing passes.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Breaks every connection that there is.
    pub fn tear(&self) {
        self.torn.send_replace(());
    }

    /// What waited passes, and everything after it.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, port: u16, whole: watch::Receiver<bool>) {
    let mut connecting = whole.clone();
    if connecting.wait_for(|whole| *whole).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(pump(from_client, to_server, whole.clone()), pump(from_server, to_client, whole));
}

async fn pump(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await;
        if whole.wait_for(|whole| *whole).await.is_err() {
            return;
        }
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if to.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown().await;
}
