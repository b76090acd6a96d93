//! Which instance a request gets.

use std::collections::BTreeMap;

use ficus_proxy::{Balance, HashBy, Instances, Upstream, Weighted};

use super::instance::{Instance, fixed, spread, upstream, world};
use super::support::soaking;

#[tokio::test(flavor = "multi_thread")]
async fn requests_take_turns_by_weight() {
    let (small, large) = (Instance::start().await, Instance::start().await);
    let weighted = |instance: &Instance, weight| Weighted { address: instance.address.to_string(), weight };
    let world = world(upstream(Instances::Fixed(vec![weighted(&small, 1), weighted(&large, 3)]))).await;
    world.serve(soaking());
    let wanted = BTreeMap::from([(small.address.to_string(), 10), (large.address.to_string(), 30)]);
    assert_eq!(spread(&world, 40, &[]).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_busy_gets_no_more() {
    let (one, other) = (Instance::start().await, Instance::start().await);
    let world = world(Upstream { balance: Balance::LeastRequests, ..upstream(fixed(&[&one, &other])) }).await;
    world.serve(soaking());
    let (slow, busy) = (world.get("/api/v1/users/slow/1500"), async {
        while one.state.under_way.load(std::sync::atomic::Ordering::SeqCst)
            + other.state.under_way.load(std::sync::atomic::Ordering::SeqCst)
            == 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        spread(&world, 10, &[]).await
    });
    let (slow, meanwhile) = tokio::join!(slow, busy);
    assert_eq!((meanwhile.len(), meanwhile.contains_key(slow.header("x-instance"))), (1, false), "{meanwhile:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_stays_with_its_instance_and_moves_only_when_that_one_goes() {
    let instances = [Instance::start().await, Instance::start().await, Instance::start().await];
    let by = vec![HashBy::Cookie("sessionid".into()), HashBy::Header("x-tenant".into())];
    let world = world(Upstream { balance: Balance::Hash(by), ..upstream(fixed(&instances.each_ref())) }).await;
    world.serve(soaking());
    let mut homes = BTreeMap::new();
    for caller in 0..24 {
        let cookie = format!("sessionid=caller{caller}");
        let seen = spread(&world, 3, &[("cookie", &cookie)]).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        homes.insert(cookie, seen.into_keys().next().unwrap());
    }
    let used: std::collections::BTreeSet<_> = homes.values().collect();
    assert_eq!(used.len(), 3, "24 callers on three instances");
    assert_eq!(spread(&world, 4, &[("x-tenant", "school")]).await.len(), 1);
    assert_eq!(spread(&world, 6, &[]).await.len(), 3, "who has neither takes turns");
    instances[0].kill().await;
    let gone = instances[0].address.to_string();
    for (cookie, home) in &homes {
        let seen = spread(&world, 2, &[("cookie", cookie)]).await;
        assert!(!seen.contains_key(&gone) && (*home == gone || seen.contains_key(home)), "{cookie}: {home}, now {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_a_callers_address_is_its_own() {
    let instances = [Instance::start().await, Instance::start().await, Instance::start().await];
    let upstream = Upstream { balance: Balance::Hash(vec![HashBy::Address]), ..upstream(fixed(&instances.each_ref())) };
    let world = super::support::World::with(|config| {
        config.upstreams.insert("users-service".into(), upstream);
        config.trusted_proxies = vec!["127.0.0.1".into()];
    })
    .await;
    world.serve(soaking());
    let mut used = std::collections::BTreeSet::new();
    for caller in 0..24 {
        let seen = spread(&world, 3, &[("x-forwarded-for", &format!("192.0.2.{caller}"))]).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        used.extend(seen.into_keys());
    }
    assert_eq!(used.len(), 3, "24 callers on three instances");
}
