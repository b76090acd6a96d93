use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{RELEASE, neighbour};
use crate::wire::{AgentReport, GatewayReport, Orders, Published, QuarantineReport, ReportAnswer};

#[path = "../../../tests/support/release.rs"]
mod neighbours;

use neighbours::{first, narrowed, widened};

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

/// Reads what release 1 sent, and what a later one would send; what is sent here is what release 1 sent, as far as that one sees.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(message: Value) -> T {
    let read: T = serde_json::from_value(message.clone()).unwrap_or_else(|error| panic!("{error}: {message}"));
    let whole = serde_json::to_value(&read).expect("it is JSON");
    let wide = widened(&whole);
    assert_ne!(wide, whole);
    let again: T = serde_json::from_value(wide.clone()).unwrap_or_else(|error| panic!("{error}: {wide}"));
    assert_eq!(again, read);
    assert_eq!(narrowed(&whole, &message), message, "the release before reads this");
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

#[test]
fn messages_of_the_release_before_are_understood_and_understand() {
    let gateway: GatewayReport = read(first("gateway_report"));
    assert_eq!((gateway.started, gateway.serial, gateway.capabilities["users"].held), (0, 0, 2));
    let answer: ReportAnswer = read(first("report_answer"));
    assert!(answer.changes.is_empty());
    assert_eq!((answer.log_outs, answer.log_outs_heard), Default::default());
    assert_eq!((gateway.log_outs, gateway.log_outs_heard), Default::default());
    let agent: AgentReport = read(first("agent_report"));
    assert_eq!((agent.capabilities["users"].generation, agent.capabilities["users"].busy.as_ref()), (None, None));
    let published: Published = read(first("published"));
    assert_eq!(published.overrides.flags["new"].variant(), "on");
    let _: Orders = read(first("orders"));
    let _: QuarantineReport = read(first("quarantine_report"));
}
