//! Whether the orders at hand are the newest, asked once a turn has been taken from another agent.
//!
//! Orders may have been on their way while that agent carried out newer ones. From the turn on it can do nothing more: what is
//! published after that, or still the newest then, is not undone by carrying it out. Does not know how orders travel: who carries
//! them listens ([`Questions::listen`]), asks the orchestrator without delay, and says so ([`crate::Agent::answer`]). Where nobody
//! listens, orders are taken to be the newest: they are given by hand.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Questions, numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    asked: watch::Sender<u64>,
    answered: watch::Sender<u64>,
    listened: AtomicBool,
}

impl Questions {
    /// The number of the newest question, now and whenever it grows.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.listened.store(true, Ordering::Release);
        self.asked.subscribe()
    }

    /// Questions up to this one are answered: whatever was newest then has been given out.
    pub(crate) fn answer(&self, upto: u64) {
        self.answered.send_if_modified(|known| {
            let later = upto > *known;
            *known = upto.max(*known);
            later
        });
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self) {
        if !self.listened.load(Ordering::Acquire) {
            return;
        }
        let mut answered = self.answered.subscribe();
        let mut mine = 0;
        self.asked.send_modify(|number| {
            *number += 1;
            mine = *number;
        });
        // Its sender is here.
        let _ = answered.wait_for(|upto| *upto >= mine).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Questions;

    #[tokio::test]
    async fn a_question_waits_for_its_answer_where_somebody_listens() {
        let questions = Arc::new(Questions::default());
        questions.ask().await;
        let mut heard = questions.listen();
        let asking = tokio::spawn({
            let questions = Arc::clone(&questions);
            async move { questions.ask().await }
        });
        assert!(heard.wait_for(|number| *number == 1).await.is_ok());
        questions.answer(0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!asking.is_finished(), "what was answered before it was asked");
        questions.answer(1);
        assert!(asking.await.is_ok());
    }
}
