//! Looks whether somebody's old open transaction would keep the fence of the owner's database waiting, so that a switch
//! can be refused before anybody's writes are held for it. Which transactions these are is the engines' business
//! ([`Database::busy`]); here are the cadence, and the words. On its way it asks what both logs keep for the agent, and who met
//! the fences.
//!
//! [`Database::busy`]: crate::port::Database::busy

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::Plan;
use tokio::sync::watch;

use crate::agent::Ordered;
use crate::metrics;
use crate::port::{Busy, Direction, Shared};
use crate::state::State;
use crate::strays;

/// A transaction that has been open for so long is an old one. The pause of a switch is meant to be a tenth of it, and the
/// fence waits for three times as long, at most ten: one that has lasted for a second will rather spoil both than end in
/// time. Requests of an application are far below it, also on a loaded machine, and never stop a switch.
pub(crate) const OLD: Duration = Duration::from_secs(1);

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Between two looks while somebody may be in the way.
const AGAIN: Duration = Duration::from_millis(50);

/// How often to see how much of the logs is kept.
const MEASURE: Duration = Duration::from_secs(5);

/// How often to see whether rows of strangers have been kept for long enough.
const FORGET: Duration = Duration::from_secs(3_600);

/// Longer statements are cut.
const STATEMENT: usize = 80;

/// Looks again and again, for one session.
pub(crate) struct Lookout {
    pub(crate) legacy: Shared,
    pub(crate) modern: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) state: Arc<State>,
    pub(crate) orders: watch::Receiver<Ordered>,
}

impl Lookout {
    /// Until it is dropped.
    pub(crate) async fn run(self) -> Infallible {
        let mut measured: Option<Instant> = None;
        let mut forgot: Option<Instant> = None;
        loop {
            if measured.is_none_or(|at| at.elapsed() >= MEASURE) {
                measured = Some(Instant::now());
                self.measure().await;
            }
            let (epoch, owner) = {
                let orders = self.orders.borrow();
                (orders.epoch, orders.owner)
            };
            let side = match owner {
                Side::Legacy => &self.legacy,
                Side::Modern => &self.modern,
            };
            let seen = side.busy().await.unwrap_or_else(|error| {
                // A database that cannot be asked stops the streams, and those say so.
                tracing::debug!(capability = %self.state.capability, %error, "cannot look for open transactions");
                Busy::Free
            });
            if let Err(error) = strays::look(&self.state, &self.legacy, &self.modern, &self.plans).await {
                tracing::debug!(capability = %self.state.capability, %error, "cannot see who met the fences");
            }
            if forgot.is_none_or(|at| at.elapsed() >= FORGET) {
                // Some at a time: nobody waits for that.
                forgot = if self.forget().await { None } else { Some(Instant::now()) };
            }
            let pause = if seen == Busy::Perhaps { AGAIN } else { EVERY };
            let held = if let Busy::Held { text, ends } = seen { Some((text, ends)) } else { None };
            self.state.set_busy(epoch, held, side.fence_waits());
            tokio::time::sleep(pause).await;
        }
    }
}

impl Lookout {
    /// Whether there may be more to forget.
    async fn forget(&self) -> bool {
        let mut more = false;
        for database in [&self.legacy, &self.modern] {
            match database.forget_strays().await {
                Ok(some) => more |= some,
                Err(error) => tracing::debug!(capability = %self.state.capability, %error, "rows that strangers wrote are kept for longer"),
            }
        }
        more
    }

    /// Shows how much of both logs is kept for the agent.
    async fn measure(&self) {
        for (direction, source) in [(Direction::Forward, &self.legacy), (Direction::Reverse, &self.modern)] {
            match source.kept_log().await {
                Ok(bytes) => {
                    let labels = [self.state.capability.as_str(), direction.as_str()];
                    metrics::KEPT_LOG.with_label_values(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
                }
                Err(error) => tracing::debug!(capability = %self.state.capability, %error, "cannot see how much of the log is kept"),
            }
        }
    }
}

/// What is known of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// For how long it has been open, at least.
    pub(crate) age: Duration,
    /// Its process, its role, its application: what the engine tells.
    pub(crate) who: Vec<String>,
    /// How it ends.
    pub(crate) remedy: String,
    /// Whether the agent may end it; otherwise, what would let it, or why nothing does.
    pub(crate) ends: Result<(), String>,
}

impl Open {
    /// One that nothing ends from here.
    pub(crate) fn endless(age: Duration, who: Vec<String>, remedy: String) -> Open {
        Open { age, who, remedy, ends: Err(String::new()) }
    }

    /// Who it is, and for how long.
    pub(crate) fn in_words(&self) -> String {
        format!("{}, open for {} s", self.who.join(", "), self.age.as_secs())
    }
}

/// The oldest of them, in words. `label` names the database of a side; of modern it is said what becomes of them on the way back.
pub(crate) fn sentence(label: &str, side: Side, what: &str, mut open: Vec<Open>) -> Busy {
    open.sort_by_key(|open| std::cmp::Reverse(open.age));
    let ends = open.iter().all(|open| open.ends.is_ok());
    let others = open.len().saturating_sub(1);
    // Whoever cannot be ended is who somebody has to see to.
    let back = open.iter().find_map(|open| open.ends.clone().err());
    let back = match back {
        _ if side == Side::Legacy => String::new(),
        None => "; a revert ends it by itself".to_owned(),
        Some(why) if why.is_empty() => String::new(),
        Some(why) => format!("; {why}"),
    };
    let Some(Open { age, who, remedy, .. }) = open.into_iter().next() else { return Busy::Free };
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    let others = if others == 0 { String::new() } else { format!(", and {others} more") };
    let text = format!(
        "{label}: {what} {} s{who}{others}; a fence would wait for it, and everybody's writes with it: {remedy}{back}",
        age.as_secs()
    );
    Busy::Held { text, ends }
}

/// What may be shown of a statement: what stands before its first value. `marks` begin texts in the engine's language.
pub(crate) fn statement(text: &str, marks: &[char]) -> Option<String> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut before = ' ';
    let mut shown = String::new();
    for (at, letter) in words.char_indices() {
        let number = letter.is_ascii_digit() && !before.is_alphanumeric() && before != '_';
        let comment = ["/*", "--", "#"].iter().any(|mark| words[at..].starts_with(mark));
        if number || comment || marks.contains(&letter) || shown.len() >= STATEMENT {
            shown.push('…');
            break;
        }
        shown.push(letter);
        before = letter;
    }
    (shown.len() > '…'.len_utf8()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ficus_rules::Side;

    use super::{Open, sentence, statement};
    use crate::port::Busy;

    #[test]
    fn no_value_of_a_statement_is_shown() {
        let long = format!("SELECT {} FROM t", "a, ".repeat(60));
        for (text, shown) in [
            ("UPDATE users\n  SET name = 'ada' WHERE id = 7", "UPDATE users SET name = …"),
            ("DELETE FROM t2 WHERE id=7", "DELETE FROM t2 WHERE id=…"),
            ("SELECT \"column 1\" FROM t WHERE x = $1", "SELECT \"column …"),
            ("INSERT INTO a VALUES ($$ada$$)", "INSERT INTO a VALUES (…"),
            ("/* ada@example.org */ SELECT", ""),
            ("COMMIT -- ada", "COMMIT …"),
            ("BEGIN", "BEGIN"),
        ] {
            assert_eq!(statement(text, &['\'', '$']).unwrap_or_default(), shown, "{text}");
        }
        assert_eq!(statement("UPDATE t SET a = \"ada\"", &['\'', '"']).as_deref(), Some("UPDATE t SET a = …"));
        assert!(statement(&long, &[]).is_some_and(|shown| shown.len() < 90 && shown.ends_with('…')));
    }

    #[test]
    fn the_oldest_is_named() {
        let open = |seconds, who: &str| Open {
            ends: Ok(()),
            ..Open::endless(Duration::from_secs(seconds), vec![who.into()], format!("end {who}"))
        };
        let two = || vec![open(2, "a"), open(5, "b")];
        assert_eq!(sentence("db", Side::Legacy, "open for", vec![]), Busy::Free);
        let Busy::Held { text, ends } = sentence("db", Side::Legacy, "open for", two()) else { panic!("it is held") };
        assert!(text.starts_with("db: open for 5 s (b), and 1 more; ") && text.ends_with("end b") && ends, "{text}");
        // Of modern's it is said that they are ended, or what would have to be granted for any of them
        let Busy::Held { text, .. } = sentence("db", Side::Modern, "open for", two()) else { panic!("it is held") };
        assert!(text.ends_with("end b; a revert ends it by itself"), "{text}");
        let spared = Open { ends: Err("so that a revert does: GRANT it;".into()), ..open(3, "c") };
        let Busy::Held { text, ends } = sentence("db", Side::Modern, "open for", [two(), vec![spared]].concat()) else {
            panic!("it is held")
        };
        assert!(text.ends_with("end b; so that a revert does: GRANT it;") && !ends, "{text}");
    }
}
