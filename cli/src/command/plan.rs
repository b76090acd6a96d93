//! `ficus plan`: the path ahead of every capability, and how much of the monolith is gone. Moves nothing.

use std::time::Duration;

use anyhow::{Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use ficus_rules::api::{Ahead, CapabilityAhead, Gone, Part};
use ficus_rules::count;
use ficus_rules::crossing::Order;
use ficus_rules::migration::rehearsal::{After, Leg, OpenNow, SwitchForeseen};
use indicatif::HumanDuration;

use super::status::table::{WIDTH, folded};
use crate::admin::Admin;
use crate::args::Args;

/// Prints it.
pub(crate) async fn execute(args: &Args, capability: Option<&str>, dry_run: bool) -> Result<()> {
    let mut ahead: Ahead = Admin::new(args)?.get("/api/v1/plan").await?;
    if let Some(name) = capability {
        ahead.capabilities.retain(|one| one.name == name);
        if ahead.capabilities.is_empty() {
            bail!("no capability is called `{name}`, or it is retired: nothing lies ahead of it");
        }
    }
    if args.json {
        return super::print_json(&ahead);
    }
    let mut page = String::new();
    if capability.is_none() {
        page += &format!("{}\n", gone(&ahead.gone));
        page += &ahead
            .lasts_ms
            .filter(|ms| *ms > 0)
            .map_or_else(String::new, |ms| format!("ahead: all of it may retire in {} at the earliest\n", span(ms)));
        page.push('\n');
    }
    for one in &ahead.capabilities {
        page += &paragraph(one);
        if dry_run {
            page += &rehearsed(one);
        }
        page.push('\n');
    }
    if ahead.capabilities.is_empty() {
        page += "nothing lies ahead: every capability is retired, or there is none yet\n";
    }
    print!("{}", folded(&page, WIDTH));
    Ok(())
}

fn gone(gone: &Gone) -> String {
    let part = |part: Part, what: &str| format!("{} of {} {what}", part.moved, part.of);
    let share = (gone.requests.moved * 100).checked_div(gone.requests.of);
    let requests = share.map_or_else(String::new, |share| format!(", {share}% of their latest requests"));
    format!("gone: {}, {}, {}{requests}", part(gone.capabilities, "capabilities"), part(gone.routes, "routes"), part(gone.tables, "tables"))
}

fn paragraph(one: &CapabilityAhead) -> String {
    let path = &one.path;
    let joins = if one.depends_on.is_empty() { String::new() } else { format!(", joins tables of {}", one.depends_on.join(", ")) };
    let end = match (path.lasts_ms, &path.ends) {
        (Some(ms), _) => format!("may retire in {} at the earliest", span(ms)),
        (None, Some(why)) => format!("ends early: {why}"),
        (None, None) => String::new(),
    };
    let mut text = format!("{} (wave {}{joins}): {}; {end}\n", one.name, one.wave, one.phase.as_str());
    for key in &one.refers {
        let of = &key.of;
        let follows = match key.order {
            Order::After => format!("{of} moves first"),
            Order::Together => "keys lead back too: move both together, or as one capability".to_owned(),
            Order::Against => format!("{of} has to move first, and its depends_on says the contrary: see `ficus check --live`"),
            Order::Ahead => format!("may go ahead of {of} all the same (`ahead_of`)"),
        };
        text.push_str(&format!("  {}: {follows}\n", key.words()));
    }
    for waiting in &path.in_the_way {
        text.push_str(&format!("  in the way: {}\n", waiting.text));
    }
    text + &table(&path.legs)
}

fn table(legs: &[Leg]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // Beside its margin.
    table.set_width(u16::try_from(WIDTH - 1).unwrap_or(u16::MAX)).set_header(["STEP", "IN", "LASTS", "NEEDS", "GATES"]);
    for leg in legs {
        let begins = if leg.begins_ms == 0 { "now".to_owned() } else { span(leg.begins_ms) };
        let lasts = if leg.name == "draft" || leg.name == "retire" { "-".to_owned() } else { span(leg.lasts_ms) };
        let or_dash = |texts: Vec<&str>| if texts.is_empty() { "-".to_owned() } else { texts.join("; ") };
        let after: Vec<String> = leg.after.iter().map(moved).collect();
        let needs = or_dash(after.iter().map(String::as_str).chain(leg.needs.iter().map(|need| need.text.as_str())).collect());
        table.add_row([leg.name.clone(), begins, lasts, needs, or_dash(leg.gates.iter().map(String::as_str).collect())]);
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

/// Whom it waits for, and until when.
fn moved(after: &After) -> String {
    format!("begins when {} has moved, in {}", after.capability, span(after.moved_ms))
}

/// The next switch, stage by stage, and what that was reckoned from.
fn rehearsed(one: &CapabilityAhead) -> String {
    let (what, switch) = match (&one.path.switch, &one.path.back) {
        (Some(switch), _) => ("the next switch", switch),
        (None, Some(back)) => ("the way back", back),
        (None, None) => return "  rehearsed: no switch lies ahead\n".to_owned(),
    };
    let SwitchForeseen { pause_ms, stages, taken_back, open } = switch;
    let open = open.as_ref().map_or_else(String::new, |open| held_up(one, open));
    let outcome = match taken_back {
        Some(why) => format!("would be taken back after {}: {why}", span(*pause_ms)),
        None => format!("would hold the writes for {}", span(*pause_ms)),
    };
    let stages: Vec<String> = stages.iter().map(|(stage, ms)| format!("{} {}", stage.as_str(), span(*ms))).collect();
    let pace = &one.pace;
    let marked = |name: &str, time: Duration| {
        let word = if pace.assumed.iter().any(|assumed| assumed == name) { " (assumed)" } else { "" };
        format!("{name} {}{word}", span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let from = [
        marked("hear", pace.hear),
        marked("agent", pace.agent),
        marked("writes", pace.writes),
        marked("lock", pace.lock),
        marked("lag", pace.lag),
        marked("recheck", pace.recheck),
    ];
    format!(
        "  rehearsed: {what} {outcome}\n    {}\n    from: {}, {}\n{open}",
        stages.join(", "),
        count::of(pace.gateways as u64, "gateway"),
        from.join(", ")
    )
}

/// What is open now, of which nobody knows when it ends.
fn held_up(one: &CapabilityAhead, OpenNow { whose, taken_back_ms }: &OpenNow) -> String {
    let told = one.path.in_the_way.iter().any(|waiting| waiting.text == *whose);
    let whose = if told { "the transaction that is in the way" } else { whose.as_str() };
    format!(
        "    open now: {whose}\n    until it ends no switch begins; one that has begun holds the writes at least until it ends, and is taken back after {}\n",
        span(*taken_back_ms)
    )
}

/// Short, and never a second wrong where seconds matter.
fn span(ms: u64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..120_000 => format!("{:.1}s", ms as f64 / 1_000.0),
        _ => HumanDuration(Duration::from_millis(ms)).to_string(),
    }
}
