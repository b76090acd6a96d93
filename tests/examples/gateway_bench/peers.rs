//! Other proxies before the same server, each as plain and as fast as it can be set up: one worker, kept connections both
//! ways, no log. Only what is installed runs: on `PATH`, or in the directories that `FICUS_PEERS` names.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ficus_tests::process::{Process, free_port};

use crate::cpu::Processors;

/// A proxy to measure against.
pub(crate) struct Peer {
    /// Its name, and its program's.
    pub(crate) name: &'static str,
    /// Ours must cost less.
    pub(crate) to_beat: bool,
    arguments: &'static [&'static str],
    /// Its configuration; `CONFIG` in the arguments is the first file.
    files: &'static [(&'static str, &'static str)],
}

/// Those that are known here.
pub(crate) const PEERS: [Peer; 7] = [
    Peer { name: "pingap", to_beat: true, arguments: &["-c", "CONFIG"], files: &[("pingap.toml", include_str!("peers/pingap.toml"))] },
    Peer {
        name: "envoy",
        to_beat: true,
        arguments: &["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c", "CONFIG"],
        files: &[("envoy.yaml", include_str!("peers/envoy.yaml"))],
    },
    Peer {
        name: "traefik",
        to_beat: true,
        arguments: &["--configFile=CONFIG"],
        files: &[("traefik.yaml", include_str!("peers/traefik.yaml")), ("routes.yaml", include_str!("peers/routes.yaml"))],
    },
    Peer {
        name: "caddy",
        to_beat: true,
        arguments: &["run", "--adapter", "caddyfile", "--config", "CONFIG"],
        files: &[("Caddyfile", include_str!("peers/Caddyfile"))],
    },
    Peer { name: "sozu", to_beat: false, arguments: &["start", "-c", "CONFIG"], files: &[("sozu.toml", include_str!("peers/sozu.toml"))] },
    Peer {
        name: "haproxy",
        to_beat: false,
        arguments: &["-db", "-f", "CONFIG"],
        files: &[("haproxy.cfg", include_str!("peers/haproxy.cfg"))],
    },
    Peer {
        name: "nginx",
        to_beat: false,
        arguments: &["-e", "stderr", "-c", "CONFIG"],
        files: &[("nginx.conf", include_str!("peers/nginx.conf"))],
    },
];

impl Peer {
    /// Its program, if it is installed.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let named = [std::env::var_os("FICUS_PEERS"), std::env::var_os("PATH"), Some("/usr/sbin".into())];
        let places: Vec<PathBuf> = named.iter().flatten().flat_map(std::env::split_paths).collect();
        places.into_iter().map(|place| place.join(self.name)).find(|path| path.is_file())
    }

    /// Starts it, and says its port.
    ///
    /// # Errors
    /// It does not come up.
    pub(crate) async fn start(&self, program: &Path, directory: &Path, processors: &Processors, behind: u16) -> Result<(Process, u16)> {
        std::fs::create_dir_all(directory)?;
        let (directory, port) = (directory.canonicalize()?, free_port()?);
        let here = directory.display().to_string();
        for (name, text) in self.files {
            let text = text.replace("PORT", &port.to_string()).replace("BEHIND", &behind.to_string()).replace("DIRECTORY", &here);
            std::fs::write(directory.join(name), text)?;
        }
        let config = self.files.first().map(|(name, _)| format!("{here}/{name}")).unwrap_or_default();
        let mut command = Command::new(program);
        command.args(self.arguments.iter().map(|argument| argument.replace("CONFIG", &config))).current_dir(&directory);
        // Those in Go take as many threads as there are processors, and write below the home directory.
        command.env("GOMAXPROCS", "1").env("HOME", &here).env("XDG_DATA_HOME", &here).env("XDG_CONFIG_HOME", &here);
        let log = directory.join("log");
        let process = processors.over_there(|| Process::start(self.name, &mut command, &log))?;
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok((process, port));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} does not listen: {}", self.name, std::fs::read_to_string(&log).context("its log")?)
    }
}
