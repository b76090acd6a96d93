//! Instances by DNS, with a name server of our own that changes its mind.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ficus_proxy::{Instances, Lookup, find_instances};
use tokio::net::UdpSocket;

use super::instance::{Instance, spread, upstream, world};
use super::support::soaking;

/// What it says.
#[derive(Debug, Clone, Default)]
struct Zone {
    /// Addresses of `users.test`.
    addresses: Vec<Ipv4Addr>,
    /// `_http._tcp.users.test`: priority, weight, port, target.
    services: Vec<(u16, u16, u16, &'static str)>,
    /// It answers SERVFAIL.
    broken: bool,
}

struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    async fn start(zone: Zone) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(zone)));
        let theirs = zone.clone();
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((read, peer)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..read], &theirs.lock().unwrap());
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        NameServer { address, zone }
    }

    fn lookup(&self) -> Lookup {
        Lookup { servers: vec![self.address], refresh: Duration::from_millis(100) }
    }

    fn say(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }
}

/// A message of RFC 1035 with one question, answered.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let records: Vec<Vec<u8>> = match (labels.join(".").as_str(), kind) {
        ("users.test", 1) => zone.addresses.iter().map(|address| address.octets().to_vec()).collect(),
        ("one.test", 1) => vec![vec![127, 0, 0, 1]],
        ("two.test", 1) => vec![vec![127, 0, 0, 2]],
        ("_http._tcp.users.test", 33) => zone.services.iter().map(|service| service_record(*service)).collect(),
        _ => Vec::new(),
    };
    let code = if zone.broken { 2 } else { 0 };
    let count = if zone.broken { 0 } else { u16::try_from(records.len()).unwrap() };
    let mut message = [&query[..2], &[0x81, 0x80 | code, 0, 1], &count.to_be_bytes(), &[0, 0, 0, 0], question].concat();
    for record in records.iter().take(usize::from(count)) {
        // The name of the question, the kind, the class, no time to live.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        message.extend(record);
    }
    message
}

fn service_record((priority, weight, port, target): (u16, u16, u16, &str)) -> Vec<u8> {
    let mut record: Vec<u8> = [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
    for label in target.split('.') {
        record.push(u8::try_from(label.len()).unwrap());
        record.extend(label.as_bytes());
    }
    record.push(0);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_addresses_change_is_followed() {
    let one = Instance::at("127.0.0.1:0").await;
    let port = one.address.port();
    let two = Instance::at(&format!("127.0.0.2:{port}")).await;
    let server = NameServer::start(Zone { addresses: vec![Ipv4Addr::new(127, 0, 0, 1)], ..Zone::default() }).await;
    let world = world(upstream(Instances::Dns { name: "users.test.".into(), port, lookup: server.lookup() })).await;
    world.serve(soaking());
    assert_eq!(spread(&world, 4, &[]).await.into_keys().collect::<Vec<_>>(), [one.address.to_string()], "the first request waits for it");
    server.say(|zone| zone.addresses.push(Ipv4Addr::new(127, 0, 0, 2)));
    while spread(&world, 2, &[]).await.len() < 2 {}
    server.say(|zone| zone.addresses = vec![Ipv4Addr::new(127, 0, 0, 2)]);
    while spread(&world, 2, &[]).await.contains_key(&one.address.to_string()) {}
    for change in [|zone: &mut Zone| zone.broken = true, |zone: &mut Zone| *zone = Zone::default()] {
        server.say(change);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let seen = spread(&world, 4, &[]).await;
        assert_eq!(seen.into_keys().collect::<Vec<_>>(), [two.address.to_string()], "a name server that is away takes nobody down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_records_say_ports_and_weights_and_the_first_priority_counts() {
    let (one, two, spare) = (Instance::at("127.0.0.1:0").await, Instance::at("127.0.0.2:0").await, Instance::start().await);
    let services =
        vec![(10, 1, one.address.port(), "one.test"), (10, 3, two.address.port(), "two.test"), (20, 9, spare.address.port(), "one.test")];
    let server = NameServer::start(Zone { services, ..Zone::default() }).await;
    let instances = Instances::Srv { name: "_http._tcp.users.test.".into(), lookup: server.lookup() };
    let found: Vec<_> = find_instances(&instances).await.unwrap().into_iter().map(|one| (one.address, one.weight)).collect();
    assert_eq!(found, [(one.address.to_string(), 1), (two.address.to_string(), 3)]);
    let world = world(upstream(instances)).await;
    world.serve(soaking());
    let seen = spread(&world, 8, &[]).await;
    assert_eq!((seen[&one.address.to_string()], seen[&two.address.to_string()]), (2, 6));
    server.say(|zone| zone.services.retain(|service| service.0 == 20));
    while !spread(&world, 1, &[]).await.contains_key(&spare.address.to_string()) {}
}

/// As while a pod comes or goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_record_whose_target_has_no_address_keeps_nobody_from_being_seen() {
    let (old, new) = (Instance::at("127.0.0.1:0").await, Instance::at("127.0.0.2:0").await);
    let (old_record, new_record) = ((10, 1, old.address.port(), "one.test"), (10, 1, new.address.port(), "two.test"));
    let nowhere = (10, 1, 9, "nowhere.test");
    let server = NameServer::start(Zone { services: vec![nowhere, old_record], ..Zone::default() }).await;
    let instances = Instances::Srv { name: "_http._tcp.users.test.".into(), lookup: server.lookup() };
    let found = async || {
        let found = find_instances(&instances).await;
        found.map(|found| found.into_iter().map(|one| one.address).collect::<Vec<_>>())
    };
    assert_eq!(found().await, Ok(vec![old.address.to_string()]));
    let world = world(upstream(instances.clone())).await;
    world.serve(soaking());
    assert_eq!(spread(&world, 4, &[]).await.into_keys().collect::<Vec<_>>(), [old.address.to_string()]);
    server.say(|zone| zone.services = vec![new_record, nowhere]);
    while spread(&world, 2, &[]).await.contains_key(&old.address.to_string()) {}
    // Where none of them has one, something is wrong with the names.
    server.say(|zone| zone.services = vec![nowhere]);
    assert!(found().await.is_err());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(spread(&world, 4, &[]).await.into_keys().collect::<Vec<_>>(), [new.address.to_string()]);
}
