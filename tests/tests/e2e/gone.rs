//! How much of the monolith is gone, in exact figures: known routes and tables, a known number of requests, before and after one of
//! two capabilities has moved.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::notebook::{Book, NAME, Notebook, RULES, Store, UPSTREAMS};
use ficus_tests::operator::Operator;
use serde_json::{Value, json};

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);
const PEOPLE: i64 = 5;

/// Three routes that may move and one that stays, and two tables; nobody moves it.
const SHOP: &str = r#"[capability]
name = "shop"
legacy = "old-notebook"
modern = "new-notebook"

[[route]]
path = "/shop/shelves/{*rest}"

[[route]]
path = "/shop/orders/{id}"

[[route]]
path = "/shop/prices"

[[route]]
path = "/shop/admin/{*rest}"
pin = "legacy"

[[step]]
cutover = true

[[step]]
soak = "1d"

[[table]]
legacy = "shelf"
modern = "shelves"

[[table]]
legacy = "price"
modern = "prices"
"#;

/// Waits until so many requests are known; what the plan says then.
async fn until_counted(operator: &Operator, of: u64) -> Result<(Value, String)> {
    let begun = Instant::now();
    loop {
        let ahead: Value = serde_json::from_str(&operator.type_in(&["plan", "--json"]).await?)?;
        let counted = ahead["gone"]["requests"]["of"].as_u64().unwrap_or_default();
        ensure!(counted <= of, "{counted} of {of} requests: {}", ahead["gone"]);
        if counted == of {
            let page = operator.type_in(&["plan"]).await?;
            return Ok((ahead["gone"].clone(), page.lines().next().unwrap_or_default().to_owned()));
        }
        ensure!(begun.elapsed() < PATIENCE, "{counted} of {of} requests are known");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(bare: &Bare, path: &str, times: usize) -> Result<()> {
    for _ in 0..times {
        bare.http().get(path).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_told_to_the_last_route_and_request() -> Result<()> {
    let directory = Directory::new();
    let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
    let urls = [url("old.sqlite3"), url("new.sqlite3")];
    let stores = [Store::open(Book::Old, &urls[0], PEOPLE).await?, Store::open(Book::New, &urls[1], PEOPLE).await?];
    let services = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let upstreams = [(UPSTREAMS[0], services[0].port, urls[0].as_str()), (UPSTREAMS[1], services[1].port, urls[1].as_str())];
    let rules = [("notebook.toml", RULES), ("shop.toml", SHOP)];
    let bare = Bare::start_over(directory.path(), &upstreams, &rules).await?;
    let operator = bare.operator()?;

    // GIVEN one that may be cut over, and requests of both; what is pinned or belongs to nobody does not count
    operator.type_in(&["advance", NAME]).await?;
    operator.until_phase(NAME, "shadowing", PATIENCE).await?;
    ask(&bare, "/notes/1", 12).await?;
    ask(&bare, "/shop/prices", 8).await?;
    ask(&bare, "/shop/admin/users", 3).await?;
    ask(&bare, "/elsewhere", 5).await?;
    let (gone, page) = until_counted(&operator, 20).await?;
    let part = |moved: u64, of: u64| json!({ "moved": moved, "of": of });
    let expected = json!({ "capabilities": part(0, 2), "routes": part(0, 4), "tables": part(0, 4), "requests": part(0, 20) });
    ensure!(gone == expected, "{gone}");
    ensure!(page == "gone: 0 of 2 capabilities, 0 of 4 routes, 0 of 4 tables, 0% of their latest requests", "{page}");

    // WHEN one has moved, and others are asked THEN each figure is exact
    operator.until_accepted("cutover", NAME, PATIENCE).await?;
    operator.until_phase(NAME, "soaking", PATIENCE).await?;
    ask(&bare, "/notes/2", 15).await?;
    ask(&bare, "/shop/shelves/1", 5).await?;
    let (gone, page) = until_counted(&operator, 40).await?;
    let expected = json!({ "capabilities": part(1, 2), "routes": part(1, 4), "tables": part(2, 4), "requests": part(15, 40) });
    ensure!(gone == expected, "{gone}");
    ensure!(page == "gone: 1 of 2 capabilities, 1 of 4 routes, 2 of 4 tables, 37% of their latest requests", "{page}");

    // WHEN it goes back THEN nothing is gone, and what was asked of it stays counted
    operator.until_accepted("revert", NAME, PATIENCE).await?;
    operator.until_phase(NAME, "reverted", PATIENCE).await?;
    let (gone, _) = until_counted(&operator, 40).await?;
    let expected = json!({ "capabilities": part(0, 2), "routes": part(0, 4), "tables": part(0, 4), "requests": part(15, 40) });
    ensure!(gone == expected, "{gone}");
    drop(bare);
    directory.passed();
    Ok(())
}
