//! Answers that are kept: for whom, for how long, and what ends it.

use std::collections::BTreeMap;
use std::time::Duration;

use ficus_proxy::Upstream;
use ficus_rules::Timestamp;
use ficus_rules::migration::Phase;
use ficus_rules::wire::{Freshness, Published, ReportAnswer, RuleFile, Serving};

use super::rules::publish;
use super::support::{Got, Origin, World, full, now, ramping, soaking};

const ROUTES: &str = r#"
[[route]]
path = "/kept/{*rest}"
csrf = false
cache = { at_most = "1h" }

[[route]]
path = "/said/{*rest}"
csrf = false
fallback_on = [404, 503]
cache = { at_most = "1h", by_default = "1h" }

[[route]]
path = "/other/{*rest}"
csrf = false
"#;

async fn kept(headers: &[(&'static str, &'static str)]) -> World {
    let world = World::start().await;
    publish(&world, ROUTES, soaking());
    *world.modern.state.thing.lock().unwrap() = "one".into();
    *world.modern.state.headers.lock().unwrap() = headers.to_vec();
    world
}

impl World {
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send("GET", path, headers, full("")).await
    }

    /// How often the new service was asked.
    fn asked(&self, path: &str) -> usize {
        self.modern.seen(path).iter().filter(|seen| seen.method == "GET").count()
    }
}

const GOOD: &[(&str, &str)] = &[("cache-control", "max-age=600")];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_as_it_is_and_says_how_old_it_is() {
    let world = kept(&[("cache-control", "max-age=600"), ("etag", "\"7\""), ("x-own", "yes")]).await;
    let first = world.ask("/kept/thing", &[]).await;
    let second = world.ask("/kept/thing", &[]).await;
    assert_eq!((first.status, first.header("cache-status"), &first.body[..]), (200, "", &b"one"[..]));
    assert_eq!((second.status, second.header("cache-status"), &second.body[..]), (200, "ficus; hit", &b"one"[..]));
    assert_eq!((second.header("x-own"), second.header("content-type"), second.side()), ("yes", "application/json", "modern"));
    assert!(second.headers.contains_key("age") && first.header("x-request-id") != second.header("x-request-id"));
    assert_eq!(world.ask("/kept/thing", &[("if-none-match", "\"7\"")]).await.status, 304);
    assert_eq!(world.asked("/kept/thing"), 1);
    world.ask("/kept/thing?a=1", &[]).await;
    world.ask("/kept//thing", &[]).await;
    world.ask("/kept/thing", &[("cache-control", "no-cache")]).await;
    world.ask("/kept/thing", &[("range", "bytes=0-1")]).await;
    world.ask("/kept/thing", &[("host", "other.test")]).await;
    let asked = world.asked("thing");
    assert!((5..=6).contains(&asked), "each another question (one of them may be refused): {asked}");
    world.ask("/other/thing", &[]).await;
    world.ask("/other/thing", &[]).await;
    assert_eq!(world.asked("/other/thing"), 2, "this route does not ask for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_decides() {
    for (headers, times) in [
        (&[][..], 2),
        (&[("cache-control", "no-store, max-age=9")][..], 2),
        (&[("cache-control", "private, max-age=600")][..], 2),
        (&[("cache-control", "max-age=600"), ("set-cookie", "a=b")][..], 2),
        (&[("cache-control", "max-age=600"), ("vary", "*")][..], 2),
        (GOOD, 1),
    ] {
        let world = kept(headers).await;
        for _ in 0..2 {
            assert_eq!(world.ask("/kept/thing", &[]).await.status, 200);
        }
        assert_eq!(world.asked("/kept/thing"), times, "{headers:?}");
    }
    let world = kept(&[]).await;
    for _ in 0..2 {
        world.ask("/said/thing", &[]).await;
    }
    assert_eq!(world.asked("/said/thing"), 1, "the route says it");
    let world = kept(&[("cache-control", "max-age=600"), ("vary", "accept-language")]).await;
    for language in ["de", "en", "de", "en"] {
        world.ask("/kept/thing", &[("accept-language", language)]).await;
    }
    assert_eq!(world.asked("/kept/thing"), 2);
    let world = kept(&[("cache-control", "max-age=1")]).await;
    world.ask("/kept/thing", &[]).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.ask("/kept/thing", &[]).await;
    assert_eq!(world.asked("/kept/thing"), 2);
}

/// What legacy answers in modern's place is legacy's, for this once: nobody gets it as modern's later.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_fallback_answers_is_not_kept() {
    let says = |origin: &Origin, thing: &str, status: u16| {
        *origin.state.thing.lock().unwrap() = thing.to_owned();
        *origin.state.headers.lock().unwrap() = GOOD.to_vec();
        origin.state.status.store(status, std::sync::atomic::Ordering::Relaxed);
    };
    let world = World::start().await;
    publish(&world, ROUTES, ramping(100));
    says(&world.legacy, "old", 0);
    for status in [404, 503] {
        says(&world.modern, "no", status);
        let fallen = world.ask("/said/thing", &[]).await;
        assert_eq!((fallen.status, fallen.side(), &fallen.body[..]), (200, "legacy", &b"old"[..]));
    }
    assert_eq!(world.legacy.seen("/said/thing").len(), 2, "each time anew");
    says(&world.modern, "new", 0);
    for hit in ["", "ficus; hit"] {
        let read = world.ask("/said/thing", &[]).await;
        assert_eq!((read.side(), &read.body[..], read.header("cache-status")), ("modern", &b"new"[..], hit));
    }

    let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), Upstream::at("127.0.0.1:9")))).await;
    publish(&world, ROUTES, ramping(100));
    says(&world.legacy, "old", 0);
    for _ in 0..2 {
        let fallen = world.ask("/kept/thing", &[]).await;
        assert_eq!((fallen.side(), &fallen.body[..], fallen.header("cache-status")), ("legacy", &b"old"[..], ""));
    }
    assert_eq!(world.legacy.seen("/kept/thing").len(), 2, "modern was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_never_mixed() {
    let world = kept(&[("cache-control", "private, max-age=600")]).await;
    let callers = [
        ("cookie", "sessionid=a"),
        ("cookie", "sessionid=b"),
        ("cookie", "sessionid=a; other=1"),
        ("authorization", "Bearer a"),
        ("authorization", "Bearer b"),
    ];
    for (nth, caller) in callers.iter().enumerate() {
        let own = format!("caller {nth}");
        (*world.modern.state.thing.lock().unwrap()).clone_from(&own);
        let got = world.ask("/kept/thing", &[*caller]).await;
        assert_eq!((got.body, got.headers.contains_key("age")), (own.into(), false));
    }
    for (nth, caller) in callers.iter().enumerate() {
        let got = world.ask("/kept/thing", &[*caller]).await;
        assert_eq!((got.body, got.headers.contains_key("age")), (format!("caller {nth}").into(), true));
    }
    assert_eq!(world.asked("/kept/thing"), 5);
    let got = world.ask("/kept/thing", &[]).await;
    assert!(!got.headers.contains_key("age"), "a stranger gets nobody's");
}

/// Whom a session or a password does not tell apart, a header may: one that is configured, or that a limit counts by.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_a_header_tells_apart_are_never_mixed() {
    let world = World::with(|config| config.cache.known_by.push("x-partner".into())).await;
    let limited = "[[route]]\npath = \"/limited/{*rest}\"\ncsrf = false\ncache = { at_most = \"1h\" }\n[route.plugins.rate_limit]\n\
                   quotas = [\"1000/s\"]\nby = [\"user\", \"header:x-tenant\"]\n";
    publish(&world, &format!("{ROUTES}{limited}"), soaking());
    *world.modern.state.headers.lock().unwrap() = GOOD.to_vec();
    let ask = async |path: &str, caller: &[(&str, &str)], now: &str| {
        now.clone_into(&mut world.modern.state.thing.lock().unwrap());
        let got = world.ask(path, caller).await;
        (String::from_utf8(got.body.to_vec()).unwrap(), got.headers.contains_key("age"))
    };
    let told = |body: &str, kept: bool| (body.to_owned(), kept);
    for (path, header) in
        [("/kept/thing", "x-api-key"), ("/kept/thing", "X-Auth-Token"), ("/kept/thing", "x-partner"), ("/limited/thing", "x-tenant")]
    {
        assert_eq!(ask(path, &[(header, "a")], "a's").await, told("a's", false), "{header}");
        assert_eq!(ask(path, &[(header, "b")], "b's").await, told("b's", false), "{header}");
        assert_eq!(ask(path, &[(header, "a")], "c's").await, told("a's", true), "{header}");
    }
    assert_eq!(ask("/kept/thing", &[], "all's").await, told("all's", false), "a stranger gets nobody's");
    assert_eq!(ask("/kept/thing", &[("x-tenant", "a")], "a's").await, told("all's", true), "it tells nobody apart on this route");
}

/// Whom a limit counts together may be many, and what it says of one request is no part of an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_makes_no_answer_private_and_tells_each_request_what_is_left() {
    let world = World::start().await;
    let limited = "[[route]]\npath = \"/limited/{*rest}\"\ncsrf = false\ncache = { at_most = \"1h\" }\n[route.plugins.rate_limit]\n\
                   quotas = [\"4/h\"]\nby = \"header:x-tenant\"\n";
    publish(&world, limited, soaking());
    *world.modern.state.thing.lock().unwrap() = "one".into();
    let ask = async |tenant: &'static str| {
        let got = world.ask("/limited/thing", &[("x-tenant", tenant)]).await;
        let left: Vec<_> = got.headers.get_all("ratelimit-remaining").iter().map(|left| left.to_str().unwrap().to_owned()).collect();
        (got.status, got.header("cache-status").to_owned(), left.join(" and "))
    };
    let told = |status: u16, cache: &str, left: &str| (status, cache.to_owned(), left.to_owned());
    *world.modern.state.headers.lock().unwrap() = vec![("cache-control", "private, max-age=600")];
    assert_eq!([ask("many").await, ask("many").await], [told(200, "", "3"), told(200, "", "2")], "it is one caller's");
    *world.modern.state.headers.lock().unwrap() = GOOD.to_vec();
    let hit = "ficus; hit";
    assert_eq!([ask("a").await, ask("a").await, ask("a").await], [told(200, "", "3"), told(200, hit, "2"), told(200, hit, "1")]);
    assert_eq!([ask("b").await, ask("b").await], [told(200, "", "3"), told(200, hit, "2")], "of its own");
    assert_eq!([ask("a").await, ask("a").await], [told(200, hit, "0"), told(429, "", "0")], "what is kept is counted as well");
    assert_eq!(ask("b").await, told(200, hit, "1"), "and a refusal is not kept");
    assert_eq!(world.asked("/limited/thing"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_a_change_and_whatever_is_published_end_it() {
    let world = kept(GOOD).await;
    let fresh = |changes: u64| {
        let changes = BTreeMap::from([("users".to_owned(), changes)]);
        world.gateway.answered(&ReportAnswer {
            generation: world.gateway.generation(),
            valid_for_ms: 60_000,
            changes,
            ..ReportAnswer::default()
        });
    };
    fresh(10);
    let mut asked = 0;
    let mut is_asked_anew = async |what: &str, anew: bool| {
        world.ask("/kept/thing", &[]).await;
        assert_eq!(world.asked("/kept/thing") - asked, usize::from(anew), "{what}");
        asked = world.asked("/kept/thing");
    };
    is_asked_anew("first", true).await;
    is_asked_anew("kept", false).await;
    world.send("POST", "/other/1", &[], full("body")).await;
    is_asked_anew("a write to another route of the capability", true).await;
    is_asked_anew("kept", false).await;
    fresh(10);
    is_asked_anew("no change", false).await;
    fresh(11);
    is_asked_anew("a change that the agent met", true).await;
    fresh(3);
    is_asked_anew("an agent that counts anew", true).await;
    publish(&world, ROUTES, soaking());
    is_asked_anew("a new generation", true).await;
    is_asked_anew("kept", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_write_overtook_is_not_kept() {
    let world = kept(GOOD).await;
    let (slow, _) = tokio::join!(world.ask("/kept/thing/slow/800", &[]), async {
        super::support::eventually("the read is under way", || world.asked("/slow/800") == 1).await;
        world.send("POST", "/other/1", &[], full("body")).await
    });
    assert_eq!(slow.status, 200);
    let again = world.ask("/kept/thing/slow/800", &[]).await;
    assert!(!again.headers.contains_key("age"));
    assert_eq!(world.asked("/slow/800"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_elsewhere_gets_no_answer_from_before_it() {
    let (world, elsewhere) = (kept(GOOD).await, World::start().await);
    world.ask("/kept/thing", &[]).await;
    assert!(world.ask("/kept/thing", &[]).await.headers.contains_key("age"));
    // The other gateway has the same key; its marker speaks of the same capability and epoch.
    elsewhere.serve(soaking());
    let written = elsewhere.send("POST", "/api/v1/users/1/", &[], full("body")).await;
    let marker = written.cookie(ficus_rules::marker::COOKIE).unwrap();
    let cookie = format!("{}={marker}", ficus_rules::marker::COOKIE);
    let got = world.ask("/kept/thing", &[("cookie", &cookie)]).await;
    assert!(!got.headers.contains_key("age"), "asked for anew");
    assert!(world.ask("/kept/thing", &[]).await.headers.contains_key("age"), "for all others it is as good as before");
}

/// Also where nothing moves, and where the write went to something that is joined.
#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_elsewhere_gets_no_older_answer_whatever_moves_and_whatever_is_joined() {
    let capability =
        |name: &str, more: &str| format!("[capability]\nname = \"{name}\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n{more}");
    let grades = "[[route]]\npath = \"/grades/{*rest}\"\ncsrf = false\n[[route]]\npath = \"/admin/{*rest}\"\npin = \"legacy\"\n";
    let file = |name: &str, more: &str| RuleFile { name: format!("{name}.toml"), text: capability(name, more) };
    let rules = vec![file("users", &format!("depends_on = [\"grades\"]\n{ROUTES}")), file("grades", grades)];
    for (phase, epoch) in [(Phase::Draft, 0), (Phase::Ramping, 1), (Phase::Retired, 3)] {
        let (here, elsewhere) = (World::start().await, World::start().await);
        for (world, epoch) in [(&here, epoch), (&elsewhere, 7)] {
            let serving = Serving { phase, epoch, ..ramping(0) };
            let capabilities =
                BTreeMap::from([("users".to_owned(), serving.clone()), ("grades".to_owned(), Serving { epoch: 7, ..serving })]);
            let published = Published { generation: 1, rules_generation: 1, rules: rules.clone(), capabilities, ..Published::default() };
            world.gateway.publish(published).unwrap();
            world.confirm();
            *world.legacy.state.thing.lock().unwrap() = "one".into();
            *world.legacy.state.headers.lock().unwrap() = GOOD.to_vec();
        }
        here.ask("/kept/thing", &[]).await;
        assert_eq!(here.ask("/kept/thing", &[]).await.header("cache-status"), "ficus; hit");
        for written in ["/other/1", "/grades/1", "/admin/1"] {
            let written = elsewhere.send("POST", written, &[], full("body")).await;
            let marker = written.cookie(ficus_rules::marker::COOKIE).unwrap_or_default();
            let cookie = format!("{}={marker}", ficus_rules::marker::COOKIE);
            let got = here.ask("/kept/thing", &[("cookie", &cookie)]).await;
            assert_eq!((got.status, got.header("cache-status")), (200, ""), "{phase:?}: asked for anew");
            assert_eq!(here.ask("/kept/thing", &[]).await.header("cache-status"), "ficus; hit", "for all others it is good");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sides_have_answers_of_their_own_and_a_fallback_is_not_kept() {
    let world = kept(GOOD).await;
    *world.legacy.state.thing.lock().unwrap() = "legacy".into();
    *world.legacy.state.headers.lock().unwrap() = GOOD.to_vec();
    publish(&world, ROUTES, ramping(100));
    let fresh = |through: Timestamp| {
        let freshness = BTreeMap::from([("users".to_owned(), Freshness { epoch: 1, through })]);
        world.gateway.answered(&ReportAnswer {
            generation: world.gateway.generation(),
            valid_for_ms: 60_000,
            freshness,
            ..ReportAnswer::default()
        });
    };
    fresh(now());
    assert_eq!(world.ask("/kept/thing", &[]).await.body, "one");
    assert_eq!(world.ask("/kept/thing", &[]).await.header("cache-status"), "ficus; hit");
    publish(&world, ROUTES, ramping(0));
    let got = world.ask("/kept/thing", &[]).await;
    assert_eq!((got.body, got.headers.contains_key("age")), ("legacy".into(), false));
    publish(&world, ROUTES, ramping(100));
    fresh(now());
    for _ in 0..2 {
        let got = world.ask("/said/status/404", &[]).await;
        assert_eq!((got.status, got.header("x-origin"), got.header("cache-status")), (404, "monolith", ""), "legacy was asked both times");
    }
}
