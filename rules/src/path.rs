//! Paths as routes see them: a normalised copy. The raw path is what gets forwarded.

/// The normalised path: percent-decoded where that is harmless, dot segments resolved, slashes merged. Idempotent.
///
/// # Errors
/// A sentence for the answer 400: what makes the path dangerous (an encoded slash, backslash or NUL, invalid escapes,
/// dot segments above the root).
pub fn normalise(raw: &str) -> Result<String, &'static str> {
    let _ = raw;
    Err("to be written")
}
