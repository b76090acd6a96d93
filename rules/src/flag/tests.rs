#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::route::PlainRequest;
use crate::spec::{self, Known};
use crate::wire::RuleFile;

const NOW: Timestamp = Timestamp(1_000);

fn flags(text: &str) -> Flags {
    let file = RuleFile { name: "flags.toml".into(), text: text.into() };
    spec::load(&[file], &Known::default()).unwrap_or_else(|complaints| panic!("{complaints:?}")).rules.flags
}

fn request() -> PlainRequest {
    PlainRequest::new("GET", "/page/?a=1").unwrap().with_host("north.example.test")
}

fn user(id: &str) -> Caller {
    Caller { user: Some(id.to_owned()), ..Caller::default() }
}

fn over(on: bool, variant: Option<&str>, expires: Option<Timestamp>) -> FlagOverride {
    FlagOverride { on, variant: variant.map(Into::into), expires, note: String::new() }
}

fn found(flags: &Flags, overrides: &FlagOverrides, name: &str, request: &PlainRequest, caller: &Caller) -> (Value, Reason) {
    let evaluation = evaluate(flags, overrides, name, &OfRequest { request, caller }, NOW).unwrap();
    (evaluation.value.clone(), evaluation.reason)
}

const SWITCH: &str =
    "[flag.new-profile]\nusers_on = [7]\nusers_off = [8]\nheaders_on = { x-preview = \"yes\" }\ncookies_on = { preview = \"1\" }\n";

#[test]
fn an_override_wins_until_it_expires() {
    let (plain, killed) = (flags(SWITCH), flags(&format!("{SWITCH}killed = true\n")));
    let with = |over| FlagOverrides::from([("new-profile".to_owned(), over)]);
    let on = |flags: &Flags, over, id: &str| is_on(flags, &with(over), "new-profile", &request(), &user(id), NOW);
    assert!(on(&killed, over(true, None, None), "8"));
    assert!(!on(&plain, over(false, None, Some(Timestamp(1_001))), "7"));
    assert!(on(&plain, over(false, None, Some(NOW)), "7"));
    assert!(!on(&plain, over(true, Some("blue"), None), "9"), "a variant that there is not says nothing");
}

#[test]
fn targets_come_before_share_and_default_and_a_killed_flag_before_all() {
    let on = |more: &str, request: &PlainRequest, caller: &Caller| {
        is_on(&flags(&format!("{SWITCH}{more}")), &FlagOverrides::new(), "new-profile", request, caller, NOW)
    };
    let preview = request().with_header("X-Preview", "yes");
    assert!(!on("killed = true\ndefault = true\n", &request(), &user("7")));
    assert!(!on("percentage = \"100%\"\ndefault = true\n", &preview, &user("8")));
    assert!(on("", &request(), &user("7")));
    assert!(on("", &preview, &user("9")));
    assert!(on("", &request().with_header("Cookie", "a=b; preview=1"), &user("9")));
    assert!(!on("", &request().with_header("Cookie", "preview=10"), &user("9")));
    assert!(!on("percentage = \"0%\"\ndefault = true\n", &request(), &user("9")));
    assert!(on("percentage = \"0%\"\ndefault = true\n", &request(), &Caller::default()), "nobody to count: the default");
    assert!(on("percentage = \"100%\"\n", &request(), &Caller { anonymous: Some("a".into()), ..Caller::default() }));
}

#[test]
fn variants_are_values_of_one_kind() {
    let flags = flags(
        "[flag.size]\nvariants = { small = 20, large = 100 }\ndefault = \"small\"\n[[flag.size.rule]]\nusers = [7]\nattributes = { host = [\"north.example.test\"] }\nserve = \"large\"\n\
         [flag.look]\nvariants = { old = { color = \"grey\" }, new = { color = \"blue\", round = true } }\ndefault = \"old\"\nsplit = { new = \"100%\" }\n",
    );
    let none = FlagOverrides::new();
    let elsewhere = PlainRequest::new("GET", "/page/").unwrap().with_host("south.example.test");
    assert_eq!(found(&flags, &none, "size", &request(), &user("7")), (json!(100), Reason::Targeted));
    assert_eq!(found(&flags, &none, "size", &elsewhere, &user("7")), (json!(20), Reason::Default));
    assert_eq!(found(&flags, &none, "look", &request(), &user("8")), (json!({"color": "blue", "round": true}), Reason::Split));
    let set = FlagOverrides::from([("size".to_owned(), over(false, Some("large"), None))]);
    assert_eq!(found(&flags, &set, "size", &request(), &user("8")), (json!(100), Reason::Override));
    assert!(evaluate(&flags, &none, "other", &OfRequest { request: &request(), caller: &user("7") }, NOW).is_none());
}

#[test]
fn a_flag_that_lacks_what_it_requires_is_off() {
    let text = "[flag.base]\nusers_on = [7]\n[flag.middle]\nrequires = [\"base\"]\ndefault = true\n\
                [flag.top]\nrequires = { middle = \"on\" }\nvariants = { a = \"A\", b = \"B\" }\ndefault = \"a\"\noff = \"b\"\n";
    let flags = flags(text);
    let none = FlagOverrides::new();
    assert_eq!(found(&flags, &none, "top", &request(), &user("7")), (json!("A"), Reason::Default));
    assert_eq!(found(&flags, &none, "top", &request(), &user("9")), (json!("B"), Reason::Prerequisite));
    let base_off = FlagOverrides::from([("base".to_owned(), over(false, None, None))]);
    assert_eq!(found(&flags, &base_off, "top", &request(), &user("7")), (json!("B"), Reason::Prerequisite));
}

#[test]
fn what_a_client_says_is_read_as_a_request_is() {
    let flags = flags(&format!(
        "{SWITCH}[flag.plan]\nvariants = {{ free = 1, pro = 2 }}\ndefault = \"free\"\n[[flag.plan.rule]]\nattributes = {{ plan = [\"gold\"], beta = [\"true\"] }}\nserve = \"pro\"\n"
    ));
    let none = FlagOverrides::new();
    let ask = |key: &str, context: Value| {
        let said = ofrep::Said::read(json!({ "context": context }).to_string().as_bytes()).unwrap();
        ofrep::single(&flags, &none, key, &said, NOW)
    };
    let value = |answer: ofrep::Answer| (answer.0, answer.1["value"].clone(), answer.1["reason"].clone());
    assert_eq!(value(ask("new-profile", json!({"targetingKey": "7"}))), (200, json!(true), json!("TARGETING_MATCH")));
    assert_eq!(
        value(ask("new-profile", json!({"targetingKey": "8", "headers": {"X-Preview": "yes"}}))),
        (200, json!(false), json!("TARGETING_MATCH"))
    );
    assert_eq!(value(ask("new-profile", json!({"cookies": {"preview": "1"}}))), (200, json!(true), json!("TARGETING_MATCH")));
    assert_eq!(value(ask("plan", json!({"plan": "gold", "beta": true}))), (200, json!(2), json!("TARGETING_MATCH")));
    assert_eq!(ask("nothing", json!({})).0, 404);
    assert_eq!(ofrep::bulk(&flags, &none, &ofrep::Said::default(), NOW)["flags"].as_array().unwrap().len(), 2);
    for (body, code) in [("{", "PARSE_ERROR"), ("[]", "INVALID_CONTEXT"), ("{\"context\": 7}", "INVALID_CONTEXT")] {
        assert_eq!(ofrep::Said::read(body.as_bytes()).unwrap_err().1["errorCode"], code, "{body}");
    }
    assert!(ofrep::Said::read(b"").is_ok());
}

#[test]
fn a_flag_expires_on_its_day() {
    let day = Flag { expires: Some("1970-01-02".parse().unwrap()), ..flags(SWITCH)["new-profile"].clone() };
    assert!(!day.is_expired(Timestamp(86_399_999)) && day.is_expired(Timestamp(86_400_000)));
}

fn some_switch() -> impl Strategy<Value = String> {
    let ids = || prop::collection::btree_set(0..6_u32, 0..3);
    (any::<bool>(), any::<bool>(), ids(), ids(), prop::option::of(0..=100_u32), any::<bool>()).prop_map(
        |(killed, default, on, off, share, header)| {
            let on: Vec<u32> = on.difference(&off).copied().collect();
            let off: Vec<u32> = off.into_iter().collect();
            let share = share.map_or(String::new(), |share| format!("percentage = \"{share}%\"\n"));
            let header = if header { "headers_on = { x-h = \"1\" }\n" } else { "" };
            format!("[flag.f]\nkilled = {killed}\ndefault = {default}\nusers_on = {on:?}\nusers_off = {off:?}\n{share}{header}")
        },
    )
}

/// A flag as its file says, read off the text without any of the code above.
fn naive(text: &str, user: Option<u32>, header: bool) -> bool {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    let list = |key: &str| {
        line(key).unwrap_or("[]").trim_matches(['[', ']']).split(", ").filter_map(|id| id.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    if line("killed") == Some("true") {
        return false;
    }
    if user.is_some_and(|user| list("users_off").contains(&user)) {
        return false;
    }
    if user.is_some_and(|user| list("users_on").contains(&user)) || (header && line("headers_on").is_some()) {
        return true;
    }
    match (line("percentage"), user) {
        (Some(share), Some(user)) => {
            let share: u64 = share.trim_matches(['"', '%']).parse().unwrap();
            u64::from(crate::bucket::murmur3_32(format!("f:user:{user}").as_bytes(), 0)) * 1_000_000 / (1 << 32) < share * 10_000
        }
        _ => line("default") == Some("true"),
    }
}

proptest! {
    #[test]
    fn a_switch_is_what_its_file_says_in_the_gateway_and_over_ofrep(text in some_switch(), id in prop::option::of(0..8_u32), header: bool) {
        let flags = flags(&text);
        let none = FlagOverrides::new();
        let request = if header { request().with_header("x-h", "1") } else { request() };
        let caller = id.map_or_else(Caller::default, |id| user(&id.to_string()));
        let expected = naive(&text, id, header);
        prop_assert_eq!(is_on(&flags, &none, "f", &request, &caller, NOW), expected, "{}", text);
        let mut context = json!({});
        if let Some(id) = id { context["targetingKey"] = json!(id.to_string()); }
        if header { context["headers"] = json!({"x-h": "1"}); }
        let said = ofrep::Said::read(json!({ "context": context }).to_string().as_bytes()).unwrap();
        prop_assert_eq!(&ofrep::single(&flags, &none, "f", &said, NOW).1["value"], &json!(expected));
    }

    #[test]
    fn a_growing_share_takes_nothing_away(id in 0..100_000_u32, small in 0..=50_u32, more in 0..=50_u32) {
        let split = |share: u32| Split { shares: vec![("a".into(), crate::Share::from_millionths(200_000)), ("b".into(), crate::Share::from_millionths(share * 10_000))], rest: "c".into() };
        let unit = format!("user:{id}");
        let (first, then) = (split(small).of("s", &unit).to_owned(), split(small + more).of("s", &unit).to_owned());
        prop_assert!(first == then || first == "c", "{} became {}", first, then);
    }
}
