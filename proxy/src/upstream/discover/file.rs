//! Instances by a file, looked at twice a second: its content says whether it changed, so that links that are switched
//! (Kubernetes) and files that are replaced are seen alike. A line that makes no sense spoils the whole file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Found;
use crate::config::Weighted;

/// Between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(500);

/// The file.
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn new(path: &Path) -> File {
        File { path: path.to_owned() }
    }

    pub(super) async fn look(&self) -> Result<Found, String> {
        let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| format!("{}: {error}", self.path.display()))?;
        let instances = read(&text).map_err(|(line, why)| format!("{}:{line}: {why}", self.path.display()))?;
        if instances.is_empty() {
            return Err(format!("{} names no instance", self.path.display()));
        }
        Ok(Found { instances, again: EVERY })
    }
}

/// Reads lines like `10.0.0.7:8000` and `10.0.0.8:8000 3`.
fn read(text: &str) -> Result<Vec<Weighted>, (usize, String)> {
    let (mut instances, mut known) = (Vec::new(), BTreeSet::new());
    for (number, line) in text.lines().enumerate() {
        let fault = |why: String| (number + 1, why);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let instance: Weighted = line.parse().map_err(fault)?;
        if !known.insert(instance.address.clone()) {
            return Err(fault(format!("`{}` stands in it twice", instance.address)));
        }
        instances.push(instance);
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn lines_are_addresses_with_weights() {
        let found =
            read("# users\n10.0.0.7:8000\n\n  10.0.0.8:8000 3 # the large one\n[::1]:80\nusers.test:80 1000\n").expect("it is sound");
        let found: Vec<_> = found.iter().map(|one| (one.address.as_str(), one.weight)).collect();
        assert_eq!(found, [("10.0.0.7:8000", 1), ("10.0.0.8:8000", 3), ("[::1]:80", 1), ("users.test:80", 1000)]);
        assert_eq!(read("").expect("nothing is sound").len(), 0);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        for (text, line, word) in [
            ("10.0.0.7", 1, "not an address"),
            ("a:1\n:80", 2, "not an address"),
            ("a:0", 1, "not an address"),
            ("a:1 0", 1, "not a weight"),
            ("a:1 1001", 1, "not a weight"),
            ("a:1 2 3", 1, "too much"),
            ("a:1\n\na:1", 3, "twice"),
        ] {
            let (at, why) = read(text).expect_err(text);
            assert!(at == line && why.contains(word), "{text}: {at} {why}");
        }
    }
}
