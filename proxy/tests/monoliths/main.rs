//! Real monoliths behind the gateway: what Django and Flask make of a log-in is understood, and what they end is over.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]

#[path = "../gateway/flask/redis.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod redis;
#[path = "../gateway/support.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod support;

mod django;
mod flask;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{Got, World, full, told};

pub const SECRET: &str = "the-key-of-a-real-monolith";

/// A monolith in Python, on its own port.
pub struct Monolith {
    process: Child,
    pub address: String,
}

impl Monolith {
    /// Starts an application beside this file, and waits until it says where it listens.
    pub fn start(app: &str, settings: &[(&str, &str)]) -> Monolith {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("FICUS_PYTHON").map_or_else(|| here.join("../.venv/bin/python"), Into::into);
        assert!(python.exists(), "{} is missing: run `make python-test` first", python.display());
        let mut command = Command::new(python);
        command.arg(here.join("tests/monoliths").join(app)).env("SECRET", SECRET).envs(settings.iter().copied());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("{app} did not start"));
        Monolith { process, address: format!("127.0.0.1:{port}") }
    }
}

impl Drop for Monolith {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser: keeps the cookies that it is given.
#[derive(Default)]
pub struct Browser(BTreeMap<String, String>);

impl Browser {
    pub fn cookies(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub async fn get(&mut self, world: &World, path: &str) -> Got {
        self.send(world, "GET", path, &[], "").await
    }

    pub async fn submit(&mut self, world: &World, path: &str, form: &str) -> Got {
        self.send(world, "POST", path, &[("content-type", "application/x-www-form-urlencoded")], form).await
    }

    async fn send(&mut self, world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let cookies = self.cookies();
        let own = [("cookie", cookies.as_str()), ("user-agent", "Mozilla/5.0 (it's)")];
        let got = world.send(method, path, &[&own, headers].concat(), full(body.to_owned())).await;
        for line in got.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            match value.trim_matches('"').is_empty() || line.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
        got
    }

    /// Whom modern is told of.
    pub async fn told(&self, world: &World) -> Option<String> {
        told_of(world, &[("cookie", &self.cookies()), ("user-agent", "Mozilla/5.0 (it's)")]).await
    }
}

pub async fn told_of(world: &World, headers: &[(&str, &str)]) -> Option<String> {
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    told(world, headers).await.map(|claims| claims["sub"].as_str().unwrap().to_owned())
}
