//! `ficus status`: every capability, what it is at and what it waits for. On a terminal pages are drawn to its width; into a
//! pipe goes plain text, a sentence a line.

mod screen;
pub(super) mod table;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Result, bail};
use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, execute, terminal};
use ficus_rules::api::{CapabilityStatus, Status};
use ficus_rules::count::{self, counted};

use crate::admin::Admin;
use crate::args::Args;

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// Prints it once, or again and again.
pub(crate) async fn execute(args: &Args, capability: Option<&str>, watch: bool) -> Result<()> {
    let admin = Admin::new(args)?;
    if watch && std::io::stdout().is_terminal() {
        execute!(std::io::stdout(), Clear(ClearType::All), cursor::MoveTo(0, 0))?;
    }
    loop {
        match admin.get::<Status>("/api/v1/status").await {
            Ok(status) => show(args, only(status, capability)?, capability.is_none(), watch)?,
            // Whoever watches wants to see it come back.
            Err(error) if watch => print(&format!("{error:#}\n"), watch)?,
            Err(error) => return Err(error),
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Nothing but what concerns one capability.
fn only(mut status: Status, capability: Option<&str>) -> Result<Status> {
    if let Some(name) = capability {
        status.capabilities.retain(|key, _| key == name);
        if status.capabilities.is_empty() {
            bail!("no capability is called `{name}`");
        }
    }
    Ok(status)
}

fn show(args: &Args, status: Status, all: bool, watch: bool) -> Result<()> {
    if args.json {
        super::print_json(&status)?;
        return Ok(std::io::stdout().flush()?);
    }
    let table = if all && !status.capabilities.is_empty() { table::table(status.capabilities.iter()) + "\n" } else { String::new() };
    print(&(table + &page(&status)), watch)
}

/// Prints a page as its reader can take it.
fn print(page: &str, watch: bool) -> Result<()> {
    let mut out = std::io::stdout();
    match (out.is_terminal(), watch) {
        (true, true) => return screen::draw(page, &mut out),
        (true, false) => {
            let columns = terminal::size().map_or(table::WIDTH, |(columns, _)| usize::from(columns).max(20));
            print!("{}", table::folded(page, table::WIDTH.min(columns)));
        }
        (false, _) => print!("{page}"),
    }
    Ok(out.flush()?)
}

fn page(status: &Status) -> String {
    let mut page = String::new();
    for (name, capability) in &status.capabilities {
        page.push_str(&paragraph(name, capability));
        page.push('\n');
    }
    if status.capabilities.is_empty() {
        page.push_str("no capability yet: write one into the rules directory\n\n");
    }
    for gateway in &status.gateways {
        let life = if gateway.live { "live" } else { "silent" };
        let _ = writeln!(
            page,
            "gateway {}: {life}, generation {} of {}, {} under way, {} held",
            gateway.name,
            gateway.generation,
            status.generation,
            count::of(gateway.inflight_writes, "write"),
            gateway.held
        );
        for capability in &gateway.modern_down {
            let _ = writeln!(page, "  the modern side of {capability} does not answer it: reads go to legacy while that owns");
        }
        for capability in &gateway.legacy_down {
            let _ = writeln!(page, "  the legacy side of {capability} does not answer it: nothing goes back to it by itself");
        }
        if let Some(cookie) = &gateway.sessions_unread {
            let _ = writeln!(
                page,
                "  it cannot look up the sessions of cookie {cookie}: their reads go to legacy, modern gets no writes of theirs"
            );
        }
        if let Some(trouble) = &gateway.trouble {
            let _ = writeln!(page, "  trouble: {trouble}");
        }
    }
    for agent in &status.agents {
        let _ =
            writeln!(page, "agent {}: {} s ago, {}", agent.name, status.at.since(agent.reported).as_secs(), carried(&agent.capabilities));
    }
    for complaint in &status.rules.complaints {
        let _ = writeln!(page, "rules: {complaint} (the last good ones serve)");
    }
    for pin in &status.overrides.pins {
        let who = pin.user.as_ref().map_or("everybody".into(), |user| format!("user {user}"));
        let _ = writeln!(page, "override: reads of {} for {who} go to {} {}", pin.capability, pin.side, pin.note);
    }
    for (name, flag) in &status.overrides.flags {
        let _ = writeln!(page, "override: flag {name} is {} {}", flag.variant(), flag.note);
    }
    page
}

/// A capability on a few lines.
pub(super) fn paragraph(name: &str, capability: &CapabilityStatus) -> String {
    let mut text = format!("{name}: {}\n", line(capability));
    for gate in &capability.gates {
        let _ = writeln!(text, "  gate {:<12} {:<13} {}", gate.gate, gate.verdict.as_str(), gate.measured);
    }
    let mut facts = Vec::new();
    if let Some(backfill) = capability.backfill.as_ref().filter(|backfill| !backfill.complete) {
        let mut fact = format!("copied {} of {}", backfill.done, count::of(backfill.total, "row"));
        if let Some(left) = backfill.seconds_left() {
            let _ = write!(fact, ", {:.0} rows/s, {left:.0} s left", backfill.rows_per_second);
        }
        facts.push(fact);
        facts.extend(
            backfill.gives_way_to.map(|load| format!("the copy gives way: legacy's server executes {}", count::of(load, "statement"))),
        );
    }
    if let Some(lag) = capability.lag_seconds {
        facts.push(format!("lag {lag:.3} s"));
    }
    if let Some(drift) = capability.drift_rows {
        let at = capability.verified_at.map_or_else(String::new, |at| format!(" at {}", at.rfc3339()));
        facts.push(format!("drift {}{at}", count::of(drift, "row")));
    }
    if capability.quarantined > 0 {
        facts.push(format!("{} in quarantine", count::of(capability.quarantined, "row")));
    }
    if let Some(pause) = capability.last_pause_ms {
        facts.push(format!("last switch paused writes for {pause} ms"));
    }
    if !facts.is_empty() {
        let _ = writeln!(text, "  {}", facts.join(", "));
    }
    for strays in capability.agent.iter().flat_map(|agent| &agent.strays).filter(|strays| strays.refused > 0) {
        let _ = writeln!(
            text,
            "  {} by the {} database",
            counted(strays.refused, "write past the gateway was refused", "writes past the gateway were refused"),
            strays.side
        );
        for writer in &strays.writers {
            let _ = writeln!(text, "    {writer}");
        }
    }
    for strays in capability.agent.iter().flat_map(|agent| &agent.strays).filter(|strays| strays.reported > 0) {
        let _ = writeln!(
            text,
            "  {} past the gateway to the {} database, which the rules let in; undecided: {}",
            counted(strays.reported, "row was written", "rows were written"),
            strays.side,
            strays.unsettled
        );
        for writer in &strays.wrote {
            let _ = writeln!(text, "    {writer}");
        }
    }
    for (bus, events) in capability.agent.iter().flat_map(|agent| &agent.events) {
        if let Some(trouble) = &events.trouble {
            let _ = writeln!(text, "  {} for {bus}: {trouble}", counted(events.waiting, "event waits", "events wait"));
        }
    }
    if let Some(trouble) = &capability.trouble {
        let _ = writeln!(text, "  trouble: {trouble}");
    }
    let waits = |busy: &&String| capability.waiting_for.iter().any(|waiting| waiting.text == **busy);
    if let Some(busy) = capability.agent.as_ref().and_then(|agent| agent.busy.as_ref()).filter(|busy| !waits(busy)) {
        let _ = writeln!(text, "  no cutover or revert now: {busy}");
    }
    let waited = |hold: &&String| capability.waiting_for.iter().any(|waiting| waiting.text.contains(hold.as_str()));
    for hold in capability.holds.iter().filter(|hold| !waited(hold)) {
        let _ = writeln!(text, "  held: {hold}");
    }
    for waiting in &capability.waiting_for {
        let _ = writeln!(text, "  waiting for: {}", waiting.text);
    }
    text
}

/// A capability on one line.
pub(super) fn line(capability: &CapabilityStatus) -> String {
    let mut line = capability.phase.as_str().to_owned();
    if let Some(stage) = capability.stage {
        let _ = write!(line, " ({})", stage.as_str());
    }
    if let Some(step) = capability.step {
        let _ = write!(line, ", step {step} of {}", capability.steps);
    }
    let _ = write!(line, ", {} owns", capability.owner);
    if capability.serving.reads.millionths() > 0 {
        let _ = write!(line, ", {} of the reads on modern", capability.serving.reads);
    }
    line
}

/// What an agent carries.
fn carried(capabilities: &[String]) -> String {
    if capabilities.is_empty() { "with nothing to do".to_owned() } else { capabilities.join(", ") }
}
