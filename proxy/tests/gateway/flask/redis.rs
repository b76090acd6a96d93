//! A Redis of one's own: Debian's `redis-server`, in memory, on a free port of this machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Server {
    process: Child,
    pub port: u16,
    pub url: String,
}

impl Server {
    pub async fn start() -> Server {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server::start_at(port).await
    }

    pub async fn start_at(port: u16) -> Server {
        let line = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no", "--port"];
        let process = Command::new("redis-server").args(line).arg(port.to_string()).stdout(Stdio::null()).spawn();
        let process = process.expect("redis-server is missing: run `make packages-test`");
        let server = Server { process, port, url: format!("redis://127.0.0.1:{port}/0") };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "Redis does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }

    pub async fn set(&self, key: &str, value: &[u8]) {
        assert_eq!(self.exchange(&[b"SET", key.as_bytes(), value]).await, "+OK\r\n");
    }

    pub async fn command(&self, words: &[&str]) -> String {
        self.exchange(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()).await
    }

    async fn exchange(&self, words: &[&[u8]]) -> String {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        socket.write_all(&request).await.unwrap();
        let mut answer = vec![0; 1024];
        let length = socket.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
