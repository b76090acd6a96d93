//! Instances that come and go while requests are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ficus_proxy::Instances;

use super::instance::{Instance, spread, upstream, world};
use super::support::{World, eventually, soaking};

/// Reads without a pause, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    readers: Vec<tokio::task::JoinHandle<Vec<u16>>>,
}

impl Load {
    fn begin(world: &Arc<World>) -> Load {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let reader = |_| {
            let (world, stop, made) = (world.clone(), stop.clone(), made.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let got = world.get("/api/v1/users/1/").await;
                    failed.extend(Some(got.status).filter(|status| *status != 200));
                    made.fetch_add(1, Ordering::SeqCst);
                }
                failed
            })
        };
        let readers = (0..4).map(reader).collect();
        Load { stop, made, readers }
    }

    /// Waits for so many more requests.
    async fn more(&self, requests: usize) {
        let goal = self.made.load(Ordering::SeqCst) + requests;
        eventually("requests are made", || self.made.load(Ordering::SeqCst) >= goal).await;
    }

    async fn end(self) -> Vec<u16> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failed = Vec::new();
        for reader in self.readers {
            failed.extend(reader.await.unwrap());
        }
        failed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_killed_added_and_taken_out_under_load_and_no_read_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("instances");
    let list = |instances: &[&Instance]| {
        let lines: Vec<String> = instances.iter().map(|instance| format!("{}\n", instance.address)).collect();
        let new = folder.path().join("new");
        std::fs::write(&new, lines.concat()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    let (first, second, third) = (Instance::start().await, Instance::start().await, Instance::start().await);
    list(&[&first, &second]);
    let world = Arc::new(world(upstream(Instances::File(file.clone()))).await);
    world.serve(soaking());
    let load = Load::begin(&world);
    load.more(50).await;
    first.kill().await;
    load.more(100).await;
    list(&[&first, &second, &third]);
    eventually("the third one gets requests", || third.seen("GET") > 20).await;
    first.revive().await;
    let before = first.seen("GET");
    eventually("the first one is back", || first.seen("GET") > before + 20).await;
    list(&[&first, &third]);
    let mut last = usize::MAX;
    while std::mem::replace(&mut last, second.seen("GET")) != second.seen("GET") || second.seen("GET") == 0 {
        load.more(200).await;
    }
    second.kill().await;
    load.more(50).await;
    assert_eq!(load.end().await, [0u16; 0]);
    assert!(first.seen("GET") > 0 && third.seen("GET") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_taken_out_finishes_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("instances");
    let (leaving, staying) = (Instance::start().await, Instance::start().await);
    std::fs::write(&file, format!("{}\n", leaving.address)).unwrap();
    let world = world(upstream(Instances::File(file.clone()))).await;
    world.serve(soaking());
    let (under_way, _) = tokio::join!(world.send("POST", "/api/v1/users/slow/2500", &[], super::support::full("body")), async {
        eventually("it is under way", || leaving.seen("POST") == 1).await;
        std::fs::write(&file, format!("{}\n", staying.address)).unwrap();
        while spread(&world, 1, &[]).await.contains_key(&leaving.address.to_string()) {}
        assert_eq!(leaving.state.under_way.load(Ordering::SeqCst), 1, "it still has the write");
    });
    assert_eq!((under_way.status, under_way.header("x-instance")), (200, &*leaving.address.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_makes_no_sense_or_is_gone_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("instances");
    let (one, other) = (Instance::start().await, Instance::start().await);
    std::fs::write(&file, format!("{}\n", one.address)).unwrap();
    let world = world(upstream(Instances::File(file.clone()))).await;
    world.serve(soaking());
    assert_eq!(spread(&world, 1, &[]).await.len(), 1);
    for text in [format!("{}\nnobody\n", other.address), String::new()] {
        std::fs::write(&file, text).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        assert!(spread(&world, 4, &[]).await.contains_key(&one.address.to_string()));
        assert_eq!(other.seen("GET"), 0);
    }
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(spread(&world, 4, &[]).await.len(), 1);
    std::fs::write(&file, format!("{}\n", other.address)).unwrap();
    while !spread(&world, 1, &[]).await.contains_key(&other.address.to_string()) {}
}
