//! What was answered to the operators' own gates, newest ones.

use std::collections::{BTreeMap, VecDeque};

use ficus_rules::Timestamp;
use ficus_rules::gate::Answer;

/// Answers kept of each gate; the rule language asks for fewer windows.
const KEPT: usize = 64;

/// By capability and gate: of the step that began then, what was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<String, BTreeMap<String, VecDeque<(Timestamp, Answer)>>>,
}

impl Answers {
    /// Takes in an answer to what was asked in the step that began at `step`.
    pub(crate) fn keep(&mut self, capability: &str, gate: &str, step: Timestamp, answer: Answer) {
        let of_gate = self.kept.entry(capability.to_owned()).or_default().entry(gate.to_owned()).or_default();
        of_gate.push_back((step, answer));
        if of_gate.len() > KEPT {
            of_gate.pop_front();
        }
    }

    /// Those of the step that began then: what was asked in an earlier one says nothing of this one, however late it is answered.
    pub(crate) fn of_step(&self, capability: &str, began: Timestamp) -> BTreeMap<String, Vec<Answer>> {
        let of_capability = self.kept.get(capability).into_iter().flatten();
        let of_step = |answers: &VecDeque<(Timestamp, Answer)>| {
            answers.iter().filter(|(step, _)| *step == began).map(|(_, answer)| answer.clone()).collect()
        };
        of_capability.map(|(gate, answers)| (gate.clone(), of_step(answers))).collect()
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::gate::{Answer, Said};

    use super::Answers;

    #[test]
    fn an_answer_that_comes_in_the_next_step_is_of_the_step_in_which_it_was_asked_for() {
        let (first, next) = (Timestamp(1_000), Timestamp(2_000));
        let mut answers = Answers::default();
        let answer = |at| Answer { at: Timestamp(at), said: Ok(Said::Value(1.0)) };
        answers.keep("users", "checks", first, answer(2_500));
        assert!(answers.of_step("users", next)["checks"].is_empty());
        answers.keep("users", "checks", next, answer(2_600));
        assert_eq!(answers.of_step("users", next)["checks"], [answer(2_600)]);
        assert_eq!(answers.of_step("users", first)["checks"], [answer(2_500)]);
    }
}
