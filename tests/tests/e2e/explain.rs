//! `ficus explain` says what the gateway then does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::world::{Plan, World};
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::Directory;

const REQUESTS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_agrees_with_the_gateway_on_a_thousand_requests() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan::default()).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    let half = |status: &Value| status["serving"]["reads"] == 500_000;
    // Shadow and error gates want traffic before they let the steps go on.
    let mut callers = Vec::new();
    for number in 1..=12 {
        callers.push(Caller::log_in(world.http(), &format!("student{number}"), PASSWORD).await?);
    }
    operator.until_phase("users", "shadowing", Duration::from_secs(60)).await?;
    for _ in 0..600 {
        for caller in &mut callers {
            caller.get(&format!("/api/v1/users/{}/", caller.id)).await?;
        }
        if half(&operator.status("users").await?) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.until("users", "half of the reads", Duration::from_secs(5), half).await?;
    operator.type_in(&["hold", "users", "--reason", "the test asks"]).await?;

    let mut dice = StdRng::seed_from_u64(11);
    let mut sides = [0, 0];
    for number in 0..REQUESTS {
        let caller = &mut callers[number % 12];
        let path = path(&mut dice, caller.id);
        let method = if dice.random_range(0..5) == 0 { "HEAD" } else { "GET" };
        let answer = caller.send(Method::from_bytes(method.as_bytes())?, &path, &[], bytes::Bytes::new()).await?;
        let did = answer.header("x-ficus-side").context("no x-ficus-side")?.to_owned();
        let user = caller.id.to_string();
        let explained = operator.type_in(&["explain", method, &path, "--user", &user, "--json"]).await?;
        let explained: Value = serde_json::from_str(&explained)?;
        assert_eq!(explained["side"], Value::from(did.as_str()), "{method} {path} for user {user}: {explained:#}");
        sides[usize::from(did == "modern")] += 1;
    }
    println!("{REQUESTS} requests, {} by the monolith, {} by the service, 0 disagreements", sides[0], sides[1]);
    assert!(sides[1] > 100, "half of the callers read from the service");
    directory.passed();
    Ok(())
}

fn path(dice: &mut StdRng, me: i64) -> String {
    let other = dice.random_range(1..300);
    match dice.random_range(0..10) {
        0 => "/api/v1/users/?page_size=5".into(),
        1 => "/api/v1/users/me/".into(),
        2 => format!("/api/v1/users/{other}/notes/"),
        3 => "/accounts/profile/".into(),
        4 => "/accounts/login/".into(),
        5 => "/api/v1/courses/".into(),
        6 => "//api/v1/./users/me/".into(),
        7 => format!("/api/v1/users/{me}/"),
        8 => "/no/such/page/".into(),
        _ => format!("/api/v1/users/{other}/?x={other}"),
    }
}
