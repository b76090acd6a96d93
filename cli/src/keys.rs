//! The gateways' own secrets: the key of read-your-writes markers and the key that signs identity tokens. Made on the
//! first start, kept in the state directory, readable by their owner alone.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;

/// The 32 bytes in `state/name`, made if the file is not there.
pub(crate) fn load_or_make(state: &Path, name: &str) -> Result<[u8; 32]> {
    let path = state.join(name);
    match fs::read(&path) {
        Ok(bytes) => {
            let Ok(key) = bytes.try_into() else {
                bail!("{} is not a key of 32 bytes: remove it to have a new one made (signed-in users notice nothing)", path.display());
            };
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(state, &path),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The bytes in `state/name`, if this machine has them and they may be read.
pub(crate) fn at_hand(state: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(state.join(name)).ok()
}

fn make(state: &Path, path: &Path) -> Result<[u8; 32]> {
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let mut key = [0u8; 32];
    rand::rng().fill_bytes(&mut key);
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}
