//! Something that is made of files, and made anew when one of them changes. Files are looked at by what stands in them:
//! Kubernetes swaps a link, certbot renames, and neither leaves a date to lean on. What cannot be used changes nothing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// What is made of the files' contents; the error is a sentence without the contents.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync>;

/// The newest good one of what the files hold.
pub(crate) struct Watched<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    current: ArcSwap<T>,
    /// A hash of what was last read, good or not.
    seen: Mutex<u64>,
}

impl<T> Watched<T> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) fn load(
        files: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let read = read(&files)?;
        let (made, seen) = (make(&read)?, hash(&read));
        super::tell(&name(&files), true);
        Ok(Watched { files, make: Box::new(make), current: ArcSwap::from_pointee(made), seen: Mutex::new(seen) })
    }

    /// The newest good one.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Makes it anew if a file has changed.
    pub(crate) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = read(&self.files);
        let now = read.as_ref().map_or(0, |read| hash(read));
        if std::mem::replace(&mut *seen, now) == now {
            return;
        }
        let file = name(&self.files);
        let made = read.and_then(|read| (self.make)(&read));
        super::tell(&file, made.is_ok());
        match made {
            Ok(made) => {
                self.current.store(Arc::new(made));
                tracing::info!(file, "read anew");
            }
            Err(error) => tracing::error!(file, error, "cannot be used: what was read before goes on serving"),
        }
    }
}

/// What the files are called in metrics: as the first one is.
fn name(files: &[PathBuf]) -> String {
    files.first().map_or_else(String::new, |file| file.display().to_string())
}

fn read(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let read = |file: &PathBuf| std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    files.iter().map(read).collect()
}

fn hash(read: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    read.hash(&mut hasher);
    hasher.finish()
}
