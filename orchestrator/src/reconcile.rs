//! The loop: observe, advance, compare-and-swap, publish. The only writer of states, rules and overrides in this process;
//! another process on the same store is noticed by the compare-and-swap, and what it wrote is taken over.

mod overrides;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::Timestamp;
use ficus_rules::migration::advance::{Event, JournalLine, Outcome, Wish, advance};
use ficus_rules::migration::{Phase, State, desired};
use ficus_rules::plan::Capability;
use ficus_rules::spec::Complaint;
use ficus_rules::wire::Overrides;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::access::Author;
use crate::fleet::Moment;
use crate::publish::View;
use crate::store::{Change, Loaded, Note, StoreError, Stored};
use crate::{Error, Shared, crash, fleet, metrics, status};

pub(crate) use rules::reload;

/// Transitions of one capability in one go; a state machine that turns in a circle must not stop the others.
const MOST_TRANSITIONS: usize = 32;

/// A write that failed may still be done when it was given up this long ago: it is on its way no longer.
const LATE: Duration = Duration::from_secs(30);

/// Something that only the reconciler may do.
pub(crate) enum Command {
    /// An operator wishes something for a capability.
    Wish { capability: String, wish: Wish, by: Author, reason: Option<String>, reply: oneshot::Sender<Result<(), Refusal>> },
    /// An operator changes an override.
    Override { change: OverrideChange, by: Author, reply: oneshot::Sender<Result<(), Refusal>> },
    /// The rules directory is read again.
    Reload { by: Author, reason: Option<String>, reply: oneshot::Sender<Result<u64, Vec<Complaint>>> },
}

impl Command {
    /// It is not done: the store failed.
    fn fail(self, failed: &StoreError) {
        let refusal = || Err(Refusal::Failed(failed.to_string()));
        // Whoever asked may have gone.
        match self {
            Command::Wish { reply, .. } => drop(reply.send(refusal())),
            Command::Override { reply, .. } => drop(reply.send(refusal())),
            Command::Reload { reply, .. } => drop(reply.send(Err(vec![rules::about_store(&failed.to_string())]))),
        }
    }
}

/// A change of the overrides: what to do to them, and what to write into the journal.
pub(crate) type OverrideChange = Box<dyn FnOnce(&View, &mut Overrides) -> Result<(Option<String>, JournalLine), Refusal> + Send>;

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such thing.
    Unknown(String),
    /// Not now, and why.
    Refused(String),
    /// The store failed, or the orchestrator is ending.
    Failed(String),
}

/// The loop's own state: what is known to be written.
pub(crate) struct Reconciler {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    view: View,
    /// Since when this one leads: what was silent before, it does not know.
    began: Timestamp,
    /// When the gauges were last set.
    shown: Option<Instant>,
    /// A write failed: it may have been done all the same, and what is written is read before anything else.
    unsure: bool,
    /// When what is written was read after one that failed.
    failed: Option<Instant>,
}

enum Step {
    /// Written; look again.
    Moved,
    /// Somebody else was faster, and nothing is written: judge it anew on what they wrote.
    Overtaken,
    /// Nothing to do.
    Quiet,
    /// The wish is refused.
    Refused(String),
}

impl Reconciler {
    /// Loads what is written, reads the rules, and publishes.
    pub(crate) async fn begin(shared: Arc<Shared>, queue: mpsc::Receiver<Command>) -> Result<Reconciler, Error> {
        let loaded = shared.store.load().await?;
        take_in(&shared, &loaded);
        let view = View {
            states: loaded.states,
            overrides: loaded.overrides,
            overrides_generation: loaded.overrides_generation,
            ..View::default()
        };
        let last_good = loaded.rules.map(|files| (files, loaded.rules_generation, loaded.rules_published));
        let mut reconciler = Reconciler { shared, queue, view, began: fleet::now(), shown: None, unsure: false, failed: None };
        reconciler.first_rules(last_good).await?;
        Ok(reconciler)
    }

    /// Runs until the orchestrator stops.
    pub(crate) async fn run(mut self) {
        let mut stopping = self.shared.stopping.subscribe();
        let shared = Arc::clone(&self.shared);
        loop {
            self.reconcile().await;
            tokio::select! {
                biased;
                () = crate::stopped(&mut stopping) => break,
                Some(command) = self.queue.recv() => self.obey(command).await,
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(shared.config.tick) => {}
            }
        }
    }

    /// Whatever is decided is decided on what is written, also when this process does not know yet what that is.
    async fn obey(&mut self, command: Command) {
        if self.unsure
            && let Err(failed) = self.take_over().await
        {
            return command.fail(&failed);
        }
        match command {
            Command::Wish { capability, wish, by, reason, reply } => {
                let done = self.grant(&capability, wish, by, reason).await;
                let _ = reply.send(done);
            }
            Command::Override { change, by, reply } => {
                let done = self.change_overrides(change, by).await;
                let _ = reply.send(done);
            }
            Command::Reload { by, reason, reply } => {
                let done = self.reload(&by, reason.as_deref()).await;
                let _ = reply.send(done);
            }
        }
    }

    async fn reconcile(&mut self) {
        let may_be_late = self.failed.is_some_and(|failed| failed.elapsed() < LATE);
        if (self.unsure || may_be_late)
            && let Err(failed) = self.take_over().await
        {
            warn!(error = %failed, "what is written cannot be read, it is tried again");
            return;
        }
        if let Err(failed) = self.draft_new_ones().await {
            warn!(error = %failed, "a new capability could not be written, it is tried again");
            return;
        }
        let names: Vec<String> = self.view.capabilities().map(|(plan, _)| plan.name.clone()).collect();
        for name in &names {
            for _ in 0..MOST_TRANSITIONS {
                match self.step(name, &Event::Tick, None, None).await {
                    Ok(Step::Moved | Step::Overtaken) => {}
                    Ok(Step::Quiet | Step::Refused(_)) => break,
                    Err(failed) => {
                        // Of the others, too, what is written is not known any more.
                        self.unsure = true;
                        error!(capability = name, error = %failed, "a transition could not be written, it is tried again");
                        return;
                    }
                }
            }
        }
        self.drop_expired().await;
        self.drop_pins_taken_back().await;
        fleet::names::forget(&self.shared, fleet::steady()).await;
        self.show_metrics();
    }

    async fn grant(&mut self, capability: &str, wish: Wish, by: Author, reason: Option<String>) -> Result<(), Refusal> {
        let event = Event::Wish(wish);
        for _ in 0..MOST_TRANSITIONS {
            if self.view.capability(capability).is_none() {
                return Err(Refusal::Unknown(format!("no capability is called `{capability}`")));
            }
            let step = self.step(capability, &event, Some(&by), reason.as_deref()).await;
            self.unsure |= step.is_err();
            match step.map_err(|failed| Refusal::Failed(failed.to_string()))? {
                Step::Refused(why) => {
                    info!(capability, by = by.name(), why, "a wish is refused");
                    return Err(Refusal::Refused(why));
                }
                Step::Quiet | Step::Moved => return Ok(()),
                Step::Overtaken => {}
            }
        }
        Err(Refusal::Failed("the state changed all the time".to_owned()))
    }

    /// One transition of one capability.
    async fn step(&mut self, name: &str, event: &Event, by: Option<&Author>, reason: Option<&str>) -> Result<Step, StoreError> {
        let Some((plan, stored)) = self.view.capability(name) else { return Ok(Step::Quiet) };
        let now = fleet::now();
        let moment = Moment::at(now);
        self.shared.fleet.note(plan, stored, self.shared.config.agent_silent, moment);
        let seen = self.shared.fleet.observe(plan, stored, &self.view, self.shared.config.limits(), moment);
        let outcome = advance(&stored.state, plan, &seen, event, now);
        if let Some(why) = outcome.refused {
            return Ok(Step::Refused(why));
        }
        if outcome.state == stored.state && outcome.journal.is_empty() {
            return Ok(Step::Quiet);
        }
        if outcome.state.floor > stored.state.floor && !self.shared.fleet.raise_floor(name, outcome.state.floor) {
            return Ok(Step::Quiet);
        }
        let (plan, stored) = (plan.clone(), stored.clone());
        let written = self.write(&plan, &stored, outcome, by, reason, now).await?;
        Ok(if written { Step::Moved } else { Step::Overtaken })
    }

    /// Whether it is written; otherwise somebody else wrote, and that is taken over.
    async fn write(
        &mut self,
        plan: &Capability,
        stored: &Stored,
        outcome: Outcome,
        by: Option<&Author>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (before, after) = (&stored.state, &outcome.state);
        let journal: Vec<Note> = outcome.journal.iter().map(|line| note_of(after, line, by, reason, now)).collect();
        let change = Change {
            from: before.version,
            state: after,
            serving: desired::serving(before, plan) != desired::serving(after, plan),
            orders: desired::orders(before, plan) != desired::orders(after, plan),
            journal: &journal,
        };
        let known = self.view.newest();
        let written = self.shared.store.compare_and_swap(&change).await;
        self.shared.changes.journal().up();
        let Some(written) = written? else {
            warn!(capability = %plan.name, "somebody else wrote its state, what is written is taken over");
            self.take_over().await?;
            return Ok(false);
        };
        crash::after_write(before, &written.state);
        self.view.states.insert(plan.name.clone(), written);
        self.publish_after(known).await?;
        metrics::stage(before, after, now);
        for note in &journal {
            info!(capability = %plan.name, kind = %note.line.kind, phase = after.phase.as_str(), by = note.by, "{}", note.line.text);
            if let ("switched", Some(pause)) = (note.line.kind.as_str(), after.last_pause_ms) {
                let direction = note.line.detail["direction"].as_str().unwrap_or("cutover");
                metrics::paused(&plan.name, direction, pause as f64 / 1000.0);
            }
            if let ("aborted", Some(switch)) = (note.line.kind.as_str(), &before.switch) {
                metrics::aborted(&plan.name, switch);
            }
        }
        Ok(true)
    }

    /// What is written counts: another process wrote, or a write of this one whose answer was lost.
    async fn take_over(&mut self) -> Result<(), StoreError> {
        let loaded = self.shared.store.load().await?;
        take_in(&self.shared, &loaded);
        self.view.states = loaded.states;
        (self.view.overrides, self.view.overrides_generation) = (loaded.overrides, loaded.overrides_generation);
        if loaded.rules_generation != self.view.rulebook.generation
            && let Some(files) = loaded.rules
        {
            self.take_written(files, loaded.rules_generation, loaded.rules_published);
        }
        if std::mem::take(&mut self.unsure) {
            self.failed = Some(Instant::now());
        }
        self.publish();
        Ok(())
    }

    /// Publishes what was written just now.
    async fn publish_after(&mut self, known: u64) -> Result<(), StoreError> {
        self.read_between(known).await?;
        self.publish();
        Ok(())
    }

    /// Takes in what came between all that was known and what was written just now: a write that arrived late. Its generation is
    /// older, and who has been given the newer one would never ask for it.
    async fn read_between(&mut self, known: u64) -> Result<(), StoreError> {
        if self.view.newest() > known + 1 {
            self.unsure = true;
            self.take_over().await?;
        }
        Ok(())
    }

    fn publish(&self) {
        self.shared.publisher.show(&self.view);
        metrics::generation(self.shared.publisher.generation());
    }

    /// As often as nothing happens: reports come much more often than anybody scrapes.
    fn show_metrics(&mut self) {
        if self.shown.is_some_and(|shown| shown.elapsed() < self.shared.config.tick) {
            return;
        }
        self.shown = Some(Instant::now());
        let now = fleet::now();
        for (plan, stored) in self.view.capabilities() {
            metrics::capability(&plan.name, &status::capability(&self.shared, &self.view, plan, stored, now), now);
            // Nobody has reported it to this leader: as long as it has led, or as the capability has needed somebody.
            let unheard = || needs_agent(plan, &stored.state).then(|| now.since(self.began.max(stored.state.since)));
            metrics::agent(&plan.name, self.shared.fleet.agent_age(&plan.name, Moment::at(now)).or_else(unheard));
        }
        metrics::keep(&self.view.capabilities().map(|(plan, _)| plan.name.as_str()).collect());
        for gateway in self.shared.fleet.gateways() {
            metrics::gateway(&gateway.name, gateway.reported.unwrap_or(self.began), now);
        }
        metrics::complaints(self.view.complaints.iter().filter(|complaint| !complaint.warning).count());
        metrics::flags_expired(self.view.rulebook.rules.flags.values().filter(|flag| flag.is_expired(fleet::wall())).count());
    }
}

/// Floors hold, and it is no earlier than it was for whoever wrote.
fn take_in(shared: &Shared, loaded: &Loaded) {
    for Stored { state, .. } in loaded.states.values() {
        shared.fleet.restore_floor(&state.capability, state.floor);
        fleet::hear(state.newest());
    }
}

/// Whether a capability has rows that somebody has to carry.
fn needs_agent(plan: &Capability, state: &State) -> bool {
    !plan.tables.is_empty() && !matches!(state.phase, Phase::Draft | Phase::Retired)
}

fn note_of(state: &State, line: &JournalLine, by: Option<&Author>, reason: Option<&str>, now: Timestamp) -> Note {
    Note::by(by.unwrap_or(&Author::default()), now, Some(state.capability.clone()), with_reason(line.clone(), reason))
}

/// Why somebody wished it stands where whoever reads the journal looks for it.
pub(crate) fn with_reason(mut line: JournalLine, reason: Option<&str>) -> JournalLine {
    if let (Some(reason), Some(detail)) = (reason.filter(|reason| !reason.is_empty()), line.detail.as_object_mut()) {
        detail.insert("reason".to_owned(), reason.into());
    }
    line
}
