//! A Redis and a RabbitMQ of this process's own: in temporary directories, on free ports of the loopback interface, gone with
//! the process however that ends; and somebody who listens to them.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ficus_sync_agent::Bus;
use lapin::options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value as Json;

use crate::own::{free_port, is_root, next};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "the-secret-of-the-bus";

/// Runs the rest of the line, and ends its processes once nobody holds the other end of the standard input. A server that gives
/// up its own process's number (RabbitMQ's virtual machine) is found by its file.
const KEEP: &str = r#"trap '' INT TERM HUP
dir=$1; helper=$2; shift 2
helped=
if [ -n "$helper" ]; then $helper </dev/null >>"$dir/output" 2>&1 & helped=$!; fi
"$@" </dev/null >>"$dir/output" 2>&1 &
server=$!
read wish
[ -f "$dir/pid" ] && kill -9 "$(cat "$dir/pid")" 2>/dev/null
kill -9 $server $helped 2>/dev/null
wait $server $helped 2>/dev/null
[ "$wish" = again ] || rm -rf "$dir"
"#;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Redis,
    Rabbit,
}

/// A server that can be killed.
pub struct Server {
    pub kind: Kind,
    port: u16,
    dir: PathBuf,
    keeper: Option<Child>,
    others: [u16; 2],
    /// All that a listener has been given so far.
    heard: Vec<Json>,
}

impl Server {
    /// Starts one, with a listener who is told everything from now on.
    pub async fn start(kind: Kind) -> Server {
        let dir = std::env::temp_dir().join(format!("ficus-bus-{}-{}", std::process::id(), next()));
        std::fs::create_dir_all(&dir).unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("nobody").arg(&dir).status().unwrap().success());
        }
        let mut server = Server { kind, port: free_port(), dir, keeper: None, others: [free_port(), free_port()], heard: Vec::new() };
        server.begin();
        if kind == Kind::Rabbit {
            let channel = server.channel().await;
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let exchange = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare("ficus.events".into(), ExchangeKind::Topic, exchange, FieldTable::default()).await.unwrap();
            channel.queue_declare("listener".into(), durable, FieldTable::default()).await.unwrap();
            let bind = QueueBindOptions::default();
            channel.queue_bind("listener".into(), "ficus.events".into(), "user.#".into(), bind, FieldTable::default()).await.unwrap();
        }
        server
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        keeper.stdin.take().unwrap().write_all(b"again\n").unwrap();
        keeper.wait().unwrap();
        let _ = std::fs::remove_file(self.dir.join("pid"));
    }

    /// Starts it on the same files.
    pub fn begin(&mut self) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let mut line: Vec<String> = Vec::new();
        if is_root() {
            // Neither of the two should run as root.
            line.extend(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"].map(str::to_owned));
        }
        let port = self.port.to_string();
        let mut helper = String::new();
        let mut command = Command::new("sh");
        match self.kind {
            Kind::Redis => {
                let options = ["redis-server", "--bind", "127.0.0.1", "--port", &port, "--requirepass", PASSWORD, "--save", ""];
                line.extend(options.map(str::to_owned));
                // Every entry is on the disk before it is confirmed.
                line.extend(["--appendonly", "yes", "--appendfsync", "always", "--dir", &path("")].map(str::to_owned));
            }
            Kind::Rabbit => {
                let [epmd, distribution] = self.others.map(|port| port.to_string());
                helper = format!("{} epmd -port {epmd} -address 127.0.0.1", line.join(" "));
                line.push("/usr/lib/rabbitmq/bin/rabbitmq-server".to_owned());
                let settings = [
                    ("HOME", path("")),
                    ("ERL_EPMD_PORT", epmd),
                    ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
                    ("RABBITMQ_NODENAME", format!("ficus{port}@localhost")),
                    ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
                    ("RABBITMQ_NODE_PORT", port),
                    ("RABBITMQ_DIST_PORT", distribution),
                    ("RABBITMQ_MNESIA_BASE", path("mnesia")),
                    ("RABBITMQ_LOG_BASE", path("log")),
                    ("RABBITMQ_LOGS", "-".to_owned()),
                    ("RABBITMQ_PID_FILE", path("pid")),
                    ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
                    ("RABBITMQ_GENERATED_CONFIG_DIR", path("config")),
                    ("RABBITMQ_CONF_ENV_FILE", path("none")),
                    ("RABBITMQ_CONFIG_FILE", path("none")),
                    ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none".to_owned()),
                ];
                command.envs(settings);
            }
        }
        let keeper = command.args(["-c", KEEP, "sh"]).arg(&self.dir).arg(helper).args(line).stdin(Stdio::piped()).spawn().unwrap();
        self.keeper = Some(keeper);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if began.elapsed() > PATIENCE {
                let output = std::fs::read_to_string(self.dir.join("output")).unwrap_or_default();
                panic!("{:?} does not answer (is it installed? see `make packages-test`):\n{output}", self.kind);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What an agent is given.
    pub fn bus(&self) -> Bus {
        let url = match self.kind {
            Kind::Redis => format!("redis://:{PASSWORD}@127.0.0.1:{}/0", self.port),
            Kind::Rabbit => format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port),
        };
        Bus { url, name: None, keep: None }
    }

    async fn channel(&self) -> Channel {
        let began = Instant::now();
        loop {
            match Connection::connect(&self.bus().url, ConnectionProperties::default()).await {
                Ok(connection) => {
                    let channel = connection.create_channel().await.unwrap();
                    // It is closed with the process.
                    std::mem::forget(connection);
                    return channel;
                }
                Err(error) if began.elapsed() > PATIENCE => panic!("RabbitMQ does not answer: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// All events that have come, in order, also those that came twice.
    pub async fn heard(&mut self) -> &[Json] {
        match self.kind {
            Kind::Redis => {
                let client = redis::Client::open(self.bus().url).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                let range = redis::cmd("XRANGE").arg("ficus.events").arg("-").arg("+").to_owned();
                let entries: Vec<(String, Vec<(String, String)>)> = range.query_async(&mut connection).await.unwrap();
                self.heard = entries.into_iter().map(|(_, fields)| of_fields(&fields)).collect();
            }
            Kind::Rabbit => {
                let channel = self.channel().await;
                let taken = BasicGetOptions { no_ack: true };
                while let Some(message) = channel.basic_get("listener".into(), taken).await.unwrap() {
                    let event: Json = serde_json::from_slice(&message.delivery.data).unwrap();
                    let properties = &message.delivery.properties;
                    assert_eq!(message.delivery.routing_key.as_str(), event["type"]);
                    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), event["id"]);
                    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
                    assert_eq!(*properties.delivery_mode(), Some(2), "it would be gone with the broker");
                    self.heard.push(event);
                }
            }
        }
        &self.heard
    }

    /// The events, each once, in the order in which they came first, once `enough` of them did.
    pub async fn once(&mut self, what: &str, mut enough: impl FnMut(&[Json]) -> bool) -> Vec<Json> {
        let began = Instant::now();
        loop {
            let mut seen = std::collections::HashSet::new();
            let events: Vec<Json> = self.heard().await.iter().filter(|event| seen.insert(event["id"].to_string())).cloned().collect();
            if enough(&events) {
                return events;
            }
            assert!(began.elapsed() < PATIENCE, "{:?}: {what} did not come; there are {events:#?}", self.kind);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

fn of_fields(fields: &[(String, String)]) -> Json {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap();
    let event: Json = serde_json::from_str(field("event")).unwrap();
    for name in ["id", "type", "subject"] {
        assert_eq!(event[name], field(name));
    }
    event
}
