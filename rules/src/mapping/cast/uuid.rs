//! UUIDs in the forms that databases keep them in.

use super::Why;
use ::uuid::Uuid;

pub(super) const NONE: Why = "not a uuid";

/// Lower case with hyphens, from text with or without them.
pub(super) fn canonical(text: &str) -> Option<String> {
    matches!(text.len(), 32 | 36).then(|| Uuid::try_parse(text).ok()).flatten().map(|uuid| uuid.to_string())
}

/// The 16 bytes of one.
pub(super) fn to_bytes(text: &str) -> Option<Vec<u8>> {
    Uuid::try_parse(text).ok().map(|uuid| uuid.as_bytes().to_vec())
}

/// Back from its bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<String> {
    Uuid::from_slice(bytes).ok().map(|uuid| uuid.to_string())
}
