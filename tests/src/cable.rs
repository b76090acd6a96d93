//! A cable between two processes: a TCP proxy on a port of its own that can be cut, in both directions or in one. While it is, nothing
//! passes and nobody is told: bytes and new connections wait, as they do when packets are lost; mended, they arrive late. Or it is
//! torn: every connection breaks.

use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A cable; dropping it breaks every connection.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    whole: Arc<watch::Sender<Whole>>,
    torn: Arc<watch::Sender<()>>,
    accepting: JoinHandle<()>,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the one at the near end says, who connects.
    There,
    /// What he is told.
    Back,
}

/// Which directions are whole.
#[derive(Debug, Clone, Copy)]
struct Whole {
    there: bool,
    back: bool,
}

impl Whole {
    const BOTH: Whole = Whole { there: true, back: true };

    fn is(self, way: Way) -> bool {
        match way {
            Way::There => self.there,
            Way::Back => self.back,
        }
    }
}

impl Cable {
    /// A cable to a port of this machine.
    ///
    /// # Errors
    /// There is no port for its other end.
    pub async fn to(port: u16) -> Result<Cable> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = listener.local_addr()?.port();
        let whole = Arc::new(watch::Sender::new(Whole::BOTH));
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
        self.whole.send_replace(Whole { there: false, back: false });
    }

    /// From now on nothing passes in one direction.
    pub fn cut_one_way(&self, way: Way) {
        self.whole.send_modify(|whole| match way {
            Way::There => whole.there = false,
            Way::Back => whole.back = false,
        });
    }

    /// Breaks every connection that there is.
    pub fn tear(&self) {
        self.torn.send_replace(());
    }

    /// What waited passes, and everything after it.
    pub fn mend(&self) {
        self.whole.send_replace(Whole::BOTH);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, port: u16, whole: watch::Receiver<Whole>) {
    let mut connecting = whole.clone();
    if connecting.wait_for(|whole| whole.there || whole.back).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(pump(from_client, to_server, Way::There, whole.clone()), pump(from_server, to_client, Way::Back, whole));
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, mut whole: watch::Receiver<Whole>) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await;
        if whole.wait_for(|whole| whole.is(way)).await.is_err() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What comes within a while.
    async fn hears(stream: &mut TcpStream) -> Option<u8> {
        tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await.ok().map(|read| read.expect("it is connected"))
    }

    #[tokio::test]
    async fn one_direction_is_cut_and_the_other_is_not_and_what_waited_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let cable = Cable::to(listener.local_addr().expect("an address").port()).await.expect("a cable");
        let mut near = TcpStream::connect(("127.0.0.1", cable.port())).await.expect("it connects");
        let (mut far, _) = listener.accept().await.expect("it is connected");
        for way in [Way::There, Way::Back] {
            cable.cut_one_way(way);
            near.write_u8(1).await.expect("it writes");
            far.write_u8(2).await.expect("it writes");
            let (there, back) = (hears(&mut far).await, hears(&mut near).await);
            assert_eq!((there, back), if way == Way::There { (None, Some(2)) } else { (Some(1), None) });
            cable.mend();
            let late = if way == Way::There { hears(&mut far).await } else { hears(&mut near).await };
            assert_eq!(late, Some(if way == Way::There { 1 } else { 2 }));
        }
    }
}
