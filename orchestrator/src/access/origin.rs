//! Where a change came from, for the journal: who says to have made it, by which token, from which address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ficus_rules::migration::advance::JournalLine;

/// A name longer than this is cut: it is for people.
const NAME: usize = 100;

/// What is known of a request itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The name of its token.
    pub(crate) token: Option<String>,
    /// The address that it came from.
    pub(crate) from: Option<SocketAddr>,
    /// It was no request: these files changed.
    pub(crate) directory: Option<PathBuf>,
}

/// Who makes a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Author {
    says: String,
    origin: Origin,
}

impl Origin {
    /// Whoever calls themselves so.
    pub(crate) fn says(self, by: &str) -> Author {
        let says = by.chars().filter(|c| !c.is_control()).take(NAME).collect::<String>().trim().to_owned();
        Author { says, origin: self }
    }
}

impl Author {
    /// Whoever may write to the directory of the rules; the file system knows no more.
    pub(crate) fn of_files(directory: &Path) -> Author {
        Origin { directory: Some(directory.to_owned()), ..Origin::default() }.says("the rules directory")
    }

    /// The name for the journal. A token's name stands last: what people say of themselves is not verified.
    pub(crate) fn name(&self) -> Option<String> {
        match (self.says.as_str(), &self.origin.token) {
            ("", None) => None,
            (says, None) => Some(says.to_owned()),
            (says, Some(token)) if says.is_empty() || says == token => Some(token.clone()),
            (says, Some(token)) => Some(format!("{says} ({token})")),
        }
    }

    /// The line, with `origin: { token, address }` or `{ directory }` beside its own figures.
    pub(crate) fn signed(&self, mut line: JournalLine) -> JournalLine {
        let mut origin = serde_json::Map::new();
        origin.extend(self.origin.token.as_ref().map(|token| ("token".to_owned(), token.as_str().into())));
        origin.extend(self.origin.from.map(|from| ("address".to_owned(), from.ip().to_canonical().to_string().into())));
        origin.extend(self.origin.directory.as_ref().map(|directory| ("directory".to_owned(), directory.display().to_string().into())));
        if let Some(detail) = line.detail.as_object_mut().filter(|_| !origin.is_empty()) {
            detail.insert("origin".to_owned(), origin.into());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn a_token_is_named_beside_what_its_bearer_says() {
        let name = |says: &str, token: Option<&str>| Origin { token: token.map(Into::into), ..Origin::default() }.says(says).name();
        assert_eq!(name("", None), None);
        assert_eq!(name("ada", None).as_deref(), Some("ada"));
        assert_eq!(name("", Some("ops")).as_deref(), Some("ops"));
        assert_eq!(name("ops", Some("ops")).as_deref(), Some("ops"));
        assert_eq!(name("ada", Some("ops")).as_deref(), Some("ada (ops)"));
        assert_eq!(name("root (admin)\n", Some("ops")).as_deref(), Some("root (admin) (ops)"));
        assert_eq!(name(&"x".repeat(1_000), None).map(|name| name.len()), Some(100));
    }
}
