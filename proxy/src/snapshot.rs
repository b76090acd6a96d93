//! What is published: compiled as a whole, swapped at once, kept on disk. A bad rule set leaves the last good one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ficus_rules::decide::Snapshot;
use ficus_rules::route::Router;
use ficus_rules::spec::{self, Complaint, Known};
use ficus_rules::wire::Published;

/// Makes a snapshot of a published state. Takes over what `last` compiled when the rule files are the same.
///
/// # Errors
/// Every complaint about the rule files.
pub(crate) fn compile(published: Published, last: Option<&Snapshot>, known: &Known) -> Result<Snapshot, Vec<Complaint>> {
    if let Some(last) = last.filter(|last| last.published.rules == published.rules) {
        return Ok(Snapshot { published, rules: last.rules.clone(), router: last.router.clone() });
    }
    let rules = spec::load(&published.rules, known)?.rules;
    let router = Router::build(&rules).map_err(|message| vec![complaint(message, "report this: the check should have found it")])?;
    Ok(Snapshot { published, rules, router })
}

/// A complaint about no file in particular.
pub(crate) fn complaint(message: String, hint: &str) -> Complaint {
    Complaint { file: String::new(), line: 1, column: 1, message, hint: hint.to_owned(), warning: false }
}

/// The file that holds the last good state. Written by a thread of its own; only the newest state is worth writing.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    newest: Option<Published>,
    writing: bool,
    closed: bool,
}

impl SnapshotFile {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn open(path: PathBuf) -> io::Result<SnapshotFile> {
        let slot = Arc::new(Slot::default());
        let (file, theirs) = (path.clone(), slot.clone());
        std::thread::Builder::new().name("ficus-snapshot".to_owned()).spawn(move || write_newest(&file, &theirs))?;
        Ok(SnapshotFile { path, slot })
    }

    /// The last state that was written; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is no such state.
    pub(crate) fn read(&self) -> io::Result<Option<Published>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves a state to be written. Does not wait.
    pub(crate) fn keep(&self, published: Published) {
        self.lock().newest = Some(published);
        self.slot.changed.notify_all();
    }

    /// Waits until everything that was left has been written.
    pub(crate) fn flush(&self) {
        let pending = self.lock();
        let busy = |pending: &mut Pending| pending.newest.is_some() || pending.writing;
        drop(self.slot.changed.wait_while(pending, busy).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.slot.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        self.lock().closed = true;
        self.slot.changed.notify_all();
    }
}

fn write_newest(path: &Path, slot: &Slot) {
    let lock = || slot.pending.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let idle = |pending: &mut Pending| pending.newest.is_none() && !pending.closed;
        let mut pending = slot.changed.wait_while(lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = pending.newest.take() else { return };
        pending.writing = true;
        drop(pending);
        if let Err(error) = write(path, &newest) {
            tracing::warn!(path = %path.display(), %error, "the snapshot could not be kept on disk");
        }
        lock().writing = false;
        slot.changed.notify_all();
    }
}

/// Replaces the file as a whole: after a crash it holds either the old state or the new one.
fn write(path: &Path, published: &Published) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(published)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use ficus_rules::wire::Published;

    use super::SnapshotFile;

    #[test]
    fn the_newest_state_is_on_disk_after_a_flush() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SnapshotFile::open(folder.path().join("state/snapshot.json")).expect("a thread");
        assert_eq!(file.read().expect("no file is no error"), None);
        for generation in 1..=20 {
            file.keep(Published { generation, ..Published::default() });
        }
        file.flush();
        assert_eq!(file.read().expect("readable").map(|published| published.generation), Some(20));
        std::fs::write(folder.path().join("state/snapshot.json"), "{half").expect("writable");
        assert!(file.read().is_err(), "garbage is an error, not an empty state");
    }
}
