//! An etcd of a test's own: Debian's `etcd-server`, one member, on free ports of this machine, in a temporary directory.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct EtcdServer {
    process: Child,
    pub port: u16,
    scheme: &'static str,
    folder: tempfile::TempDir,
}

impl EtcdServer {
    pub fn start() -> EtcdServer {
        EtcdServer::start_with("http", &[])
    }

    /// `more`: further arguments.
    pub fn start_with(scheme: &'static str, more: &[&str]) -> EtcdServer {
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let folder = tempfile::tempdir().unwrap();
            let process = launch(&folder, scheme, port, more);
            let server = EtcdServer { process, port, scheme, folder };
            // Somebody else may have taken the port meanwhile.
            if server.is_up() {
                return server;
            }
        }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Its process, for signals.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// On the same data.
    pub fn start_again(&mut self) {
        self.kill();
        self.process = launch(&self.folder, self.scheme, self.port, &[]);
        assert!(self.is_up(), "somebody else has its port");
    }

    /// Waits for it; false: its port is somebody else's.
    fn is_up(&self) -> bool {
        let begun = Instant::now();
        let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        while !log().contains("ready to serve client requests") {
            if log().contains("address already in use") {
                return false;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "etcd does not begin: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "etcd does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

fn launch(folder: &tempfile::TempDir, scheme: &str, port: u16, more: &[&str]) -> Child {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let client = format!("{scheme}://127.0.0.1:{port}");
    // A peer's address that nobody needs: it is the only member.
    let (peer, advertised) = ("http://127.0.0.1:0", "http://127.0.0.1:1");
    let mut command = Command::new("etcd");
    command.args(["--data-dir", "data", "--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", advertised]);
    command.args(["--initial-cluster", &format!("default={advertised}")]).args(more);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("etcd is installed: see .ci/packages")
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}
