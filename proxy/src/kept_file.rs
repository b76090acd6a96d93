//! What outlives the process: a file that is replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file that holds the last state of something. Written by a thread of its own; only the newest state is worth writing.
#[derive(Debug)]
pub(crate) struct KeptFile<T> {
    path: PathBuf,
    slot: Arc<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    pending: Mutex<Pending<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pending<T> {
    newest: Option<T>,
    writing: bool,
    closed: bool,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> KeptFile<T> {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn open(path: PathBuf) -> io::Result<KeptFile<T>> {
        let pending = Mutex::new(Pending { newest: None, writing: false, closed: false });
        let slot = Arc::new(Slot { pending, changed: Condvar::new() });
        let (file, theirs) = (path.clone(), slot.clone());
        std::thread::Builder::new().name("ficus-kept".to_owned()).spawn(move || write_newest(&file, &theirs))?;
        Ok(KeptFile { path, slot })
    }

    /// The last state that was written; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is no such state.
    pub(crate) fn read(&self) -> io::Result<Option<T>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves a state to be written. Does not wait.
    pub(crate) fn keep(&self, state: T) {
        self.lock().newest = Some(state);
        self.slot.changed.notify_all();
    }

    /// Writes a state, and returns when it is on disk.
    ///
    /// # Errors
    /// It is not. What was left to be written still is.
    pub(crate) fn keep_now(&self, state: &T) -> io::Result<()> {
        let idle = self.slot.changed.wait_while(self.lock(), |pending| pending.writing);
        let mut pending = idle.unwrap_or_else(PoisonError::into_inner);
        let older = pending.newest.take();
        pending.writing = true;
        drop(pending);
        let kept = write(&self.path, state);
        let mut pending = self.lock();
        pending.writing = false;
        if kept.is_err() && pending.newest.is_none() {
            pending.newest = older;
        }
        drop(pending);
        self.slot.changed.notify_all();
        kept
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until everything that was left has been written.
    pub(crate) fn flush(&self) {
        let pending = self.lock();
        let busy = |pending: &mut Pending<T>| pending.newest.is_some() || pending.writing;
        drop(self.slot.changed.wait_while(pending, busy).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending<T>> {
        self.slot.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for KeptFile<T> {
    fn drop(&mut self) {
        self.slot.pending.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.slot.changed.notify_all();
    }
}

fn write_newest<T: Serialize>(path: &Path, slot: &Slot<T>) {
    let lock = || slot.pending.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let idle = |pending: &mut Pending<T>| pending.newest.is_none() && !pending.closed;
        let mut pending = slot.changed.wait_while(lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = pending.newest.take() else { return };
        pending.writing = true;
        drop(pending);
        if let Err(error) = write(path, &newest) {
            tracing::warn!(path = %path.display(), %error, "the file could not be written");
        }
        lock().writing = false;
        slot.changed.notify_all();
    }
}

/// Replaces the file as a whole: after a crash it holds either the old state or the new one.
fn write(path: &Path, state: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use ficus_rules::wire::Published;

    use super::KeptFile;

    #[test]
    fn the_newest_state_is_on_disk_after_a_flush() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = KeptFile::open(folder.path().join("state/snapshot.json")).expect("a thread");
        assert_eq!(file.read().expect("no file is no error"), None);
        for generation in 1..=20 {
            file.keep(Published { generation, ..Published::default() });
        }
        file.keep_now(&Published { generation: 21, ..Published::default() }).expect("writable");
        assert_eq!(file.read().expect("readable").map(|published| published.generation), Some(21), "at once");
        file.flush();
        assert_eq!(file.read().expect("readable").map(|published| published.generation), Some(21), "nothing older comes after it");
        std::fs::write(folder.path().join("state/snapshot.json"), "{half").expect("writable");
        assert!(file.read().is_err(), "garbage is an error, not an empty state");
    }
}
