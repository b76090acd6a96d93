//! Which releases of the messages understand each other: neighbours do, so that a fleet can be brought up to date one process
//! after the other. Whoever asks says its own in a header, and so does whoever answers.
//!
//! A message of a neighbour may have fields that are not known here, which are left alone, and may lack fields that are new here,
//! which then have the meaning that they had before they were there. What the fields mean stays the same for two releases.

/// The header.
pub const HEADER: &str = "ficus-wire";

/// The release of the messages in [`crate::wire`]. Grows with a change that the release before could misunderstand.
pub const RELEASE: u32 = 2;

/// Whoever does not say its release is of the one before the header.
const SILENT: u32 = 1;

/// Two who cannot work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "messages of release {theirs} are not understood by release {RELEASE}: bring the {} up to date, one release at a time",
    older(theirs)
)]
pub struct Apart {
    /// What the peer says of itself.
    pub theirs: String,
}

/// Whether a peer is a neighbour, by what it says in [`HEADER`].
///
/// # Errors
/// It is two releases away, or says something else.
pub fn neighbour(said: Option<&str>) -> Result<(), Apart> {
    let theirs = said.map_or(Ok(SILENT), str::parse);
    match theirs {
        Ok(theirs) if theirs.abs_diff(RELEASE) <= 1 => Ok(()),
        _ => Err(Apart { theirs: said.unwrap_or("1").to_owned() }),
    }
}

/// Which of both is behind.
fn older(theirs: &str) -> &'static str {
    if theirs.parse::<u32>().is_ok_and(|theirs| theirs < RELEASE) { "other side" } else { "side that says this" }
}

#[cfg(test)]
mod tests;
