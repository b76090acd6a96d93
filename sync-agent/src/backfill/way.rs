//! The copy gives way while the source has more to do than it may have beside a copy.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::port::Shared;
use crate::state::State;

/// Between two looks at the source.
const LOOK: Duration = Duration::from_millis(250);

/// After so long a batch is written all the same: the source keeps its log until the copy is complete, so that one which stood
/// still would fill the disk of the database that it spares.
const AT_MOST: Duration = Duration::from_secs(5);

/// What is known of the source's load.
pub(super) struct Way {
    /// Statements at once, at most.
    max_load: Option<u64>,
    looked: Option<Instant>,
}

impl Way {
    pub(super) fn new(max_load: Option<u64>) -> Way {
        Way { max_load, looked: None }
    }

    /// Comes back when the next batch may be written.
    pub(super) async fn give(&mut self, source: &Shared, state: &State) -> Result<(), Error> {
        let Some(most) = self.max_load else { return Ok(()) };
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(());
        }
        let since = Instant::now();
        loop {
            let above = source.load_of_server().await?.filter(|load| *load > most && since.elapsed() < AT_MOST);
            state.update(|report| report.backfill.gives_way_to = above);
            if above.is_none() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.looked = Some(Instant::now());
        Ok(())
    }
}
