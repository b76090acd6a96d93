//! One capability for as long as there are orders for it: a session after the other, with a pause after an error, and
//! what follows from which error. Does not know what a session does.

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::SyncOrder;
use tokio::sync::watch;

use crate::agent::Ordered;
use crate::engine::open;
use crate::error::Error;
use crate::metrics;
use crate::session::{Context, stopped};

/// The pause after an error, doubled with every further one.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Works for one capability until it is told to stop.
pub(crate) async fn run(context: Arc<Context>, mut orders: watch::Receiver<Ordered>, mut stop: watch::Receiver<bool>) {
    let mut pause = PAUSE;
    metrics::STANDS.with_label_values(&[&context.state.capability]).set(0);
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
            Err(Error::SchemaChanged) if pause == PAUSE => {
                tracing::warn!(capability = %context.state.capability, "the schema changed; starting over");
                After::Again(Duration::from_millis(1))
            }
            Err(error) => {
                tracing::error!(capability = %context.state.capability, %error, "the capability stands still");
                context.state.update(|report| report.trouble = Some(error.to_string()));
                metrics::STANDS.with_label_values(&[&context.state.capability]).set(1);
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

async fn remove(context: &Context, generation: u64, epoch: u64) -> Result<(), Error> {
    let resolved = &context.resolved;
    for (side, url, name) in
        [(Side::Legacy, &resolved.legacy_url, &resolved.legacy), (Side::Modern, &resolved.modern_url, &resolved.modern)]
    {
        let engine = open(url, &format!("{name} ({side})")).await?;
        let removed = engine.remove(&context.state.capability, side, epoch).await;
        engine.close().await;
        removed?;
    }
    context.state.update(|report| {
        *report =
            ficus_rules::wire::CapabilityReport { epoch: report.epoch, generation: Some(generation), removed: true, ..Default::default() };
    });
    Ok(())
}
