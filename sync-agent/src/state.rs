//! What is known of one capability while it runs: its report, how far each stream is, which rows were touched since the
//! last clean verification. Shared by its tasks; no lock is held across an await.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ficus_rules::mapping::Value;
use ficus_rules::wire::{CapabilityReport, EndReport, MarkEnd, SetAside, StreamReport};
use ficus_rules::{Side, Timestamp};
use tokio::sync::{Notify, watch};

use crate::alone::Known;
use crate::events::Announcer;
use crate::metrics;
use crate::port::{Direction, Position, Touched};

/// More touched rows than this are not remembered one by one: the next verification looks at everything.
const MOST_DIRTY: usize = 200_000;

/// The state of one capability.
pub(crate) struct State {
    /// Its name.
    pub(crate) capability: String,
    /// Legacy to modern.
    pub(crate) forward: Flow,
    /// Modern to legacy.
    pub(crate) reverse: Flow,
    report: Mutex<CapabilityReport>,
    end: Mutex<Option<(MarkEnd, Position)>>,
    dirty: Mutex<Dirty>,
    verification: tokio::sync::Mutex<()>,
    quarantined: Mutex<(u64, u64)>,
    aside: Mutex<BTreeMap<Side, Vec<SetAside>>>,
    let_in: Mutex<BTreeMap<Side, Vec<SetAside>>>,
    strays: tokio::sync::Mutex<()>,
    carrying: tokio::sync::Mutex<()>,
    turns: Mutex<HashMap<Side, i64>>,
    closing: Mutex<Option<Side>>,
    known: Mutex<Option<Known>>,
    /// Numbers what others are told of both directions.
    pub(crate) announcer: Announcer,
    changed: watch::Sender<u64>,
}

/// One stream, as others see it.
pub(crate) struct Flow {
    /// Look now.
    pub(crate) wake: Notify,
    /// Some change may be missing in the source's log: no freshness is claimed.
    frozen: AtomicBool,
    /// What leaves the source is nobody's to carry: strangers wrote it while the other side owned.
    discards: AtomicBool,
    applied: watch::Sender<Position>,
}

impl Flow {
    /// Whether what is read is not to be carried.
    pub(crate) fn discards(&self) -> bool {
        self.discards.load(Ordering::Acquire)
    }

    /// From now on.
    pub(crate) fn discard(&self, discards: bool) {
        self.discards.store(discards, Ordering::Release);
    }
}

/// Keys touched since the last verification that found no drift. `None`: too many, or unknown.
#[derive(Debug, Default)]
pub(crate) struct Dirty(pub(crate) Option<HashMap<(usize, String), Value>>);

impl Dirty {
    /// No key at all.
    pub(crate) fn nothing() -> Dirty {
        Dirty(Some(HashMap::new()))
    }

    /// The keys by pair.
    pub(crate) fn by_pair(&self) -> Option<BTreeMap<usize, Vec<Value>>> {
        let mut keys: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
        for ((pair, _), key) in self.0.as_ref()? {
            keys.entry(*pair).or_default().push(key.clone());
        }
        Some(keys)
    }

    pub(crate) fn add(&mut self, touched: impl IntoIterator<Item = (usize, Value)>) {
        let Some(keys) = &mut self.0 else { return };
        keys.extend(touched.into_iter().map(|(pair, key)| ((pair, format!("{key:?}")), key)));
        if keys.len() > MOST_DIRTY {
            self.0 = None;
        }
    }
}

/// What a verification is to look at. A verification may end anywhere: with an error, a session, another wish.
pub(crate) struct Taken<'a> {
    state: &'a State,
    pub(crate) keys: Dirty,
    back: bool,
}

impl Taken<'_> {
    /// All of it was looked at.
    pub(crate) fn settle(mut self) {
        self.back = false;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.back {
            self.state.keep_dirty(std::mem::take(&mut self.keys));
        }
    }
}

/// What is being written. Whatever comes of it, the next verification looks at it: an answer that is lost on the way says
/// nothing of what was written.
pub(crate) struct Writing<'a> {
    state: &'a State,
    rows: Option<Vec<Touched>>,
}

impl Writing<'_> {
    /// There was an answer: by now it is known what else there is to look at.
    pub(crate) fn ended(mut self) {
        self.rows.get_or_insert_default();
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        match self.rows.take() {
            Some(rows) => self.state.touched(rows),
            None => self.state.keep_dirty(Dirty::default()),
        }
    }
}

impl State {
    pub(crate) fn new(capability: &str, changed: watch::Sender<u64>) -> State {
        let flow = || Flow {
            wake: Notify::new(),
            frozen: AtomicBool::new(false),
            discards: AtomicBool::new(false),
            applied: watch::Sender::default(),
        };
        State {
            capability: capability.to_owned(),
            forward: flow(),
            reverse: flow(),
            report: Mutex::default(),
            end: Mutex::default(),
            dirty: Mutex::default(),
            verification: tokio::sync::Mutex::default(),
            quarantined: Mutex::default(),
            aside: Mutex::default(),
            let_in: Mutex::default(),
            strays: tokio::sync::Mutex::default(),
            carrying: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
            closing: Mutex::default(),
            known: Mutex::default(),
            announcer: Announcer::new(),
            changed,
        }
    }

    /// The report as it is now.
    pub(crate) fn report(&self) -> CapabilityReport {
        lock(&self.report).clone()
    }

    /// Changes the report, and tells whoever waits for something to happen.
    pub(crate) fn update(&self, change: impl FnOnce(&mut CapabilityReport)) {
        change(&mut lock(&self.report));
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes the report without telling anybody: for what moves all the time.
    pub(crate) fn note(&self, change: impl FnOnce(&mut CapabilityReport)) {
        change(&mut lock(&self.report));
    }

    /// What stands in the way of the fence of an epoch's owner.
    pub(crate) fn set_busy(&self, epoch: u64, busy: Option<(String, bool)>, fence_waits: Duration) {
        let mut report = lock(&self.report);
        if report.epoch != epoch {
            return;
        }
        let other = report.busy.is_some() != busy.is_some();
        report.busy_ends = busy.as_ref().is_some_and(|(_, ends)| *ends);
        report.busy = busy.map(|(text, _)| text);
        report.fence_waits_ms = u64::try_from(fence_waits.as_millis()).ok();
        drop(report);
        if other {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// A side's fence is being closed: until there is an answer, it may refuse writers without counting as closed.
    pub(crate) fn set_closing(&self, side: Option<Side>) {
        *lock(&self.closing) = side;
    }

    /// Whether a side's fence may refuse writers, for all that is known here.
    pub(crate) fn may_refuse(&self, side: Side) -> bool {
        self.report().fenced.of(side) || *lock(&self.closing) == Some(side)
    }

    /// The stream of a direction.
    pub(crate) fn flow(&self, direction: Direction) -> &Flow {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }

    /// The report of a direction's stream changes.
    pub(crate) fn stream(&self, direction: Direction, change: impl FnOnce(&mut StreamReport)) {
        let mut report = lock(&self.report);
        let stream = match direction {
            Direction::Forward => &mut report.forward,
            Direction::Reverse => &mut report.reverse,
        };
        change(stream);
        let labels = [self.capability.as_str(), direction.as_str()];
        metrics::LAG_SECONDS.with_label_values(&labels).set(stream.lag_seconds);
        metrics::LAG_ENTRIES.with_label_values(&labels).set(i64::try_from(stream.lag_entries).unwrap_or(i64::MAX));
    }

    /// Everything up to here is applied; if it is `complete`, everything that was committed when the wall clock said
    /// `asked`. While rows of this direction are set aside, nothing newer is claimed: of these rows the other side has not
    /// what their owner has.
    ///
    /// Writes are marked with the wall clock. Once that has been set back, marks of new writes lie below what was claimed
    /// by the old time: the claim goes back with it.
    pub(crate) fn advance(&self, direction: Direction, position: Position, asked: Timestamp, complete: bool) {
        let flow = self.flow(direction);
        let complete = complete && !flow.frozen.load(Ordering::Acquire) && self.set_aside(direction) == 0;
        let mut back = None;
        self.stream(direction, |stream| {
            stream.applied = Some(position.to_string());
            back = (asked < stream.through).then(|| stream.through.since(asked));
            if complete {
                stream.through = asked;
            } else if back.is_some() {
                stream.through = Timestamp::default();
            }
        });
        if let Some(back) = back {
            let stream = direction.as_str();
            tracing::warn!(capability = %self.capability, %stream, ?back, "the wall clock was set back; freshness is counted anew");
        }
        flow.applied.send_if_modified(|applied| std::mem::replace(applied, position) != position);
        self.look_at_end();
    }

    /// An end was read: from now on it is watched for.
    pub(crate) fn set_end(&self, wish: MarkEnd, position: Position) {
        *lock(&self.end) = Some((wish, position));
        self.update(|report| {
            report.end = Some(EndReport { token: wish.token, position: position.to_string(), reached: false });
        });
        self.look_at_end();
        self.flow(Direction::from(wish.side)).wake.notify_one();
    }

    /// Whether this wish has been looked at.
    pub(crate) fn knows_end(&self, wish: MarkEnd) -> bool {
        lock(&self.end).as_ref().is_some_and(|(known, _)| *known == wish)
    }

    /// What was read is not to be trusted any more.
    pub(crate) fn forget_end(&self) {
        *lock(&self.end) = None;
        self.note(|report| report.end = None);
    }

    fn look_at_end(&self) {
        let Some((wish, position)) = *lock(&self.end) else { return };
        let reached = *self.flow(Direction::from(wish.side)).applied.borrow() >= position;
        if reached && lock(&self.report).end.as_ref().is_some_and(|end| !end.reached) {
            self.update(|report| {
                if let Some(end) = &mut report.end {
                    end.reached = true;
                }
            });
        }
    }

    /// Waits until a stream has applied a position; `false` when it takes too long.
    pub(crate) async fn applied(&self, side: Side, position: Position, patience: Duration) -> bool {
        let flow = self.flow(Direction::from(side));
        let mut applied = flow.applied.subscribe();
        flow.wake.notify_one();
        tokio::time::timeout(patience, applied.wait_for(|applied| *applied >= position)).await.is_ok_and(|found| found.is_ok())
    }

    /// The turn that this agent had last at the stream into a side.
    pub(crate) fn turn(&self, target: Side) -> Option<i64> {
        lock(&self.turns).get(&target).copied()
    }

    /// This agent's turn at the stream into a side.
    pub(crate) fn set_turn(&self, target: Side, turn: i64) {
        lock(&self.turns).insert(target, turn);
    }

    /// Whoever had the stream into a side since then, it is taken over.
    pub(crate) fn forget_turn(&self, target: Side) {
        lock(&self.turns).remove(&target);
    }

    /// What the last session that had both sides knew.
    pub(crate) fn known(&self) -> Option<Known> {
        lock(&self.known).clone()
    }

    /// A session has both sides; or the capability was taken out of them.
    pub(crate) fn set_known(&self, known: Option<Known>) {
        *lock(&self.known) = known;
    }

    /// Remembers rows for the next verification.
    pub(crate) fn touched(&self, rows: Vec<Touched>) {
        lock(&self.dirty).add(rows.into_iter().map(|row| (row.pair, row.key)));
    }

    /// Takes what is remembered, and begins anew. Unless it is settled, it comes back when what is returned is dropped.
    pub(crate) fn take_dirty(&self) -> Taken<'_> {
        let keys = std::mem::replace(&mut *lock(&self.dirty), Dirty::nothing());
        Taken { state: self, keys, back: true }
    }

    /// These are about to be written; `None`: nobody knows yet which.
    pub(crate) fn writing(&self, rows: Option<Vec<Touched>>) -> Writing<'_> {
        Writing { state: self, rows }
    }

    /// A verification's turn: they run one at a time.
    pub(crate) async fn verification(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.verification.lock().await
    }

    /// These are to be looked at by the next verification.
    pub(crate) fn keep_dirty(&self, keys: Dirty) {
        let mut dirty = lock(&self.dirty);
        match keys.0 {
            Some(keys) => dirty.add(keys.into_iter().map(|((pair, _), key)| (pair, key))),
            None => dirty.0 = None,
        }
    }

    /// Whether some change may be missing in a log.
    pub(crate) fn freeze(&self, frozen: bool) {
        for flow in [&self.forward, &self.reverse] {
            flow.frozen.store(frozen, Ordering::Release);
        }
    }

    fn set_aside(&self, direction: Direction) -> u64 {
        let (forward, reverse) = *lock(&self.quarantined);
        match direction {
            Direction::Forward => forward,
            Direction::Reverse => reverse,
        }
    }

    /// Rows set aside by the stream of a direction; whether that is another number.
    pub(crate) fn set_quarantined(&self, direction: Direction, rows: u64) -> bool {
        let (sum, other) = {
            let mut quarantined = lock(&self.quarantined);
            let of = match direction {
                Direction::Forward => &mut quarantined.0,
                Direction::Reverse => &mut quarantined.1,
            };
            let other = std::mem::replace(of, rows) != rows;
            (quarantined.0 + quarantined.1, other)
        };
        metrics::QUARANTINED.with_label_values(&[&self.capability]).set(i64::try_from(sum).unwrap_or(i64::MAX));
        if lock(&self.report).quarantined != sum {
            self.update(|report| report.quarantined = sum);
        }
        other
    }

    /// What is shown of the rows that come from a side and are set aside.
    pub(crate) fn show_aside(&self, from: Side, rows: Vec<SetAside>) {
        lock(&self.aside).insert(from, rows);
    }

    /// What is shown of the rows that strangers wrote to a side.
    pub(crate) fn show_strays(&self, side: Side, rows: Vec<SetAside>) {
        lock(&self.let_in).insert(side, rows);
    }

    /// A look's turn at what strangers did.
    pub(crate) async fn strays(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.strays.lock().await
    }

    /// The turn of whoever carries what strangers wrote, or must not have it carried meanwhile.
    pub(crate) async fn carrying(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.carrying.lock().await
    }

    /// The rows that are set aside, and those that strangers wrote, as far as they are shown.
    pub(crate) fn aside(&self) -> Vec<SetAside> {
        let mut rows: Vec<SetAside> = lock(&self.aside).values().flatten().cloned().collect();
        rows.extend(lock(&self.let_in).values().flatten().cloned());
        rows
    }
}

/// A poisoned lock only means that some other task panicked between two assignments of plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new("test", watch::Sender::default())
    }

    fn keys(state: &State) -> Option<usize> {
        lock(&state.dirty).0.as_ref().map(HashMap::len)
    }

    fn through(state: &State, direction: Direction, at: u64) -> u64 {
        state.advance(direction, Position(1), Timestamp(at), true);
        let report = state.report();
        report.stream_from(direction.source()).through.0
    }

    #[test]
    fn no_freshness_is_claimed_past_a_row_that_is_set_aside() {
        let state = state();
        assert_eq!(through(&state, Direction::Forward, 10), 10);
        state.set_quarantined(Direction::Forward, 1);
        assert_eq!(through(&state, Direction::Forward, 20), 10);
        assert_eq!(through(&state, Direction::Reverse, 20), 20, "the other direction has its own");
        state.set_quarantined(Direction::Forward, 0);
        assert_eq!(through(&state, Direction::Forward, 30), 30);
    }

    #[test]
    fn freshness_follows_a_clock_that_is_set_back() {
        let state = state();
        assert_eq!(through(&state, Direction::Forward, 1_000), 1_000);
        assert_eq!(through(&state, Direction::Forward, 400), 400);
        state.advance(Direction::Forward, Position(1), Timestamp(900), false);
        assert_eq!(state.report().forward.through.0, 400, "no claim, no harm");
        state.advance(Direction::Forward, Position(1), Timestamp(300), false);
        assert_eq!(state.report().forward.through.0, 0, "of the new time nothing is known yet");
        assert_eq!(through(&state, Direction::Forward, 310), 310);
    }

    #[test]
    fn keys_return_unless_they_are_settled() {
        let state = state();
        assert_eq!(keys(&state), None, "at first everything is to be looked at");
        drop(state.take_dirty());
        assert_eq!(keys(&state), None);
        state.take_dirty().settle();
        assert_eq!(keys(&state), Some(0));
        let touched = |key| state.touched(vec![Touched { pair: 0, key: Value::Int(key) }]);
        touched(1);
        let taken = state.take_dirty();
        touched(2);
        assert_eq!(keys(&state), Some(1));
        drop(taken);
        assert_eq!(keys(&state), Some(2));
    }
}
