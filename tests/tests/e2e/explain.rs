//! `ficus explain` says what the gateway then does.

mod asking;
mod logged;
mod sessions;
mod told;
mod unusual;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::{Answer, Http};
use ficus_tests::operator::{Operator, Printed};
use ficus_tests::origin::Origin;
use ficus_tests::world::{Plan, World};
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::Directory;
use asking::{Asking, Dice, Persona, RULES};
use sessions::{FOUND, LOST, Sessions};

/// Those who ask at the same time, each with callers of its own.
const ASKERS: u64 = 4;
/// Requests of each of them in a stage: a thousand and some in all.
const REQUESTS: usize = 28;
/// What an operator types before each stage. What the two words of [`Sessions`] do is no operator's work.
const STAGES: [&[&str]; 11] = [
    &[],
    &["pin users modern --user 3", "pin users modern --user 6", "pin courses modern", "flag share on"],
    &["advance users", "pin courses --clear", "flag share clear"],
    &["advance users", "advance courses", "pin users legacy --user 4", "flag preview on --for 1s"],
    &["advance users", "pin users modern --user 9 --for 1s", "flag preview off"],
    &["advance users", "pin courses legacy --user 7", "flag preview on"],
    &[LOST],
    &[FOUND, "cutover users --wait 20s", "pin users legacy --user 7", "flag preview clear"],
    &["cutover courses --wait 20s", "flag share off", "pin users --clear --user 6"],
    &[LOST],
    &[FOUND, "revert users --wait 20s"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_agrees_with_the_gateway_on_a_thousand_requests_of_all_kinds() -> Result<()> {
    let seed: u64 = std::env::var("FICUS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    let directory = Directory::new();
    let names = ["front", "monolith", "users-service", "annex", "courses-service"];
    let mut origins = Vec::new();
    for name in names {
        origins.push(Origin::start(name).await?);
    }
    let upstreams: Vec<(&str, u16)> = names.into_iter().zip(origins.iter().map(|origin| origin.port)).collect();
    let (sessions, identity) = Sessions::make(directory.path()).await?;
    let bare = Bare::start_with(directory.path(), &upstreams, &RULES, &identity).await?;
    let operator = bare.operator()?;
    let mut askers = Vec::new();
    for number in 0..ASKERS {
        let mut asker =
            Asker { http: bare.http(), operator: operator.clone(), dice: Dice::of(seed * 1_000 + number), personas: Vec::new() };
        for user in 0..6 {
            let user = u32::try_from(1 + number + user * ASKERS)?;
            asker.personas.push(Persona::known(user, sessions.log_in(user).await?));
        }
        askers.push(asker);
    }
    let mut seen = Seen::default();
    for (number, commands) in STAGES.iter().enumerate() {
        for command in *commands {
            match *command {
                LOST | FOUND => sessions.change(command, &bare).await?,
                command => {
                    drop(operator.type_in(&command.split(' ').collect::<Vec<_>>()).await.with_context(|| format!("stage {number}"))?)
                }
            }
        }
        settle(&operator, &bare.admin_url(), commands).await?;
        let asking: Vec<_> = askers.into_iter().map(|asker| tokio::spawn(asker.ask())).collect();
        askers = Vec::new();
        for asked in asking {
            let (asker, more) = asked.await?.with_context(|| format!("stage {number} of FICUS_SEED={seed}"))?;
            askers.push(asker);
            seen.add(&more);
        }
    }
    println!("0 disagreements of seed {seed}: {seen:?}");
    let reasons = [
        "flag_off",
        "identity_unknown",
        "in_cohort",
        "no_route",
        "outside_cohort",
        "override",
        "own_writes",
        "owner_reads",
        "owner_writes",
        "pinned",
    ];
    let missing: Vec<_> = reasons.into_iter().filter(|reason| !seen.because.contains_key(*reason)).collect();
    assert!(missing.is_empty(), "nothing was decided because of {missing:?}");
    let all = [seen.malformed / 2, seen.unidentified, seen.refused, seen.legacy / 20, seen.modern / 20, seen.writes / 20];
    assert!(all.iter().all(|count| *count >= 5), "a test of nothing much: {seen:?}");
    directory.passed();
    Ok(())
}

/// Waits until the gateway decides by the newest state, and what lasts a second has expired.
async fn settle(operator: &Operator, admin: &str, commands: &[&str]) -> Result<()> {
    let expiring = commands.iter().any(|command| command.ends_with("--for 1s"));
    let reached = |status: &Value| status["gateways"][0]["generation"] == status["generation"];
    let http = Http::new(admin, Duration::from_secs(5));
    for capability in ["users", "courses"] {
        // A step that was begun is no longer prepared.
        let begun = |status: &Value| status["phase"] != "backfilling" && status["phase"] != "streaming" && status["switch"].is_null();
        operator.until(capability, "a settled phase", Duration::from_secs(10), begun).await?;
    }
    tokio::time::sleep(Duration::from_millis(if expiring { 1_100 } else { 100 })).await;
    for _ in 0..200 {
        if reached(&http.get("/api/v1/status").await?.json()?) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    anyhow::bail!("the gateway does not take the newest state")
}

/// What was compared.
#[derive(Debug, Default)]
struct Seen {
    malformed: u32,
    /// Answered 503, since nobody knows who asks.
    unidentified: u32,
    refused: u32,
    legacy: u32,
    modern: u32,
    writes: u32,
    because: std::collections::BTreeMap<String, u32>,
}

impl Seen {
    fn add(&mut self, more: &Seen) {
        self.malformed += more.malformed;
        self.unidentified += more.unidentified;
        self.refused += more.refused;
        self.legacy += more.legacy;
        self.modern += more.modern;
        self.writes += more.writes;
        more.because.iter().for_each(|(why, count)| *self.because.entry(why.clone()).or_default() += count);
    }
}

/// Sends requests, and has each of them explained.
struct Asker {
    http: Http,
    operator: Operator,
    dice: Dice,
    personas: Vec<Persona>,
}

impl Asker {
    async fn ask(mut self) -> Result<(Asker, Seen)> {
        let mut seen = Seen::default();
        for _ in 0..REQUESTS {
            let nth = self.dice.0.random_range(0..self.personas.len() + 2);
            if nth >= self.personas.len() {
                self.personas.push(Persona::stranger(&mut self.dice.0));
            }
            let nth = nth.min(self.personas.len() - 1);
            let asking = self.dice.asking(&self.personas[nth]);
            let headers = asking.headers(&self.personas[nth]);
            let mut sent: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sent.push(("host", asking.host));
            let method = Method::from_bytes(asking.method.as_bytes())?;
            let answer = self.http.send(method, &asking.target, &sent, bytes::Bytes::new()).await?;
            // An id that was made for the stranger is known from the answer; it decided already.
            self.personas[nth].take(&answer);
            let command = asking.command(&self.personas[nth], &headers);
            let printed = self.operator.try_type(&command.iter().map(String::as_str).collect::<Vec<_>>()).await?;
            let agreed = compare(&asking, &answer, &printed, &mut seen);
            agreed.with_context(|| {
                format!(
                    "ficus {command:?}\nprints {}{}\nand the gateway answers {} {:?}",
                    printed.out, printed.err, answer.status, answer.headers
                )
            })?;
        }
        Ok((self, seen))
    }
}

/// What was explained against what was done: by whom it was answered, and under which path.
fn compare(asking: &Asking, answer: &Answer, printed: &Printed, seen: &mut Seen) -> Result<()> {
    let status = answer.status.as_u16();
    let (origin, target) = (answer.header("x-origin"), answer.header("x-origin-target"));
    if printed.code != 0 {
        *(if status == 503 { &mut seen.unidentified } else { &mut seen.malformed }) += 1;
        let told = format!("the gateway answers {status}");
        ensure!(matches!(status, 400 | 405 | 503) && printed.err.contains(&told) && origin.is_none(), "refused by one alone");
        return Ok(());
    }
    let explained: Value = serde_json::from_str(&printed.out)?;
    *seen.because.entry(explained["because"].as_str().context("no reason")?.to_owned()).or_default() += 1;
    seen.writes += u32::from(explained["write"] == true);
    let refused = match (&explained["admission"], &explained["csrf"]) {
        (admission, _) if admission == "refuse" => Some(409),
        (_, csrf) if csrf == true && !asking.has_token() => Some(403),
        _ => None,
    };
    if let Some(refusal) = refused {
        seen.refused += 1;
        ensure!(status == refusal && origin.is_none(), "{refusal} was explained");
        return Ok(());
    }
    let side = explained["side"].as_str().context("no side")?;
    let expected = match (explained["capability"].as_str(), side) {
        (None, _) => "front",
        (Some("users"), "legacy") => "monolith",
        (Some("users"), _) => "users-service",
        (Some(_), "legacy") => "annex",
        (Some(_), _) => "courses-service",
    };
    *(if side == "modern" { &mut seen.modern } else { &mut seen.legacy }) += 1;
    ensure!(origin == Some(expected), "{expected} was explained, {origin:?} answered");
    let query = asking.target.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty());
    let expected = match (explained["upstream_path"].as_str(), query) {
        (None, _) => asking.target.clone(),
        (Some(path), None) => path.to_owned(),
        (Some(path), Some(query)) => format!("{path}?{query}"),
    };
    ensure!(target == Some(expected.as_str()), "{expected} was explained, {target:?} was asked for");
    Ok(())
}

/// A real Django, and copies of its rows that may be behind: what a caller wrote, and how fresh the other side is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_agrees_about_callers_who_write_while_rows_are_copied() -> Result<()> {
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
    for number in 0..200 {
        let caller = &mut callers[number % 12];
        let me = format!("/api/v1/users/{}/", caller.id);
        let (method, path) = match dice.random_range(0..8) {
            0 => ("PATCH", me),
            1 => ("HEAD", path(&mut dice, caller.id)),
            _ => ("GET", path(&mut dice, caller.id)),
        };
        let cookie = |name: &str| caller.cookie(name).map(|value| format!("cookie: {name}={value}")).unwrap_or_default();
        let headers = [cookie("sessionid"), cookie("ficus_wrote"), cookie("ficus_anon")];
        let answer = match method {
            "PATCH" => caller.send_json(Method::PATCH, &path, &json!({ "address": format!("no {number}") })).await?,
            method => caller.send(Method::from_bytes(method.as_bytes())?, &path, &[], bytes::Bytes::new()).await?,
        };
        let user = caller.id.to_string();
        let mut words = vec!["explain", method, &path, "--user", &user, "--json"];
        words.extend(headers.iter().filter(|header| !header.is_empty()).flat_map(|header| ["--header", header.as_str()]));
        let Some(did) = answer.header("x-ficus-side").map(ToOwned::to_owned) else {
            let printed = operator.try_type(&words).await?;
            let told = format!("the gateway answers {}", answer.status.as_u16());
            ensure!(printed.code != 0 && printed.err.contains(&told), "{method} {path}: {} and {}", answer.status, printed.err);
            continue;
        };
        let explained: Value = serde_json::from_str(&operator.type_in(&words).await?)?;
        assert_eq!(explained["side"], Value::from(did.as_str()), "{method} {path} for user {user}: {explained:#}");
        sides[usize::from(did == "modern")] += 1;
    }
    println!("200 requests, {} by the monolith, {} by the service, 0 disagreements", sides[0], sides[1]);
    assert!(sides[1] > 20, "half of the callers read from the service");
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
