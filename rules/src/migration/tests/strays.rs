//! What the journal says of writes past the gateway, and how often.

use super::{NOW, good, later, plan, report, state};
use crate::Side;
use crate::migration::advance::{Event, advance};
use crate::migration::{Phase, State, strays};
use crate::plan::{Capability, StrayWrites};
use crate::wire::Strays;

/// What is counted at a time, in seconds, and the line that it leads to.
type Moment = (u64, Counted, Option<&'static str>);

#[derive(Clone, Copy)]
struct Counted {
    refused: u64,
    written: u64,
    unsettled: u64,
}

fn written(written: u64, unsettled: u64) -> Counted {
    Counted { refused: 0, written, unsettled }
}

fn refused(refused: u64) -> Counted {
    Counted { refused, written: 0, unsettled: 0 }
}

fn seen(counted: Counted) -> Strays {
    let one = |number: u64, what: &str| (0..number.min(1)).map(|_| what.to_owned()).collect();
    Strays {
        side: Side::Legacy,
        refused: counted.refused,
        writers: one(counted.refused, "role `beat`"),
        reported: counted.written,
        unsettled: counted.unsettled,
        untried: 0,
        wrote: one(counted.written, "role `cron`, application `psql`"),
        tables: (counted.unsettled > 0).then(|| ("accounts_customuser".to_owned(), counted.unsettled)).into_iter().collect(),
    }
}

fn told(plan: &Capability, moments: &[Moment]) {
    let mut state = state(Phase::Soaking, 4);
    for (second, counted, expected) in moments {
        let mut world = good(Side::Modern, later(*second));
        report(&mut world).strays = vec![seen(*counted)];
        let outcome = strays::tick(&state, plan, &world, later(*second));
        let line = outcome.as_ref().map(|outcome| outcome.journal[0].text.as_str());
        assert_eq!(line, *expected, "after {second} s");
        // Whoever leads next has read it from the store.
        state = outcome.map_or(state, |outcome| {
            assert_eq!(outcome.journal[0].kind, "strays");
            let stored = serde_json::to_string(&outcome.state).expect("it is stored");
            serde_json::from_str::<State>(&stored).expect("it is read")
        });
        assert!(strays::tick(&state, plan, &world, later(*second)).is_none(), "once, after {second} s");
    }
}

#[test]
fn the_first_rows_are_told_at_once_the_next_ones_summed_up_and_the_end_too() {
    let first = "1 row was written to legacy past the gateway (accounts_customuser: 1; role `cron`, application `psql`), \
                 1 row is on no other side: look (`ficus quarantine`), then `ficus repair`";
    let more = "41 more rows were written to legacy past the gateway (accounts_customuser: 42; role `cron`, application `psql`), \
                42 rows are on no other side: look (`ficus quarantine`), then `ficus repair`";
    let again = "5 more rows were written to legacy past the gateway (accounts_customuser: 47; role `cron`, application `psql`), \
                 47 rows are on no other side: look (`ficus quarantine`), then `ficus repair`";
    let end = "nothing that was written to legacy past the gateway is undecided any more (47 rows in all)";
    told(
        &plan(),
        &[
            (0, written(0, 0), None),
            (10, written(1, 1), Some(first)),
            (40, written(30, 30), None),
            (69, written(40, 40), None),
            (70, written(42, 42), Some(more)),
            // Twice as long from line to line.
            (130, written(47, 47), None),
            (190, written(47, 47), Some(again)),
            (400, written(47, 47), None),
            (2_000, written(47, 0), Some(end)),
            (3_000, written(47, 0), None),
        ],
    );
}

#[test]
fn what_is_carried_over_needs_nobody() {
    let forwarding = Capability { strays: StrayWrites::Forward, ..plan() };
    let who = "(role `cron`, application `psql`)";
    let first = format!("3 rows were written to legacy past the gateway {who}, nothing of it is undecided");
    let more = format!("9 more rows were written to legacy past the gateway {who}, nothing of it is undecided");
    let stuck = "1 more row was written to legacy past the gateway (accounts_customuser: 1; role `cron`, application `psql`), \
                 1 row is not (yet) carried over: `ficus quarantine` has why";
    let (first, more): (&'static str, &'static str) = (first.leak(), more.leak());
    let end = "nothing that was written to legacy past the gateway is undecided any more (13 rows in all)";
    told(
        &forwarding,
        &[
            (0, written(3, 0), Some(first)),
            (30, written(7, 1), None),
            (60, written(12, 0), Some(more)),
            (300, written(13, 1), Some(stuck)),
            (330, written(13, 0), None),
            (360, written(13, 0), Some(end)),
        ],
    );
}

#[test]
fn a_job_that_is_refused_for_ever_becomes_a_line_an_hour() {
    let mut state = state(Phase::Soaking, 4);
    let mut lines = Vec::new();
    for minute in 0..24 * 60 {
        let now = later(minute * 60);
        let mut world = good(Side::Modern, now);
        report(&mut world).strays = vec![seen(refused(minute + 1))];
        if let Some(outcome) = strays::tick(&state, &plan(), &world, now) {
            lines.push((minute, outcome.journal[0].text.clone()));
            state = outcome.state;
        }
    }
    let minutes: Vec<u64> = lines.iter().map(|(minute, _)| *minute).take(9).collect();
    assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    assert_eq!(lines.len(), 29, "{lines:?}");
    assert_eq!(lines[0].1, "1 write past the gateway was refused by legacy's database (role `beat`)");
    assert_eq!(lines[2].1, "2 more writes past the gateway were refused by legacy's database (role `beat`)");
}

#[test]
fn a_count_that_begins_anew_and_a_long_silence_make_a_new_spell() {
    let one = "1 write past the gateway was refused by legacy's database (role `beat`)";
    let two = "2 more writes past the gateway were refused by legacy's database (role `beat`)";
    let seven = "7 writes past the gateway were refused by legacy's database (role `beat`)";
    told(&plan(), &[(0, refused(1), Some(one)), (61, refused(3), Some(two)), (10_000, refused(10), Some(seven))]);
    let five = "5 more writes past the gateway were refused by legacy's database (role `beat`)";
    let ten = "10 writes past the gateway were refused by legacy's database (role `beat`)";
    told(&plan(), &[(0, refused(10), Some(ten)), (100, refused(5), Some(five))]);
}

#[test]
fn each_side_is_told_of_and_nothing_before_the_beginning_or_after_the_end() {
    let mut world = good(Side::Modern, NOW);
    report(&mut world).strays = vec![seen(refused(1)), Strays { side: Side::Modern, ..seen(refused(2)) }];
    let tick = |state: &State| advance(state, &plan(), &world, &Event::Tick, NOW);
    let first = tick(&state(Phase::Soaking, 4));
    let second = tick(&first.state);
    let sides: Vec<_> = [&first, &second].iter().map(|outcome| outcome.journal[0].detail["side"].clone()).collect();
    assert_eq!(sides, ["legacy", "modern"]);
    assert!(tick(&second.state).journal.iter().all(|line| line.kind != "strays"));
    for phase in [Phase::Draft, Phase::Retired] {
        assert!(strays::tick(&state(phase, 0), &plan(), &world, NOW).is_none(), "{phase:?}");
    }
    let bare = Capability { tables: vec![], ..plan() };
    assert!(strays::tick(&state(Phase::Soaking, 4), &bare, &world, NOW).is_none(), "without tables nothing is fenced");
    assert_eq!(first.state.strays.keys().collect::<Vec<_>>(), [&Side::Legacy]);
}
