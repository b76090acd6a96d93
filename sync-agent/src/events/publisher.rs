//! Carries what waits in the outboxes of both sides to one bus, in order, again and again until it is there.
//!
//! At least once: what the bus has confirmed is forgotten afterwards. In order of each subject: events of one subject are
//! never on their way together, so that one that is lost cannot be overtaken. Holds a piece of the outbox in memory, no more.
//! Never stands in anybody's way: a bus that is away is reported, and tried again.

mod stride;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::wire::EventsReport;
use tokio::sync::watch;

use self::stride::Stride;
use super::PER_MILLISECOND;
use super::broker::{Broker, Bus, PATIENCE, Refused};
use crate::crash;
use crate::error::Error;
use crate::metrics;
use crate::port::{Outgoing, Shared};
use crate::state::{State, now};

/// Events that are read at once from an outbox; its bytes are bounded too.
const PIECE: u32 = 500;

/// Without a word from the streams, the outboxes are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// The pause after a failure, doubled with every further one.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One bus of one capability.
pub(crate) struct Publisher {
    pub(crate) name: String,
    /// `None`: `ficus.toml` does not know it.
    pub(crate) bus: Option<Bus>,
    pub(crate) sinks: [Shared; 2],
    pub(crate) state: Arc<State>,
}

/// An event, and whose outbox it is in.
type Waiting = (usize, Outgoing);

impl Publisher {
    /// Until it is dropped, which is safe anywhere. Fails with the databases only.
    pub(crate) async fn run(self) -> Result<Infallible, Error> {
        let mut written = self.state.announcer.subscribe();
        let mut link: Option<Box<dyn Broker>> = None;
        let mut stride = Stride::default();
        let mut pause = PAUSE;
        self.note(0, None);
        loop {
            written.borrow_and_update();
            let piece = self.piece().await?;
            let Some((_, first)) = piece.first() else {
                self.note(0, None);
                self.reported(0, None);
                look_again(&mut written, LOOK).await;
                continue;
            };
            self.note(piece.len() as u64, Some(first.number));
            let (sent, failed) = self.send(&mut link, &mut stride, &piece).await;
            crash::point_if(sent > 0, "events_sent");
            self.forget(&piece[..sent]).await?;
            match failed {
                None => {
                    pause = PAUSE;
                    self.reported(0, None);
                }
                Some(why) => {
                    self.away(&why, first.number).await?;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The oldest of what waits on both sides, in order. An event that follows from another one has a higher number, and was
    /// numbered when that was in its outbox: up to the number that is the last before both are read, nothing is overlooked.
    async fn piece(&self) -> Result<Vec<Waiting>, Error> {
        let mut upto = self.state.announcer.last();
        let mut piece = Vec::new();
        for (side, sink) in self.sinks.iter().enumerate() {
            let waiting = sink.outbox(&self.name, PIECE).await?;
            // There may be more of this side, and more of the other than follows its last.
            upto = waiting.last().map_or(upto, |last| last.number.min(upto));
            piece.extend(waiting.into_iter().map(|event| (side, event)));
        }
        piece.retain(|(_, event)| event.number <= upto);
        piece.sort_by_key(|(_, event)| event.number);
        Ok(piece)
    }

    /// How many of them arrived, from the front, and why not all. From a slow bus it comes back before the end: what has
    /// arrived is forgotten soon, and what is shown of the rest is true.
    async fn send(&self, link: &mut Option<Box<dyn Broker>>, stride: &mut Stride, piece: &[Waiting]) -> (usize, Option<Refused>) {
        let (mut sent, began) = (0, Instant::now());
        while sent < piece.len() && (sent == 0 || began.elapsed() < LOOK) {
            let wave = wave(&piece[sent..], stride.most());
            let events: Vec<&Outgoing> = wave.iter().map(|(_, event)| event).collect();
            let asked = Instant::now();
            let carried = tokio::time::timeout(PATIENCE, self.carry(link, &events)).await;
            if let Err(why) = carried.unwrap_or_else(|_| Err(Refused(format!("no answer within {} s", PATIENCE.as_secs())))) {
                *link = None;
                stride.failed(wave.len());
                return (sent, Some(why));
            }
            stride.arrived(wave.len(), asked.elapsed());
            sent += wave.len();
            metrics::EVENTS_SENT.with_label_values(&self.labels()).inc_by(wave.len() as u64);
        }
        (sent, None)
    }

    async fn carry(&self, link: &mut Option<Box<dyn Broker>>, events: &[&Outgoing]) -> Result<(), Refused> {
        let Some(bus) = &self.bus else {
            return Err(Refused(format!("the agent's ficus.toml has no [events.{}]", self.name)));
        };
        let broker = match link {
            Some(broker) => broker,
            None => link.insert(bus.connect().await?),
        };
        broker.publish(events).await
    }

    /// What is there needs to be kept no longer.
    async fn forget(&self, sent: &[Waiting]) -> Result<(), Error> {
        for (side, sink) in self.sinks.iter().enumerate() {
            let numbers: Vec<u64> = sent.iter().filter(|(of, _)| *of == side).map(|(_, event)| event.number).collect();
            if !numbers.is_empty() {
                sink.sent(&self.name, &numbers).await?;
            }
        }
        Ok(())
    }

    async fn away(&self, why: &Refused, oldest: u64) -> Result<(), Error> {
        let mut waiting = 0;
        for sink in &self.sinks {
            waiting += sink.waiting(&self.name).await?;
        }
        self.note(waiting, Some(oldest));
        if self.reported(waiting, Some(why)) {
            tracing::warn!(capability = %self.state.capability, bus = %self.name, %why, "events wait: the bus does not take them");
        }
        Ok(())
    }

    fn labels(&self) -> [&str; 2] {
        [self.state.capability.as_str(), self.name.as_str()]
    }

    fn note(&self, waiting: u64, oldest: Option<u64>) {
        let labels = self.labels();
        metrics::EVENTS_WAITING.with_label_values(&labels).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let _ = metrics::EVENTS_SENT.with_label_values(&labels);
        let age = oldest.map_or(0, |number| now().0.saturating_sub(number / PER_MILLISECOND));
        metrics::EVENTS_LAG.with_label_values(&labels).set(age as f64 / 1_000.0);
    }

    /// Whether it is in trouble that it was not in before.
    fn reported(&self, waiting: u64, trouble: Option<&Refused>) -> bool {
        let report = EventsReport { waiting, trouble: trouble.map(ToString::to_string) };
        let known = self.state.report().events.get(&self.name).cloned();
        let other = known.as_ref().and_then(|known| known.trouble.as_ref()).is_some() != report.trouble.is_some();
        if known.as_ref() != Some(&report) {
            self.state.note(|all| drop(all.events.insert(self.name.clone(), report)));
        }
        other && trouble.is_some()
    }
}

/// What was shown of a bus is not shown any more: nobody would set it right. What was sent stays counted.
impl Drop for Publisher {
    fn drop(&mut self) {
        let labels = self.labels();
        // They are not there before the first look.
        let _ = metrics::EVENTS_WAITING.remove_label_values(&labels);
        let _ = metrics::EVENTS_LAG.remove_label_values(&labels);
    }
}

async fn look_again(written: &mut watch::Receiver<u64>, at_most: Duration) {
    // The sender lives as long as the state.
    let _ = tokio::time::timeout(at_most, written.changed()).await;
}

/// The front of a piece, with every subject once.
fn wave(piece: &[Waiting], most: usize) -> &[Waiting] {
    let mut subjects = HashSet::new();
    let events = piece.iter().take(most).take_while(|(_, event)| subjects.insert(event.subject.as_str())).count();
    &piece[..events]
}

#[cfg(test)]
mod tests;
