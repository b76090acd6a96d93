//! One capability for as long as there are orders for it: a session after the other, with a pause after an error, and
//! what follows from which error. Does not know what a session does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::wire::SyncOrder;
use tokio::sync::watch;

use crate::agent::Ordered;
use crate::engine::open;
use crate::error::Error;
use crate::metrics;
use crate::pulse::{self, Asked};
use crate::session::{Context, stopped};

/// The pause after an error, doubled with every further one.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What changes the schema twice within this time, without a row between, is no migration.
const LASTING: Duration = Duration::from_secs(60);
const STUCK: &str = "the schema changed again and again, and nothing was applied meanwhile: either a migration runs; then wait until it is over. Or a trigger or function of the application names a table or column that is not there: the agent's log has what the database said";

/// Works for one capability until it is told to stop.
pub(crate) async fn run(context: Arc<Context>, mut orders: watch::Receiver<Ordered>, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSE;
    let shown = Shown(context.state.capability.clone());
    metrics::STANDS.with_label_values(&[&shown.0]).set(0);
    let mut changed: Option<Changed> = None;
    while !*stop.borrow() {
        let (ordered, generation, epoch) = {
            let wish = orders.borrow_and_update();
            (wish.sync, wish.generation, wish.epoch)
        };
        let ended = match ordered {
            SyncOrder::Run => context.session(&mut orders, &mut stop).await,
            SyncOrder::Remove => remove(&context, generation, epoch).await,
        };
        let after = match ended {
            Ok(()) => After::of(ordered, orders.borrow().sync),
            Err(Error::SchemaChanged) if pause == PAUSE && Changed::again(&mut changed, &context) => {
                tracing::warn!(capability = %context.state.capability, "the schema changed; starting over");
                After::Again(Duration::from_millis(1))
            }
            Err(error) => {
                tracing::error!(capability = %context.state.capability, %error, "the capability stands still");
                let trouble = match &error {
                    Error::SchemaChanged => STUCK.to_owned(),
                    error => error.to_string(),
                };
                context.state.update(|report| report.trouble = Some(trouble));
                // Of one whose place another agent has taken, the other tells.
                let superseded = matches!(error, Error::Superseded);
                metrics::STANDS.with_label_values(&[&context.state.capability]).set(i64::from(!superseded));
                if !superseded && let Err(error) = context.open_alone(&orders).await {
                    tracing::warn!(capability = %context.state.capability, %error, "the owner's fence cannot be opened alone");
                }
                match error {
                    Error::Superseded => After::Nothing,
                    _ => After::Again(pause),
                }
            }
        };
        pause = if context.state.report().trouble.is_some() { (pause * 2).min(LONGEST_PAUSE) } else { PAUSE };
        match after {
            After::Again(pause) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopped(&mut stop) => {}
                }
            }
            After::Orders => {
                tokio::select! {
                    changed = orders.changed() => if changed.is_err() { return },
                    () = stopped(&mut stop) => {}
                }
            }
            // The epoch is another agent's now: nothing that is ordered changes that.
            After::Nothing => {
                stopped(&mut stop).await;
            }
        }
    }
}

/// When the schema was found changed last, and how many rows had been applied by then.
struct Changed {
    at: Instant,
    rows: u64,
}

impl Changed {
    /// Whether to look again at once: not when nothing was applied since the last time.
    fn again(last: &mut Option<Changed>, context: &Context) -> bool {
        let report = context.state.report();
        let now = Changed { at: Instant::now(), rows: report.forward.rows + report.reverse.rows };
        let stuck = last.as_ref().is_some_and(|last| last.rows == now.rows && last.at.elapsed() < LASTING);
        *last = Some(now);
        !stuck
    }
}

/// What is shown of a capability ends with its task.
struct Shown(String);

impl Drop for Shown {
    fn drop(&mut self) {
        metrics::end(&self.0);
    }
}

/// When to go on.
enum After {
    Again(Duration),
    Orders,
    Nothing,
}

impl After {
    fn of(done: SyncOrder, wished: SyncOrder) -> After {
        if done == SyncOrder::Remove && wished == SyncOrder::Remove { After::Orders } else { After::Again(Duration::ZERO) }
    }
}

/// Takes everything out on both sides, whatever becomes of the other: a slot that nobody reads any more fills a disk.
async fn remove(context: &Context, generation: u64, epoch: u64) -> Result<(), Error> {
    let resolved = &context.resolved;
    context.state.set_known(None);
    let mut left = Vec::new();
    for (side, url, name) in
        [(Side::Legacy, &resolved.legacy_url, &resolved.legacy), (Side::Modern, &resolved.modern_url, &resolved.modern)]
    {
        let label = format!("{name} ({side})");
        match remove_from(context, url, &label, side, epoch).await {
            Ok(()) => {}
            // Nothing is done by orders that are out of date.
            Err(error @ Error::Outdated { .. }) => return Err(error),
            Err(error) => {
                left.push(format!("{error}; what Ficus has in {label} stays there until then (slot, publication, triggers, tables)"))
            }
        }
    }
    if !left.is_empty() {
        return Err(Error::Refused(left.join("; and ")));
    }
    metrics::end(&context.state.capability);
    context.state.update(|report| {
        *report =
            ficus_rules::wire::CapabilityReport { epoch: report.epoch, generation: Some(generation), removed: true, ..Default::default() };
    });
    Ok(())
}

async fn remove_from(context: &Context, url: &str, label: &str, side: Side, epoch: u64) -> Result<(), Error> {
    let engine = open(url, label).await?;
    let silence = pulse::silent(Asked(engine.as_ref(), label), context.config.silence);
    let removed = pulse::unless(silence, engine.remove(&context.state.capability, side, epoch)).await;
    pulse::close([engine.as_ref()], &removed, context.config.silence).await;
    removed
}
