//! Limits that several gateways count together, in a real Redis: exactly, and with the choice that the rules made when it
//! is killed in the middle.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "tests")]

#[path = "../gateway/support.rs"]
mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ficus_proxy::RedisServer;
use ficus_rules::wire::{Published, RuleFile};
use support::{World, full, ramping};

const PASSWORD: &str = "sesame";

/// A Redis of this test's own, on a port that was free.
struct Redis {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Redis {
    fn start() -> Redis {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Redis::start_at(address)
    }

    fn start_at(address: SocketAddr) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            PASSWORD,
        ]);
        let process =
            command.current_dir(folder.path()).stdout(Stdio::null()).spawn().expect("redis-server is installed: see .ci/packages");
        let redis = Redis { process, address, folder };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "Redis does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn server(&self) -> RedisServer {
        // A busy machine is no reason to take it for gone.
        RedisServer { url: format!("redis://{}/0", self.address), password: Some(PASSWORD.to_owned()), timeout: Duration::from_secs(5) }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn gateway(redis: &Redis, away: &str, quotas: &str) -> World {
    gateway_with(redis.server(), away, quotas).await
}

async fn gateway_with(server: RedisServer, away: &str, quotas: &str) -> World {
    let world = World::with(|config| config.redis = Some(server)).await;
    let text = format!(
        "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/a/{{*rest}}\"\n\
         [route.plugins.rate_limit]\nquotas = [{quotas}]\nby = \"header:x-api-key\"\nshared = true\nwhen_away = \"{away}\"\n"
    );
    let published = Published {
        generation: 1,
        rules_generation: 1,
        rules: vec![RuleFile { name: "users.toml".into(), text }],
        capabilities: [("users".to_owned(), ramping(0))].into(),
        ..Published::default()
    };
    world.gateway.publish(published).unwrap();
    world.confirm();
    world
}

async fn status(world: &World, key: &str) -> u16 {
    world.send("GET", "/a/x", &[("x-api-key", key)], full("")).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_count_as_one() {
    let redis = Redis::start();
    let worlds = [gateway(&redis, "closed", "\"30/d\", \"40/h\"").await, gateway(&redis, "closed", "\"30/d\", \"40/h\"").await];
    let all = futures::future::join_all((0..100).map(|n| status(&worlds[n % 2], "one"))).await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 30, "{all:?}");
    assert_eq!(all.iter().filter(|status| **status == 429).count(), 70);
    let other = worlds[1].send("GET", "/a/x", &[("x-api-key", "two")], full("")).await;
    assert_eq!((other.status, other.header("ratelimit-limit"), other.header("ratelimit-remaining")), (200, "30", "29"));
    assert_eq!(worlds.iter().map(|world| world.legacy.seen("/a/").len()).sum::<usize>(), 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_leaves_what_the_rules_chose() {
    for (away, expected) in [("closed", [503, 503, 503]), ("open", [200, 200, 200]), ("local", [200, 200, 429])] {
        let mut redis = Redis::start();
        let world = gateway(&redis, away, "\"2/d\"").await;
        // The first answer of a server that has just begun may come too late.
        for _ in 0..50 {
            if status(&world, "first").await == 200 {
                break;
            }
        }
        assert_eq!(status(&world, "one").await, 200);
        redis.kill();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(status(&world, "one").await);
        }
        assert_eq!(seen, expected, "{away}");

        let again = Redis::start_at(redis.address);
        // It is asked again after a second; then it counts, from nothing.
        let began = Instant::now();
        loop {
            let mut fresh = Vec::new();
            let key = format!("after {:?}", began.elapsed());
            for _ in 0..3 {
                fresh.push(status(&world, &key).await);
            }
            let counted = fresh == [200, 200, 429] && world.send("GET", "/a/x", &[("x-api-key", &key)], full("")).await.status == 429;
            if counted && again.keys() > 0 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{away}: it is not counted in Redis again: {fresh:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_keeps_nobody_waiting_for_long() {
    let redis = Redis::start();
    let mut server = redis.server();
    server.timeout = Duration::from_millis(200);
    let world = World::with(|config| config.redis = Some(server)).await;
    let text = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/a/{*rest}\"\n\
                [route.plugins.rate_limit]\nquotas = [\"1000/s\"]\nshared = true\nwhen_away = \"open\"\n";
    let rules = vec![RuleFile { name: "users.toml".into(), text: text.into() }];
    let capabilities = [("users".to_owned(), ramping(0))].into();
    world.gateway.publish(Published { generation: 1, rules_generation: 1, rules, capabilities, ..Published::default() }).unwrap();
    world.confirm();
    assert_eq!(status(&world, "one").await, 200);
    let pid = redis.process.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    for _ in 0..200 {
        assert_eq!(status(&world, "one").await, 200);
    }
    let hung = Instant::now();
    for _ in 0..50 {
        assert_eq!(status(&world, "one").await, 200);
    }
    let took = hung.elapsed();
    signal("-CONT");
    // 50 times the time-out would be ten seconds; one in each second waits.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_costs_one_request() {
    let redis = Redis::start();
    let mut server = redis.server();
    server.timeout = Duration::from_secs(1);
    let world = gateway_with(server, "closed", "\"1000/s\"").await;
    assert_eq!(status(&world, "one").await, 200);
    let pid = redis.process.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    for _ in 0..2 {
        signal("-STOP");
        assert_eq!(status(&world, "one").await, 503);
        signal("-CONT");
        for _ in 0..20 {
            assert_eq!(status(&world, "one").await, 200);
        }
    }
}

impl Redis {
    /// How many callers it has counted.
    fn keys(&self) -> u64 {
        let url = format!("redis://:{PASSWORD}@{}/0", self.address);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("ficus:limit:*").query(&mut connection).unwrap();
        assert!(keys.iter().all(|key| !key.contains("one") && !key.contains("after")), "keys of callers are hashed: {keys:?}");
        keys.len() as u64
    }
}
