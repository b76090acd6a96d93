//! Answers that are lost on their way: the database has done what the agent does not know of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ficus_rules::Side;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::app::Engine::{self, MariaDb, Postgres};
use super::world::{World, streaming, until};
use super::{mariadb, postgres, schema, tables};

/// A port that leads to a server. Once it is set, the first connection that claims a turn breaks when the server has said that
/// it is committed, and before anybody hears of it.
struct Thief {
    port: u16,
    set: Arc<AtomicBool>,
    torn: watch::Sender<()>,
}

impl Thief {
    async fn before(engine: Engine) -> Thief {
        let (server, claim) = match engine {
            Postgres => (postgres::Server::shared().port, "INSERT INTO _ficus.checkpoint"),
            _ => (mariadb::Server::shared().port, "INSERT INTO `_ficus_checkpoint`"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (set, torn) = (Arc::<AtomicBool>::default(), watch::Sender::new(()));
        let (watched, tears) = (Arc::clone(&set), torn.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (set, mut torn) = (Arc::clone(&watched), tears.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = carry(client, server, claim, &set) => {}
                        _ = torn.changed() => {}
                    }
                });
            }
        });
        Thief { port, set, torn }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

async fn carry(mut client: TcpStream, server: u16, claim: &str, set: &AtomicBool) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut claims = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let bytes = &asked[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                server.write_all(bytes).await?;
                claims |= has(bytes, claim);
                if claims && has(bytes, "COMMIT") && set.swap(false, Ordering::AcqRel) {
                    let stolen = server.read(&mut answered).await?;
                    assert!(stolen > 0, "it was answered");
                    return Ok(());
                }
            }
            read = server.read(&mut answered) => {
                let bytes = &answered[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}

/// GIVEN an agent that has had its turn, WHEN it claims it again, and the answer is lost, THEN it goes on by itself: it was no other
/// agent that came between.
async fn a_claim_whose_answer_is_lost(side: Side) {
    let engines = [Postgres, MariaDb];
    let mut world = World::new(engines, schema, tables()).await;
    let at = usize::from(side == Side::Modern);
    let thief = Thief::before(engines[at]).await;
    world.through[at] = Some(thief.port);
    let agent = world.agent().await;
    streaming(&agent).await;
    thief.set.store(true, Ordering::Release);
    thief.torn.send_replace(());
    until(&agent, "the answer to be lost", |_| !thief.set.load(Ordering::Acquire)).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("INSERT INTO writer (id, name, level, price) VALUES (1, 'one', 1, 1.5)").await;
    let mut modern = world.app(Side::Modern).await;
    let begun = std::time::Instant::now();
    while modern.rows("SELECT name FROM writers WHERE legacy_id = 1").await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{side}: {:?}", super::report(&agent).trouble);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_claim_of_legacy_on_postgresql_goes_on_without_its_answer() {
    a_claim_whose_answer_is_lost(Side::Legacy).await;
}

#[tokio::test]
async fn a_claim_of_modern_on_mariadb_goes_on_without_its_answer() {
    a_claim_whose_answer_is_lost(Side::Modern).await;
}
