//! A bus that takes its time: as much of Redis as the agent speaks with, and the same pause for every entry. What it was given
//! it works off in order, also when whoever gave it has gone.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ficus_sync_agent::Bus;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

pub struct Slow {
    port: u16,
    /// The `id` of each entry, in order.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Slow {
    pub async fn start(each: Duration) -> Slow {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let (entries, busy) = (Arc::clone(&heard), Arc::<tokio::sync::Mutex<()>>::default());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(serve(caller, each, Arc::clone(&entries), Arc::clone(&busy)));
            }
        });
        Slow { port, heard }
    }

    pub fn bus(&self) -> Bus {
        Bus { url: format!("redis://127.0.0.1:{}/0", self.port), name: None, keep: None }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(caller: TcpStream, each: Duration, heard: Arc<Mutex<Vec<String>>>, busy: Arc<tokio::sync::Mutex<()>>) {
    let (reader, mut writer) = caller.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(words) = command(&mut reader).await {
        let answer = if words[0].eq_ignore_ascii_case("XADD") {
            let _one_at_a_time = busy.lock().await;
            tokio::time::sleep(each).await;
            let id = words.iter().skip_while(|word| *word != "id").nth(1).unwrap();
            heard.lock().unwrap().push(id.clone());
            "$3\r\n1-1\r\n"
        } else {
            "+OK\r\n"
        };
        // Whoever asked may be gone.
        let _ = writer.write_all(answer.as_bytes()).await;
    }
}

/// A command of RESP: an array of texts.
async fn command(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Option<Vec<String>> {
    let words = number(reader, '*').await?;
    let mut command = Vec::new();
    for _ in 0..words {
        let mut word = vec![0; number(reader, '$').await? + 2];
        reader.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        command.push(String::from_utf8(word).ok()?);
    }
    Some(command)
}

async fn number(reader: &mut BufReader<tokio::net::tcp::OwnedReadHalf>, mark: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}
