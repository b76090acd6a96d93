//! Bodies of any size, both ways, as they come.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Request;

use super::support::{World, full, soaking, streamed};

const MIB: usize = 1 << 20;

/// The memory of this process, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_without_being_kept() {
    let world = World::start().await;
    world.serve(soaking());
    let before = memory();
    let up = world.send("POST", "/api/v1/users/upload", &[], streamed(64, MIB, Duration::ZERO)).await;
    assert_eq!((up.status, up.json()["size"].as_u64()), (200, Some(64 * MIB as u64)));
    let request = Request::get(format!("http://{}/api/v1/users/download/64", world.address)).body(full("")).unwrap();
    let mut down = world.client.request(request).await.unwrap().into_body();
    let mut size = 0;
    let mut most = 0;
    while let Some(frame) = down.frame().await {
        size += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
        most = most.max(memory());
    }
    assert_eq!(size, 64 * MIB);
    assert!(most < before + 48 * MIB, "{} MiB more", (most - before) / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_are_sent() {
    let world = World::start().await;
    world.serve(soaking());
    let start = Instant::now();
    let request = Request::get(format!("http://{}/api/v1/users/events/", world.address)).body(full("")).unwrap();
    let mut body = world.client.request(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_millis(140), "the first event waited {:?}", start.elapsed());
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 16);
    assert!(start.elapsed() >= Duration::from_millis(300));
}
