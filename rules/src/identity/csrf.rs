//! Django's CSRF protection: cookie and token, origin and referer (django/middleware/csrf.py of Django 5.2).

/// What a request brings.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// `http` or `https`, as the client sees it.
    pub scheme: &'a str,
    /// The `Host` header, with port.
    pub host: &'a str,
    /// The cookie `csrftoken`.
    pub cookie: Option<&'a str>,
    /// The header `X-CSRFToken` or the form field `csrfmiddlewaretoken`.
    pub token: Option<&'a str>,
    /// The header `Origin`.
    pub origin: Option<&'a str>,
    /// The header `Referer`.
    pub referer: Option<&'a str>,
}

/// Checks a write as Django would. `trusted` are Django's `CSRF_TRUSTED_ORIGINS`.
///
/// # Errors
/// The reason for the answer 403.
pub fn check(_evidence: &Evidence<'_>, _trusted: &[String]) -> Result<(), &'static str> {
    Err("to be written")
}
