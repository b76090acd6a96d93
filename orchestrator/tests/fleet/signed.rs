//! Every change that the description of the admin API knows, one after the other on the way of a capability: the journal says by
//! whom and from where. A call or a wish that is new has to be made here, too.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use ficus_orchestrator::{Role, Tokens};
use ficus_rules::api::{CapabilityStatus, JournalEntry};
use ficus_rules::migration::Phase;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Http, RULES, World};

/// Not the one that everything else comes from.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A call, as the description names it.
type Call = (&'static str, &'static str, &'static str);

const WISH: &str = "/api/v1/capabilities/{name}/{wish}";
const PINS: &str = "/api/v1/pins";
const FLAG: &str = "/api/v1/flags/{name}";

/// Who makes the changes, from an address of their own; and which they have made.
struct Desk {
    world: World,
    http: Http,
    made: BTreeSet<(String, String, String)>,
    /// Lines of the journal about them: an abort has two.
    lines: usize,
}

impl Desk {
    async fn start() -> Desk {
        let world = World::start(|config| {
            std::fs::write(config.rules_dir.join("flags.toml"), "[flag.new-profile]\ndefault = false\n").expect("it writes");
            config.tokens = Tokens::new([("night-shift", Role::Operator, "night"), ("ada", Role::Admin, "admin-secret")]);
        })
        .await;
        let http = world.http.from(HERE);
        Desk { world, http, made: BTreeSet::new(), lines: 0 }
    }

    /// Makes a change and looks for what is written of it.
    async fn makes(&mut self, (method, path, wish): Call, body: Value) {
        let what = format!("{method} {} {wish}", path.replace("{name}", "users"));
        let says = format!("grace-{}", self.made.len());
        let (token, secret) = if path.ends_with("retire") { ("ada", "admin-secret") } else { ("night-shift", "night") };
        *self.http.token.lock().expect("not poisoned") = Some(secret.into());
        let mut body = body;
        (body["by"], body["reason"]) = (json!(says), json!(format!("because of {what}")));
        let flag = path == FLAG;
        let address = path.replace("{name}", if flag { "new-profile" } else { "users" }).replace("{wish}", wish);
        let method: Method = method.parse().expect("a method");
        // Right after something else, gateway and agent may be a moment behind.
        let begun = std::time::Instant::now();
        loop {
            let (status, answer) = self.http.send(method.clone(), &address, Some(body.to_string())).await;
            if status == StatusCode::OK {
                break;
            }
            assert!(status == StatusCode::CONFLICT && begun.elapsed().as_secs() < 15, "{what}: {status} {answer}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let journal: Vec<JournalEntry> = self.world.http.get("/api/v1/journal?limit=1000").await;
        let by = format!("{says} ({token})");
        let written: Vec<_> = journal.iter().filter(|entry| entry.by.as_deref() == Some(&by)).collect();
        assert!(!written.is_empty(), "{what} is not written down as {by}'s: {journal:?}");
        for entry in &written {
            assert_eq!(entry.line.detail["origin"], json!({ "token": token, "address": HERE.to_string() }), "{what}: {entry:?}");
            assert_eq!(entry.line.detail["reason"], json!(format!("because of {what}")), "{what}: {entry:?}");
        }
        self.lines += written.len();
        let mine = |entry: &&JournalEntry| entry.line.detail["origin"]["address"] == HERE.to_string();
        assert_eq!(journal.iter().filter(mine).count(), self.lines, "{what}: nothing else is from there");
        let new = self.made.insert((method.as_str().to_owned(), path.to_owned(), wish.to_owned()));
        assert!(new, "{what} is made twice");
    }

    async fn wishes(&mut self, wish: &'static str) {
        self.makes(("POST", WISH, wish), json!({})).await;
    }

    async fn until(&self, what: &str, done: impl Fn(&CapabilityStatus) -> bool) {
        self.world.until(what, done).await;
    }

    /// It waits for somebody to approve the cutover.
    async fn until_the_cutover(&self) {
        self.until("the cutover step", |s| s.phase == Phase::Ramping && s.step_action.as_deref() == Some("cutover")).await;
    }
}

/// Every call of the description that changes something because a person wishes it.
async fn described(http: &Http) -> BTreeSet<(String, String, String)> {
    let described: Value = http.get("/api/v1/openapi.json").await;
    let mut calls = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        for (method, call) in methods.as_object().expect("methods") {
            // Gateways and agents report what is; whoever may only look changes nothing.
            if method == "get" || !matches!(call["x-role"].as_str(), Some("operator" | "admin")) {
                continue;
            }
            let parameters = call["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            let words = parameters.iter().find(|one| one["name"] == "wish").map(|one| one["schema"]["enum"].as_array().expect("words"));
            let words: Vec<&str> = words.map_or(vec![""], |words| words.iter().filter_map(Value::as_str).collect());
            calls.extend(words.into_iter().map(|word| (method.to_uppercase(), path.clone(), word.to_owned())));
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_the_api_is_in_the_journal_by_whom_and_from_where() {
    let mut desk = Desk::start().await;
    let described = described(&desk.world.http).await;
    assert!(described.len() >= 15, "they are not found any more: {described:?}");

    desk.wishes("hold").await;
    desk.makes(("POST", WISH, "release"), json!({ "hold": format!("because of POST {WISH} hold").replace("{name}", "users") })).await;
    desk.makes(("PUT", FLAG, ""), json!({ "on": true })).await;
    desk.makes(("DELETE", FLAG, ""), json!({})).await;
    desk.makes(("POST", PINS, ""), json!({ "capability": "users", "side": "legacy" })).await;
    desk.makes(("DELETE", PINS, ""), json!({ "capability": "users" })).await;
    // Nobody else reads them before: the watcher looks every tenth of a second.
    std::fs::write(desk.world.rules_file(), RULES.replace("50%", "60%")).expect("it writes");
    desk.makes(("POST", "/api/v1/reload", ""), json!({})).await;

    desk.wishes("advance").await;
    desk.until_the_cutover().await;
    desk.wishes("verify").await;
    // A cutover that does not end, so that it can be taken back.
    desk.world.agent.refuses.lock().expect("not poisoned").push("end");
    desk.wishes("cutover").await;
    desk.wishes("abort").await;
    desk.world.agent.refuses.lock().expect("not poisoned").clear();
    // Whoever has taken it back lets it go on.
    desk.until("the end of the abort", |s| s.phase == Phase::Ramping && s.stage.is_none()).await;
    desk.wishes("approve").await;
    desk.world.must("release").await;
    desk.until("soaking", |s| s.phase == Phase::Soaking).await;
    desk.world.agent.drift.store(2, Ordering::SeqCst);
    desk.wishes("repair").await;
    desk.wishes("revert").await;
    desk.until("reverted", |s| s.phase == Phase::Reverted).await;
    desk.world.must("cutover").await;
    desk.until("soaking", |s| s.phase == Phase::Soaking).await;
    desk.makes(("POST", "/api/v1/capabilities/{name}/retire", ""), json!({})).await;

    assert_eq!(desk.made, described, "each change of the API is made here, and no other");
}
