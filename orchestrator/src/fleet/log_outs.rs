//! Log-outs that gateways have told, for the other gateways. In memory: each gateway keeps them too, and tells all of them to
//! whoever keeps another list than before.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use ficus_rules::Timestamp;
use ficus_rules::log_out::{Heard, LogOut, LogOuts};

use super::now;

/// The list.
pub(super) struct List {
    /// No other list has this name.
    name: String,
    known: LogOuts,
}

impl Default for List {
    fn default() -> Self {
        let name = format!("{:016x}-{:x}", RandomState::new().build_hasher().finish(), now().0);
        List { name, known: LogOuts::default() }
    }
}

impl List {
    /// Takes a gateway's words in, and gives what it does not know yet, or some of it.
    pub(super) fn exchange(&mut self, words: Vec<LogOut>, heard: &Heard, now: Timestamp) -> (Vec<LogOut>, Heard) {
        for word in words {
            self.known.take(word, now);
        }
        let through = if heard.list == self.name { heard.through } else { 0 };
        let (words, through) = self.known.after(through);
        (words, Heard { list: self.name.clone(), through })
    }
}
