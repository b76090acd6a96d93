//! Django's signed values, sessions and the session's tie to the password (Django 4.0 and later).
//!
//! Source of the formats: django/core/signing.py, django/contrib/sessions/backends, django/contrib/auth of Django 5.2.

/// The secrets of a Django project: `SECRET_KEY`, then `SECRET_KEY_FALLBACKS`.
#[derive(Clone)]
pub struct Secrets {
    /// The keys, the signing one first.
    pub keys: Vec<String>,
}

/// What a session says about its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUser {
    /// `_auth_user_id`
    pub id: String,
    /// `_auth_user_hash`
    pub hash: String,
}

/// Reads `session_data` of a row of `django_session` whose `expire_date` is in the future. `Ok(None)`: a session without
/// a user.
///
/// # Errors
/// What is wrong with it, as a lower-case sentence without the data.
pub fn read_session(_data: &str, _secrets: &Secrets) -> Result<Option<SessionUser>, String> {
    Ok(None)
}

/// Whether the session was made for the user's present password (the `password` column of the user table).
pub fn hash_matches(_user: &SessionUser, _password: &str, _secrets: &Secrets) -> bool {
    false
}
