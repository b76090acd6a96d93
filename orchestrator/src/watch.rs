//! Watches the rules directory: notifications of the operating system, and a slow look in case there are none (network
//! file systems, a swapped link above the directory). Compares contents, so that touching a file is no change.

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::migration::Phase;
use ficus_rules::wire::RuleFile;
use notify::{RecursiveMode, Watcher as _};
use tracing::debug;

use crate::access::Author;
use crate::publish::View;
use crate::store::Stored;
use crate::{Shared, reconcile, rulebook};

/// An editor writes a file in several goes (empty first, then full); a deployment writes several files. The same for this
/// long means done.
const QUIET: Duration = Duration::from_millis(60);
/// Never wait longer than this for the quiet.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts to watch; the future watches until the orchestrator stops.
pub(crate) fn begin(shared: Arc<Shared>) -> Result<impl Future<Output = ()> + Send + use<>, notify::Error> {
    let (tell, changed) = tokio::sync::mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let read_only = event.is_ok_and(|event| event.kind.is_access());
        if !read_only {
            // Full: somebody is told already.
            let _ = tell.try_send(());
        }
    })?;
    // A directory that is missing now may be there later: the slow look finds it.
    if let Err(error) = watcher.watch(&shared.config.rules_dir, RecursiveMode::NonRecursive) {
        debug!(%error, "the rules directory cannot be watched, looking at it now and then");
    }
    Ok(watch(shared, watcher, changed))
}

async fn watch(shared: Arc<Shared>, watcher: notify::RecommendedWatcher, mut changed: tokio::sync::mpsc::Receiver<()>) {
    let mut stopping = shared.stopping.subscribe();
    let mut judged_by = standing(&shared.publisher.view());
    loop {
        tokio::select! {
            () = crate::stopped(&mut stopping) => break,
            told = changed.recv() => {
                if told.is_none() { break }
            }
            () = tokio::time::sleep(shared.config.rules_poll) => {}
        }
        let mut files = look(&shared);
        if files != shared.publisher.view().attempted {
            files = at_rest(files, || look(&shared)).await;
        }
        let view = shared.publisher.view();
        let stands = standing(&view);
        // What was refused because of where a capability was may be fine where it is now.
        let elsewhere = !view.complaints.is_empty() && stands != judged_by;
        // Good ones that could not be written: there is no file to blame, and none will change.
        let unwritten = view.complaints.iter().any(|complaint| complaint.file.is_empty());
        if files != view.attempted || elsewhere || unwritten {
            // Complaints are logged and kept by the reconciler; a directory that cannot be read is one.
            let _ = reconcile::reload(&shared, Author::of_files(&shared.config.rules_dir), None).await;
            judged_by = stands;
        }
    }
    drop(watcher);
}

/// What of the states decides about rules.
fn standing(view: &View) -> Vec<(String, Phase, bool)> {
    let of = |stored: &Stored| (stored.state.capability.clone(), stored.state.phase, stored.state.switch.is_some());
    view.states.values().map(of).collect()
}

fn look(shared: &Shared) -> Option<Vec<RuleFile>> {
    rulebook::read(&shared.config.rules_dir).ok()
}

/// Looks until it sees the same for [`QUIET`], and answers with what it saw last. However it came to look: the slow look
/// may come in the midst of a save as well.
async fn at_rest<T: PartialEq>(mut seen: T, look: impl Fn() -> T) -> T {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        tokio::time::sleep(QUIET).await;
        let again = look();
        if again == seen {
            break;
        }
        seen = again;
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What stands in the file at the n-th look; the answer and how many looks it took.
    async fn rests(saves: &[&'static str]) -> (&'static str, usize) {
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            saves[looks.get().min(saves.len() - 1)]
        };
        (at_rest(saves[0], look).await, looks.get())
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_a_save_is_not_believed() {
        assert_eq!(rests(&["whole"]).await, ("whole", 1));
        assert_eq!(rests(&["", "half", "whole"]).await, ("whole", 3));
        let restless: Vec<&str> = ["a", "b"].repeat(100);
        let (_, looks) = rests(&restless).await;
        assert!(looks < 20, "it looked {looks} times");
    }
}
