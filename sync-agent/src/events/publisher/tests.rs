//! The parts in which events are sent.

use super::{Outgoing, Waiting, waves};

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
    let numbers: Vec<Vec<u64>> = waves(&piece).iter().map(|wave| wave.iter().map(|(_, event)| event.number).collect()).collect();
    assert_eq!(numbers, [vec![1, 2], vec![3], vec![4, 5, 6]]);
    assert!(waves(&[]).is_empty());
}
