//! What was answered to the operators' own gates, newest ones.

use std::collections::{BTreeMap, VecDeque};

use ficus_rules::Timestamp;
use ficus_rules::gate::Answer;

/// Answers kept of each gate; the rule language asks for fewer windows.
const KEPT: usize = 64;

/// By capability and gate.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<String, BTreeMap<String, VecDeque<Answer>>>,
}

impl Answers {
    pub(crate) fn keep(&mut self, capability: &str, gate: &str, answer: Answer) {
        let of_gate = self.kept.entry(capability.to_owned()).or_default().entry(gate.to_owned()).or_default();
        of_gate.push_back(answer);
        if of_gate.len() > KEPT {
            of_gate.pop_front();
        }
    }

    /// Those since then: what was said of an earlier step says nothing of this one.
    pub(crate) fn since(&self, capability: &str, then: Timestamp) -> BTreeMap<String, Vec<Answer>> {
        let of_capability = self.kept.get(capability).into_iter().flatten();
        let newer = |answers: &VecDeque<Answer>| answers.iter().filter(|answer| answer.at >= then).cloned().collect();
        of_capability.map(|(gate, answers)| (gate.clone(), newer(answers))).collect()
    }
}
