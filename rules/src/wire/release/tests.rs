use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{RELEASE, neighbour};
use crate::wire::{AgentReport, GatewayReport, Orders, Published, QuarantineReport, ReportAnswer};

#[test]
fn neighbours_understand_each_other_and_nobody_else_does() {
    for said in [None, Some("1"), Some("2"), Some("3")] {
        assert_eq!(neighbour(said), Ok(()), "{said:?}");
    }
    for said in ["0", "4", "", "-1", "2.0", "next"] {
        assert!(neighbour(Some(said)).is_err(), "{said:?}");
    }
    let newer = neighbour(Some("4")).expect_err("two ahead").to_string();
    assert!(newer.contains("release 4") && newer.contains("the side that says this"), "{newer}");
    assert!(neighbour(Some("0")).expect_err("two behind").to_string().contains("the other side"));
    assert_eq!(RELEASE, 2, "with the next release the silent ones are two away: say so in the upgrade notes");
}

/// Objects whose members are names, not fields.
const MAPS: [&str; 5] = ["capabilities", "flags", "freshness", "changes", "events"];

/// The message as a later release may send it: with a field more in every object.
fn widened(value: &Value, is_map: bool) -> Value {
    match value {
        Value::Object(members) => {
            let mut wide: serde_json::Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), widened(value, MAPS.contains(&name.as_str())))).collect();
            if !is_map {
                wide.insert("of_a_later_release".into(), json!({ "much": ["more"] }));
            }
            wide.into()
        }
        Value::Array(items) => items.iter().map(|item| widened(item, false)).collect(),
        other => other.clone(),
    }
}

/// Reads it as it is, and as a later release would send it.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(message: Value) -> T {
    let read: T = serde_json::from_value(message.clone()).unwrap_or_else(|error| panic!("{error}: {message}"));
    let whole = serde_json::to_value(&read).expect("it is JSON");
    let wide = widened(&whole, false);
    assert_ne!(wide, whole);
    let again: T = serde_json::from_value(wide.clone()).unwrap_or_else(|error| panic!("{error}: {wide}"));
    assert_eq!(again, read);
    read
}

/// What is new since release 2 began: who has a field more or less is understood.
#[test]
fn log_outs_are_understood_by_those_before_and_after() {
    let ended = json!({ "digest": "x", "at": 5, "until": 9 });
    let heard = json!({ "list": "a", "through": 3 });
    let report: GatewayReport = read(json!({
        "gateway": "gw-1", "incarnation": "a", "generation": 7, "trouble": null, "capabilities": {}, "differences": [],
        "log_outs": [ended], "log_outs_heard": heard
    }));
    assert_eq!((report.log_outs[0].undone, report.log_outs_heard.through), (false, 3));
    let answer: ReportAnswer =
        read(json!({ "generation": 7, "valid_for_ms": 5000, "freshness": {}, "log_outs": [ended], "log_outs_heard": heard }));
    assert_eq!((answer.log_outs, answer.log_outs_heard), (report.log_outs, report.log_outs_heard));
}

/// What release 1 sent: kept as it was, and never touched again before release 3.
#[test]
fn messages_of_the_release_before_are_understood() {
    let traffic = json!({ "requests": 3, "errors": 1, "latency": [2, 1] });
    let gateway: GatewayReport = read(json!({
        "gateway": "gw-1", "incarnation": "a", "generation": 7, "trouble": null,
        "capabilities": { "users": {
            "inflight_writes": 1, "held": 2, "legacy": traffic, "modern": traffic,
            "shadow": { "same": 1, "different": 0, "dropped": 0, "failed": 0 }
        } },
        "differences": [{
            "capability": "users", "at": 5, "method": "GET", "path": "/u", "legacy_status": 200, "modern_status": 500, "differences": []
        }]
    }));
    assert_eq!((gateway.started, gateway.serial, gateway.capabilities["users"].held), (0, 0, 2));
    let answer: ReportAnswer =
        read(json!({ "generation": 7, "valid_for_ms": 5000, "freshness": { "users": { "epoch": 1, "through": 4 } } }));
    assert!(answer.changes.is_empty());
    assert_eq!((answer.log_outs, answer.log_outs_heard), Default::default());
    assert_eq!((gateway.log_outs, gateway.log_outs_heard), Default::default());
    let stream = json!({ "live": true, "applied": "0/1", "lag_entries": 0, "lag_seconds": 0.5, "through": 9, "rows": 4 });
    let agent: AgentReport = read(json!({
        "agent": "a", "generation": 7,
        "capabilities": { "users": {
            "epoch": 1, "backfill": { "done": 1, "total": 1, "complete": true }, "forward": stream, "reverse": stream,
            "fenced": { "legacy": false, "modern": true }, "end": { "token": 1, "position": "0/2", "reached": true },
            "verified": { "token": 1, "done": true, "at": 3, "tables": [{
                "legacy": "a", "modern": "b", "legacy_rows": 1, "modern_rows": 1, "drift_rows": 0, "legacy_root": "x", "modern_root": "x",
                "samples": []
            }] },
            "sequences_raised": 1, "repaired": { "token": 1, "done": true, "rows": 0 }, "quarantined": 0, "removed": false, "trouble": null
        } }
    }));
    assert_eq!((agent.capabilities["users"].generation, agent.capabilities["users"].busy.as_ref()), (None, None));
    let published: Published = read(json!({
        "generation": 7, "rules_generation": 1, "rules": [{ "name": "users.toml", "text": "" }],
        "capabilities": { "users": { "phase": "ramping", "epoch": 0, "owner": "legacy", "reads": 50000, "shadow": 1000000, "fenced": false } },
        "overrides": {
            "pins": [{ "capability": "users", "user": "7", "side": "modern", "expires": 9, "note": "x" }],
            "flags": { "new": { "on": true, "expires": null, "note": "x" } }
        }
    }));
    assert_eq!(published.overrides.flags["new"].variant(), "on");
    let _: Orders = read(json!({
        "generation": 7, "rules": [],
        "capabilities": { "users": {
            "epoch": 1, "owner": "modern", "sync": "run", "may_copy": false, "fenced": { "legacy": true, "modern": false },
            "mark_end": { "token": 1, "side": "legacy" }, "verify": { "token": 1, "scope": "changed" }, "raise_sequences": 1, "repair": null
        } }
    }));
    let _: QuarantineReport = read(json!({ "agent": "a", "rows": [] }));
}
