//! Load: callers that read, write and read back, at a bounded rate, until told to stop.

mod noticed;
mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::caller::{Caller, PASSWORD};
use crate::http::Http;
use crate::ledger::Ledger;

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Students and staff, each on their own record.
    pub people: u32,
    /// Admins, who make and remove users.
    pub admins: u32,
    /// Pause of each caller between two requests.
    pub pause: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { people: 16, admins: 2, pause: Duration::from_millis(60) }
    }
}

/// Running callers.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    /// What they remember.
    pub ledger: Ledger,
}

impl Load {
    /// Logs everybody in, then lets them go on in the background.
    ///
    /// # Errors
    /// Somebody cannot log in.
    pub async fn start(http: &Http, shape: Shape) -> Result<Load> {
        Load::start_as(http, shape, 0).await
    }

    /// The same with other people: those of group 1 share no record and no token with those of group 0.
    ///
    /// # Errors
    /// Somebody cannot log in.
    pub async fn start_as(http: &Http, shape: Shape, group: u32) -> Result<Load> {
        let ledger = Ledger::of_group(group);
        let (people, admins) = (shape.people * group, shape.admins * group);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = Vec::new();
        for number in people..people + shape.people {
            let name = if number % 4 == 0 { format!("staff{}", number / 4 + 1) } else { format!("student{}", number + 1) };
            callers.push((Caller::log_in(http.clone(), &name, PASSWORD).await?, false));
        }
        for number in admins..admins + shape.admins {
            callers.push((Caller::log_in(http.clone(), &format!("admin{}", number + 1), PASSWORD).await?, true));
        }
        let tasks = callers.into_iter().enumerate().map(|(seed, (caller, admin))| {
            let person = script::Person::new(caller, ledger.clone(), u64::from(people) + seed as u64, admin);
            let stop = Arc::clone(&stop);
            tokio::spawn(go_on(person, stop, shape.pause))
        });
        Ok(Load { tasks: tasks.collect(), stop, ledger })
    }

    /// Lets everybody finish what they are at.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let _ = task.await;
        }
        self.ledger
    }
}

async fn go_on(mut person: script::Person, stop: Arc<AtomicBool>, pause: Duration) {
    while !stop.load(Ordering::Relaxed) {
        person.act().await;
        tokio::time::sleep(pause).await;
    }
}
