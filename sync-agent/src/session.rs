//! One capability between two errors: both databases open, streams running, wishes carried out. Whoever wants something
//! else (another rule set, a changed schema, a stop) ends the session and begins another.

use std::collections::{BTreeSet, HashSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Tables, compile};
use ficus_rules::plan::StrayWrites;
use ficus_rules::wire::{CapabilityOrders, Fences, RepairReport, SyncOrder, Verify};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::agent::{Config, Ordered, Resolved};
use crate::alone::Known;
use crate::apply::Applier;
use crate::backfill::Backfill;
use crate::busy::Lookout;
use crate::carried;
use crate::crash;
use crate::engine::open;
use crate::error::Error;
use crate::events::Publisher;
use crate::forwarder::Forwarder;
use crate::metrics;
use crate::newest::Questions;
use crate::port::{Checkpoint, Copied, Direction, Engine, KeyRange, Left, Position, Shared};
use crate::pulse::{self, Asked};
use crate::state::State;
use crate::strays;
use crate::stream::Stream;
use crate::verify::Verifier;

mod aside;
mod gaps;
mod references;

/// How long a stream may take to finish its batch when the session ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the stream may take to the end of what strangers wrote; otherwise a new session begins behind it.
const STRAYS: Duration = Duration::from_secs(10);

/// How far the numbers of new rows are apart while both sides give some out.
const APART: i64 = 1_000_000;

/// How long a fence waits for a session that may be ended, well within the time after which it gives up; and between two looks.
const ENDS_AFTER: Duration = Duration::from_secs(2);
const ENDS_AGAIN: Duration = Duration::from_millis(100);

/// What a session is made of.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) resolved: Resolved,
    pub(crate) state: Arc<State>,
    /// Whether its orders are the newest.
    pub(crate) questions: Arc<Questions>,
}

/// Resolves when it is time to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone: stop as well.
    drop(stop.wait_for(|stop| *stop).await.map(|stop| *stop));
}

/// A session that is set up.
struct Session<'a> {
    context: &'a Context,
    legacy: Shared,
    modern: Shared,
    plans: Arc<Vec<Plan>>,
    /// What columns both sides have.
    columns: [Tables; 2],
    /// Both directions, once they run.
    streams: JoinSet<Result<(), Error>>,
    /// Everything else; safe to end anywhere.
    tasks: JoinSet<Result<Done, Error>>,
    stop: watch::Sender<bool>,
    orders: watch::Receiver<Ordered>,
    streaming: bool,
    /// The fences as they were before this session touched them.
    found: Fences,
    /// The newest epochs whose orders were carried out in legacy and in modern before it.
    carried_out: [u64; 2],
    /// Pairs being compared because their capture had a gap.
    gaps: bool,
    verifying: Option<Verifying>,
    repairing: Option<Repairing>,
    /// The epoch that both databases know to be carried out.
    obeyed: Option<u64>,
    /// Legacy has what it needs to let strangers write.
    records: bool,
    /// It lets them.
    letting: bool,
    /// It lets nobody.
    closed: bool,
    /// What they wrote may not be behind the stream yet: until it is, legacy does not count as fenced.
    undrained: bool,
}

/// A verification under way, or finished.
struct Verifying {
    token: u64,
    owner: Side,
    task: AbortHandle,
}

/// A repair under way, or finished.
struct Repairing {
    token: u64,
    /// Held while rows are asked for.
    wanted: Arc<tokio::sync::Mutex<bool>>,
    task: AbortHandle,
}

/// What a task of the session has finished.
enum Done {
    Backfilled(Position, Position),
    Compared,
    GapsClosed,
}

impl Context {
    /// Runs until told otherwise.
    pub(crate) async fn session(&self, orders: &mut watch::Receiver<Ordered>, stop: &mut watch::Receiver<bool>) -> Result<(), Error> {
        let labels = [format!("{} (legacy)", self.resolved.legacy), format!("{} (modern)", self.resolved.modern)];
        let patience = self.config.silence;
        let legacy = open(&self.resolved.legacy_url, &labels[0]).await?;
        let modern = match open(&self.resolved.modern_url, &labels[1]).await {
            Ok(modern) => modern,
            Err(error) => {
                pulse::close([legacy.as_ref()], &Ok(()), patience).await;
                return Err(error);
            }
        };
        let (legacy, modern) = (legacy.as_ref(), modern.as_ref());
        let silence = pin!(pulse::silence([Asked(legacy, &labels[0]), Asked(modern, &labels[1])], patience));
        let ended = self.opened(legacy, modern, silence, orders, stop).await;
        pulse::close([legacy, modern], &ended, patience).await;
        ended
    }

    /// Until told otherwise, or until a database is silent.
    async fn opened(
        &self,
        legacy: &dyn Engine,
        modern: &dyn Engine,
        mut silence: Pin<&mut (dyn Future<Output = Error> + Send)>,
        orders: &mut watch::Receiver<Ordered>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let mut session = pulse::unless(silence.as_mut(), self.set_up(legacy, modern, orders)).await?;
        let running = async {
            tokio::select! {
                ended = session.run(orders, stop) => ended,
                never = self.keep_looking(legacy) => match never {},
            }
        };
        let ended = pulse::unless(silence.as_mut(), running).await;
        session.end().await;
        // Two that claim at the same moment may each get one side. Whoever has modern's, which is claimed first, takes the
        // other one as well; its rival finds that modern's is gone, and stops.
        if matches!(ended, Err(Error::Superseded)) && pulse::unless(silence, session.modern.open_gaps(&[])).await.is_ok() {
            self.state.forget_turn(Side::Legacy);
            return Err(Error::Task("another agent took legacy's turn, but not modern's; it is taken back".to_owned()));
        }
        ended
    }

    async fn set_up(&self, legacy: &dyn Engine, modern: &dyn Engine, orders: &watch::Receiver<Ordered>) -> Result<Session<'_>, Error> {
        let capability = &self.state.capability;
        let maps = &self.resolved.tables;
        let legacy_columns = legacy.columns(&maps.iter().map(|map| map.legacy.clone()).collect::<Vec<_>>()).await?;
        let modern_columns = modern.columns(&maps.iter().map(|map| map.modern.clone()).collect::<Vec<_>>()).await?;
        let plans = match compile(capability, maps, &legacy_columns, &modern_columns) {
            Ok(plans) => plans,
            Err(errors) => {
                // For as long as nobody changes the rules or the tables: what stands there must not be in the application's way.
                // Where that cannot be done yet, the next session does it; what is wrong is said all the same.
                for (engine, side) in [(legacy, Side::Legacy), (modern, Side::Modern)] {
                    if let Err(error) = engine.make_way(capability, side).await {
                        tracing::warn!(%capability, %side, %error, "the capability's triggers stay for now");
                    }
                }
                return Err(Error::Mapping(errors));
            }
        };
        metrics::begin(capability, plans.iter().map(|plan| plan.pair.as_str()));
        for loss in plans.iter().flat_map(|plan| &plan.losses) {
            tracing::info!(%capability, %loss, "not everything survives the way to the other side");
        }
        self.look_at_references(legacy).await;
        Ok(Session {
            context: self,
            legacy: legacy.side(capability, Side::Legacy, &plans).await?,
            modern: modern.side(capability, Side::Modern, &plans).await?,
            plans: Arc::new(plans),
            columns: [legacy_columns, modern_columns],
            streams: JoinSet::new(),
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
            orders: orders.clone(),
            streaming: false,
            found: Fences::default(),
            carried_out: [0; 2],
            gaps: false,
            verifying: None,
            repairing: None,
            obeyed: None,
            records: false,
            letting: false,
            closed: false,
            undrained: false,
        })
    }
}

impl Session<'_> {
    async fn run(&mut self, orders: &mut watch::Receiver<Ordered>, stop: &mut watch::Receiver<bool>) -> Result<(), Error> {
        self.state().forget_end();
        // Whoever slept through the end of the capability is as one that has never had a turn.
        for side in Side::BOTH {
            if self.state().turn(side).is_some() && self.side(side).turn().await?.is_none() {
                self.state().forget_turn(side);
            }
        }
        let another = Side::BOTH.into_iter().any(|side| self.state().turn(side).is_none());
        // Nothing is made in a database by orders of long ago, which may have been taken back.
        if another && !self.asked(stop).await || orders.borrow().sync == SyncOrder::Remove {
            return Ok(());
        }
        self.records = orders.borrow().strays.lets_in() || self.legacy.lets_through().await?;
        if self.records {
            self.legacy.record_strays();
        }
        self.legacy.prepare().await?;
        self.modern.prepare().await?;
        // Before anything is taken from an agent that may have newer orders, and again when it can do nothing more: between
        // the two it may have carried them out.
        self.carried_out = [self.legacy.obeyed().await?, self.modern.obeyed().await?];
        let epoch = orders.borrow().epoch;
        for (known, database) in self.carried_out.into_iter().zip([&self.context.resolved.legacy, &self.context.resolved.modern]) {
            Error::unless_newest(database, epoch, known)?;
        }
        let owner = orders.borrow().owner;
        let forward = self.claim(Side::Modern).await.map_err(|error| match error {
            // Those rows are nobody's to remove.
            Error::Inhabited { .. } if owner == Side::Modern => uncopied(),
            error => error,
        })?;
        self.misses_nothing().await?;
        let reverse = self.claim(Side::Legacy).await?;
        self.obeyed = None;
        let ids = [self.legacy.id().await?, self.modern.id().await?];
        self.state().set_known(Some(Known { plans: Arc::clone(&self.plans), ids }));
        self.undrained = self.records || self.legacy.let_in().await?.rows > 0;
        self.note_fences().await?;
        self.state().set_closing(None);
        self.found = Fences { legacy: self.closed || self.letting, modern: self.state().report().fenced.modern };
        if another && !self.asked(stop).await {
            return Ok(());
        }
        let wish = orders.borrow_and_update().clone();
        // Before the epoch hides it, or a fence.
        let Some(wish) = self.note_unseen([&forward, &reverse], wish, orders, stop).await? else { return Ok(()) };
        self.obey(wish.epoch).await?;
        if self.undrained && wish.owner == Side::Legacy {
            // Had it not been behind the stream, legacy would not own again.
            self.undrained = false;
            self.note_fences().await?;
        }
        self.fence(&wish).await?;
        self.state().flow(Direction::Forward).discard(self.undrained);
        match (forward.position, reverse.position, forward.backfilled) {
            (Some(forward), Some(reverse), true) => self.stream(forward, reverse, &wish).await?,
            (begun, ..) if wish.owner == Side::Legacy && wish.may_copy => self.backfill(begun),
            _ if wish.owner == Side::Legacy => {
                // Whoever decides takes the reads back by this.
                self.state().update(|report| {
                    report.backfill.complete = false;
                    (report.epoch, report.generation) = (wish.epoch, Some(wish.generation));
                });
                return Err(Error::Refused(format!(
                    "the copy is gone: {} has none that was completed (its database was replaced or emptied?), and reads may still go there; put the database back, or revert the capability and begin a new backfill",
                    self.context.resolved.modern
                )));
            }
            _ => return Err(uncopied()),
        }
        metrics::STANDS.with_label_values(&[&self.state().capability]).set(0);
        let mut look = tokio::time::interval(aside::EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wish = orders.borrow_and_update().clone();
            // What takes other triggers takes another session.
            if wish.sync == SyncOrder::Remove || wish.strays.lets_in() && !self.records || self.is_left_open(&wish) {
                return Ok(());
            }
            self.carry_out(&wish).await?;
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return Ok(()) },
                () = stopped(stop) => return Ok(()),
                Some(ended) = self.streams.join_next() => {
                    ended.map_err(|error| Error::Task(error.to_string()))??;
                    return Err(Error::Task("a stream ended".to_owned()));
                }
                Some(done) = self.tasks.join_next() => self.done(done, &wish).await?,
                _ = look.tick() => self.take_back(&wish).await?,
            }
        }
    }

    /// Asks for the newest orders, and waits until they are here. `false`: it is time to stop.
    async fn asked(&self, stop: &mut watch::Receiver<bool>) -> bool {
        tokio::select! {
            () = self.context.questions.ask() => true,
            () = stopped(stop) => false,
        }
    }

    /// Lets the streams finish their batch, and ends the rest where it stands: nothing of it is half done.
    async fn end(&mut self) {
        self.stop.send_replace(true);
        self.tasks.shutdown().await;
        let streams = &mut self.streams;
        let batches = async { while streams.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, batches).await.is_err() {
            self.streams.shutdown().await;
        }
        for direction in [Direction::Forward, Direction::Reverse] {
            self.state().stream(direction, |stream| stream.live = false);
        }
        self.state().note(|report| report.busy = None);
    }

    async fn done(&mut self, done: Result<Result<Done, Error>, JoinError>, wish: &CapabilityOrders) -> Result<(), Error> {
        if done.as_ref().is_err_and(JoinError::is_cancelled) {
            // A verification that another one has taken the place of, or a repair that is not wished any more.
            return Ok(());
        }
        match done.map_err(|error| Error::Task(error.to_string()))?? {
            Done::Backfilled(forward, reverse) => {
                self.all_seen().await?;
                self.stream(forward, reverse, wish).await?;
            }
            Done::Compared => {}
            Done::GapsClosed => {
                self.all_seen().await?;
                self.gaps = false;
                self.state().announcer.set_joining(HashSet::new());
                self.state().freeze(false);
                self.state().update(|report| report.trouble = None);
            }
        }
        Ok(())
    }

    async fn claim(&self, target: Side) -> Result<Checkpoint, Error> {
        let source = self.side(target.other()).id().await?;
        let held = self.state().turn(target);
        // Until there is an answer nobody knows whose turn it is: were the answer lost, this agent would be refused for what it
        // did itself. Who does not know claims without a name, and asks for the newest orders.
        self.state().forget_turn(target);
        let checkpoint = self.side(target).claim(&source, held).await?;
        self.state().set_turn(target, checkpoint.turn);
        Ok(checkpoint)
    }

    /// Refuses when a column is gone without a word in the rules.
    async fn misses_nothing(&self) -> Result<(), Error> {
        let known = self.modern.copied().await?;
        let [legacy, modern] = &self.columns;
        let missed = carried::missed(&self.context.resolved.tables, &self.plans, &known, legacy, modern);
        if missed.is_empty() { Ok(()) } else { Err(Error::Mapping(missed)) }
    }

    /// By which plans rows flow from now on. A pair that joins has the owner's rows copied by comparing: they would be removed
    /// where the owner has none of them.
    async fn note_plans(&self, owner: Side) -> Result<(), Error> {
        self.rename().await?;
        let known = self.modern.copied().await?;
        for (at, plan) in self.plans.iter().enumerate().filter(|(_, plan)| !known.iter().any(|known| known.pair == plan.pair)) {
            self.may_join(at, plan, owner).await?;
        }
        let noted = |plan: &Plan| {
            let text = carried::text(plan);
            // All of one that joins is left, until it has been compared.
            let (rows, left) = match known.iter().find(|known| known.pair == plan.pair) {
                Some(known) if known.plan == text => return None,
                Some(known) => (known.rows, known.left.clone()),
                None => (0, Left::All),
            };
            Some(Copied { pair: plan.pair.clone(), plan: text, rows, left })
        };
        let noted: Vec<Copied> = self.plans.iter().filter_map(noted).collect();
        if noted.is_empty() { Ok(()) } else { self.modern.note_copied(&noted).await }
    }

    /// What is remembered of pairs under names that they have no more is theirs. What was noted of them in logs and in quarantine is
    /// nobody's any more, so that they are compared.
    async fn rename(&self) -> Result<(), Error> {
        let known = self.modern.copied().await?;
        let former = |plan: &Plan| carried::former(&self.plans, plan, &known);
        let renamed: Vec<(usize, &Copied)> = self.plans.iter().enumerate().filter_map(|(at, plan)| Some((at, former(plan)?))).collect();
        if renamed.is_empty() {
            return Ok(());
        }
        self.legacy.open_gaps(&renamed.iter().map(|(at, _)| *at).collect::<Vec<_>>()).await?;
        let mut copied = Vec::new();
        for (at, known) in &renamed {
            let plan = &self.plans[*at];
            tracing::warn!(capability = %self.state().capability, former = %known.pair, table = %plan.pair, "a pair has another name, and is compared");
            copied.push(Copied { pair: plan.pair.clone(), plan: carried::text(plan), ..(*known).clone() });
        }
        let former: BTreeSet<String> = renamed.iter().map(|(_, known)| known.pair.clone()).collect();
        let former: Vec<String> = former.into_iter().collect();
        // What was set aside on the way to legacy is kept there.
        self.legacy.rename_copied(&[], &former).await?;
        self.modern.rename_copied(&copied, &former).await
    }

    async fn may_join(&self, at: usize, plan: &Plan, owner: Side) -> Result<(), Error> {
        let (legacy, modern) = (&plan.legacy.table, &plan.modern.table);
        if owner == Side::Modern {
            return Err(Error::Refused(format!(
                "the tables `{legacy}` and `{modern}` cannot join while modern owns the rows: those of `{legacy}` would be removed; take their `[[table]]` out again, and put it back after a revert, or in a capability of its own"
            )));
        }
        let first = self.modern.chunk(at, &KeyRange { after: None, through: None }, 1).await?;
        if first.is_empty() && self.modern.keyless(at).await? == 0 {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "the tables `{legacy}` and `{modern}` cannot join: `{modern}` of {} has rows already, and those that `{legacy}` has not would be removed; put the `[[table]]`s back as they were if another of them brought these rows, or empty it (DELETE FROM {modern}) if they are not needed",
            self.context.resolved.modern
        )))
    }

    fn backfill(&mut self, begun: Option<Position>) {
        self.state().update(|report| report.trouble = None);
        let backfill = Backfill {
            legacy: Arc::clone(&self.legacy),
            modern: Arc::clone(&self.modern),
            plans: Arc::clone(&self.plans),
            state: Arc::clone(&self.context.state),
            batch_rows: self.context.config.batch_rows,
            most: self.context.config.copy_rows_per_second,
            max_load: self.context.config.copy_max_load,
        };
        self.tasks.spawn(async move { backfill.run(begun).await.map(|(forward, reverse)| Done::Backfilled(forward, reverse)) });
    }

    /// Starts both streams, and the comparison of what capture may have missed.
    async fn stream(&mut self, forward: Position, reverse: Position, wish: &CapabilityOrders) -> Result<(), Error> {
        self.streaming = true;
        // Before any event is made: a stream that runs makes some.
        self.state().announcer.begin([&self.legacy, &self.modern]).await?;
        self.note_plans(wish.owner).await?;
        self.state().update(|report| {
            report.backfill.complete = true;
            report.trouble = None;
        });
        let forward = self.reaches(Direction::Forward, forward, wish).await?;
        let reverse = self.reaches(Direction::Reverse, reverse, wish).await?;
        let mut gaps = self.legacy.gaps().await?;
        gaps.extend(self.modern.gaps().await?);
        gaps.sort_unstable();
        gaps.dedup();
        self.note_joining(&gaps).await?;
        // An earlier session may have ended between closing them and saying so.
        self.state().freeze(!gaps.is_empty());
        if !gaps.is_empty() {
            self.close(gaps, wish.owner);
        }
        for (direction, position) in [(Direction::Forward, forward), (Direction::Reverse, reverse)] {
            let applier = Applier {
                source: Arc::clone(self.side(direction.source())),
                sink: Arc::clone(self.side(direction.source().other())),
                plans: Arc::clone(&self.plans),
                direction,
                state: Arc::clone(&self.context.state),
            };
            let stream = Stream {
                parts: applier.takes_parts(),
                applier,
                state: Arc::clone(&self.context.state),
                position,
                poll: self.context.config.poll,
                batch_rows: self.context.config.batch_rows,
                stop: self.stop.subscribe(),
            };
            self.streams.spawn(stream.run());
        }
        self.publish();
        let lookout = Lookout {
            legacy: Arc::clone(&self.legacy),
            modern: Arc::clone(&self.modern),
            plans: Arc::clone(&self.plans),
            state: Arc::clone(&self.context.state),
            orders: self.orders.clone(),
        };
        self.tasks.spawn(async move { match lookout.run().await {} });
        let forwarder = Forwarder {
            legacy: Arc::clone(&self.legacy),
            modern: Arc::clone(&self.modern),
            plans: Arc::clone(&self.plans),
            state: Arc::clone(&self.context.state),
            orders: self.orders.clone(),
        };
        self.tasks.spawn(async move { forwarder.run().await.map(|never| match never {}) });
        Ok(())
    }

    /// Starts what carries events to each bus that the rules name.
    fn publish(&mut self) {
        let buses: BTreeSet<&String> = self.plans.iter().flat_map(|plan| &plan.events).map(|event| &event.bus).collect();
        self.state().note(|report| report.events.retain(|bus, _| buses.contains(bus)));
        for name in buses {
            let publisher = Publisher {
                name: name.clone(),
                bus: self.context.config.buses.get(name).cloned(),
                sinks: [Arc::clone(&self.legacy), Arc::clone(&self.modern)],
                state: Arc::clone(&self.context.state),
            };
            self.tasks.spawn(async move { publisher.run().await.map(|never| match never {}) });
        }
    }

    /// From here on, no agent carries out orders of an earlier epoch.
    async fn obey(&mut self, epoch: u64) -> Result<(), Error> {
        if self.obeyed != Some(epoch) {
            self.legacy.obey(epoch).await?;
            self.modern.obey(epoch).await?;
            self.obeyed = Some(epoch);
        }
        Ok(())
    }

    /// What is wished, as far as it is not so already.
    async fn carry_out(&mut self, wish: &Ordered) -> Result<(), Error> {
        self.obey(wish.epoch).await?;
        self.state().note(|report| {
            if report.epoch != wish.epoch {
                // It was said of another owner.
                report.busy = None;
            }
            report.epoch = wish.epoch;
            report.removed = false;
            if !wish.end_sessions {
                report.ended.clear();
            }
        });
        self.end_repair(wish).await;
        self.fence(wish).await?;
        // Only now: what was ordered before may have been carried out until a moment ago.
        if self.state().report().generation != Some(wish.generation) {
            self.state().update(|report| report.generation = Some(wish.generation));
        }
        if !self.streaming || self.gaps {
            return Ok(());
        }
        if let Some(mark) = wish.mark_end.filter(|mark| !self.state().knows_end(*mark)) {
            crash::point("mark_end");
            let end = self.side(mark.side).end_position().await?;
            self.state().set_end(mark, end);
        }
        if let Some(token) = wish.raise_sequences.filter(|token| self.state().report().sequences_raised != Some(*token)) {
            self.raise_sequences().await?;
            self.state().update(|report| report.sequences_raised = Some(token));
        }
        if let Some(verify) = wish.verify {
            self.verify(verify, wish.owner, wish.leaves_aside);
        }
        if let Some(token) = wish.repair.filter(|_| self.repairing.is_none()) {
            let known = self.state().report().repaired.is_some_and(|known| known.token == token && known.done);
            if !known {
                self.repair(token, wish.owner);
            }
        }
        Ok(())
    }

    /// A database is left that was opened a moment ago: what strangers wrote to it is seen to where a session begins.
    fn is_left_open(&self, wish: &CapabilityOrders) -> bool {
        let left = wish.owner.other();
        self.streaming && self.obeyed.is_some_and(|epoch| epoch < wish.epoch) && wish.fenced.of(left) && !self.is_behind_a_fence(left)
    }

    /// Its fence stands, as far as this session knows; also one that lets strangers through.
    fn is_behind_a_fence(&self, side: Side) -> bool {
        if side == Side::Legacy { self.closed || self.letting } else { self.state().report().fenced.modern }
    }

    async fn fence(&mut self, wish: &CapabilityOrders) -> Result<(), Error> {
        let lets = self.records && wish.strays.lets_in() && wish.owner == Side::Modern && wish.fenced.legacy;
        if self.letting && !lets {
            self.legacy.fence(true).await?;
            self.undrained = true;
            self.note_fences().await?;
            crash::point("strays");
        }
        if self.undrained && self.closed && !lets && self.streaming {
            self.pass_strays().await?;
            self.undrained = false;
            self.note_fences().await?;
        }
        if wish.owner == Side::Legacy {
            self.state().flow(Direction::Forward).discard(false);
        }
        // Whoever does not own first: never are both open that can both be reached.
        for side in [wish.owner.other(), wish.owner] {
            if self.is_behind_a_fence(side) != wish.fenced.of(side) {
                let on = wish.fenced.of(side);
                let state = &self.context.state;
                let carries = if side == Side::Modern { Some(state.carrying().await) } else { None };
                state.set_closing(Some(side));
                self.set_fence(side, on, wish).await?;
                state.set_closing(None);
                drop(carries);
                // Before anything is asked of the other side, which may be away by now.
                self.state().update(|report| match side {
                    Side::Legacy => report.fenced.legacy = on && !self.undrained,
                    Side::Modern => report.fenced.modern = on,
                });
                self.note_fences().await?;
            }
        }
        if lets && !self.letting {
            self.undrained = true;
            self.state().flow(Direction::Forward).discard(true);
            if wish.strays == StrayWrites::Forward {
                self.part_numbers().await;
            }
            self.legacy.let_through().await?;
            self.note_fences().await?;
        }
        Ok(())
    }

    /// Opens or closes a side's fence. Who keeps modern's waiting, and leaves it on the way back, is ended after a while.
    async fn set_fence(&self, side: Side, on: bool, wish: &CapabilityOrders) -> Result<(), Error> {
        let mut closing = pin!(self.side(side).fence(on));
        if !on || side == Side::Legacy || !wish.end_sessions {
            return closing.await;
        }
        let mut patience = ENDS_AFTER;
        loop {
            match tokio::time::timeout(patience, closing.as_mut()).await {
                Ok(closed) => return closed,
                Err(_) => self.end_sessions(wish.epoch).await,
            }
            patience = ENDS_AGAIN;
        }
    }

    /// Unless that was taken back meanwhile.
    async fn end_sessions(&self, epoch: u64) {
        let ordered = {
            let newest = self.orders.borrow();
            newest.end_sessions && newest.epoch == epoch
        };
        if !ordered {
            return;
        }
        let capability = &self.state().capability;
        match self.modern.end_writers().await {
            Ok(ended) => {
                for session in &ended {
                    tracing::warn!(%capability, %session, "ended: the way back to legacy waited for its open transaction");
                }
                self.state().note(|report| report.ended.extend(ended));
            }
            Err(error) => tracing::warn!(%capability, %error, "cannot end who keeps the way back to legacy waiting"),
        }
    }

    async fn note_fences(&mut self) -> Result<(), Error> {
        let modern = self.modern.is_fenced().await?;
        (self.closed, self.letting) = (self.legacy.is_fenced().await?, self.legacy.lets_through().await?);
        let legacy = self.closed && !self.undrained;
        self.state().update(|report| report.fenced = Fences { legacy, modern });
        Ok(())
    }

    /// Leaves behind, for good, what strangers wrote to legacy: whoever goes on from the position that modern has does not meet it. And
    /// counts it, before legacy counts as fenced: whoever reads that it is reads what was written until then.
    async fn pass_strays(&self) -> Result<(), Error> {
        let end = self.legacy.end_position().await?;
        if !self.state().applied(Side::Legacy, end, STRAYS).await {
            return Err(Error::Task("the stream did not come to the end of what was written past the gateway".to_owned()));
        }
        self.modern.begin_at(end, true).await?;
        strays::look(self.state(), &self.legacy, &self.modern, &self.plans).await
    }

    /// Both sides would give the same number to their next row. Where a column is too small for that, some of the rows that
    /// strangers make cannot be carried.
    async fn part_numbers(&self) {
        for (pair, plan) in self.plans.iter().enumerate() {
            let parted = async {
                let above = self.modern.sequence(pair).await?;
                match self.legacy.sequence(pair).await? {
                    known if known < above + APART / 2 => self.legacy.raise_sequence(pair, above + APART).await,
                    _ => Ok(()),
                }
            };
            if let Err(error) = parted.await {
                tracing::warn!(capability = %self.state().capability, table = %plan.pair, %error, "strangers' rows may get numbers that are taken");
            }
        }
    }

    async fn raise_sequences(&self) -> Result<(), Error> {
        for pair in 0..self.plans.len() {
            let above = self.legacy.sequence(pair).await?.max(self.modern.sequence(pair).await?);
            self.legacy.raise_sequence(pair, above).await?;
            crash::point("sequences");
            self.modern.raise_sequence(pair, above).await?;
        }
        Ok(())
    }

    /// A new wish ends the old one, and so does a new owner: whose rows are right has changed.
    fn verify(&mut self, wish: Verify, owner: Side, leaves_aside: bool) {
        if self.verifying.as_ref().is_some_and(|known| (known.token, known.owner) == (wish.token, owner)) {
            return;
        }
        if self.state().report().verified.is_some_and(|known| known.token == wish.token && known.done) {
            return;
        }
        if let Some(old) = self.verifying.take() {
            old.task.abort();
        }
        let verifier = self.verifier(owner);
        let task = self.tasks.spawn(async move { verifier.run(wish.token, wish.scope, leaves_aside).await.map(|()| Done::Compared) });
        self.verifying = Some(Verifying { token: wish.token, owner, task });
    }

    /// Before anything else is done: rows that were asked for behind a fence, or for an owner that was left, would be written over newer
    /// ones. What has been asked for goes the way of all rows.
    async fn end_repair(&mut self, wish: &CapabilityOrders) {
        if let Some(old) = self.repairing.take_if(|old| wish.repair != Some(old.token)) {
            *old.wanted.lock().await = false;
            old.task.abort();
        }
    }

    fn repair(&mut self, token: u64, owner: Side) {
        let state = Arc::clone(&self.context.state);
        state.update(|report| report.repaired = Some(RepairReport { token, done: false, rows: 0 }));
        let (verifier, pairs): (Verifier, Vec<usize>) = (self.verifier(owner), (0..self.plans.len()).collect());
        let wanted = Arc::new(tokio::sync::Mutex::new(true));
        let asked = Arc::clone(&wanted);
        let task = self.tasks.spawn(async move {
            // Those that can be seen before the rows are looked at: what is written later is not decided by this.
            let strays = verifier.legacy.unsettled().await?;
            let Some(rows) = verifier.repair(&pairs, &asked).await? else { return Ok(Done::Compared) };
            let carries = state.carrying().await;
            verifier.legacy.settle_strays(&strays).await?;
            drop(carries);
            verifier.forget_aside().await?;
            strays::look(&state, &verifier.legacy, &verifier.modern, &verifier.plans).await?;
            state.update(|report| report.repaired = Some(RepairReport { token, done: true, rows }));
            Ok(Done::Compared)
        });
        self.repairing = Some(Repairing { token, wanted, task });
    }

    fn verifier(&self, owner: Side) -> Verifier {
        Verifier {
            legacy: Arc::clone(&self.legacy),
            modern: Arc::clone(&self.modern),
            plans: Arc::clone(&self.plans),
            state: Arc::clone(&self.context.state),
            owner,
        }
    }

    fn side(&self, side: Side) -> &Shared {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }

    fn state(&self) -> &State {
        &self.context.state
    }
}

fn uncopied() -> Error {
    Error::Refused(
        "modern owns the rows, and its copy was never completed; revert to legacy first, or put the databases back that belong together"
            .to_owned(),
    )
}
