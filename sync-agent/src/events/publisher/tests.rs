//! The parts in which events are sent.

use super::{Outgoing, Waiting, wave};

fn waiting(number: u64, subject: &str) -> Waiting {
    let outgoing = Outgoing {
        number,
        bus: "bus".into(),
        id: number.to_string(),
        kind: "user.updated".into(),
        subject: subject.into(),
        body: String::new(),
    };
    (0, outgoing)
}

#[test]
fn a_subject_is_on_its_way_once_at_a_time() {
    let piece: Vec<Waiting> = ["a", "b", "a", "a", "c", "b"].iter().zip(1..).map(|(subject, number)| waiting(number, subject)).collect();
    let numbers = |most: usize| {
        let (mut waves, mut rest) = (Vec::new(), &piece[..]);
        while !rest.is_empty() {
            let wave = wave(rest, most);
            waves.push(wave.iter().map(|(_, event)| event.number).collect::<Vec<u64>>());
            rest = &rest[wave.len()..];
        }
        waves
    };
    assert_eq!(numbers(500), [vec![1, 2], vec![3], vec![4, 5, 6]]);
    assert_eq!(numbers(2), [vec![1, 2], vec![3], vec![4, 5], vec![6]]);
    assert!(wave(&[], 500).is_empty());
}
