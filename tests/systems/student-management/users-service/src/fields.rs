//! Reads the fields of an input one by one and keeps what is wrong with each, to say it all at once.
//!
//! JSON bodies and HTML forms come through here; the rules are those of the monolith. Knows no table.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::role::Role;

/// What hangs on the profile and not on the user.
pub const PROFILE_FIELDS: [&str; 4] = ["address", "gender", "course_id", "session_year_id"];
/// The column sizes of the monolith.
const MAX_NAME: usize = 150;
const MAX_EMAIL: usize = 254;
const MAX_GENDER: usize = 20;

/// The fields of one input. One that is absent or wrong reads as `None`; [`Fields::check`] tells the difference.
pub struct Fields {
    given: Map<String, Value>,
    errors: BTreeMap<String, String>,
}

impl Fields {
    /// Fields of an object; those that are not `known` are errors.
    pub fn new(given: Map<String, Value>, known: &[&str]) -> Self {
        let unknown = given.keys().filter(|name| !known.contains(&name.as_str()));
        let errors = unknown.map(|name| (name.clone(), "This field is not known here.".to_owned())).collect();
        Self { given, errors }
    }

    /// Fails when anything that was read so far is wrong.
    pub fn check(self) -> Result<(), Error> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Fields(self.errors)) }
    }

    /// A text that must be there and not be blank.
    pub fn required_text(&mut self, name: &str) -> Option<String> {
        match self.text(name, usize::MAX) {
            Some(text) if !text.trim().is_empty() => Some(text),
            _ => self.refuse(name, "This field is required."),
        }
    }

    /// A user name as Django's `UnicodeUsernameValidator` takes it.
    pub fn username(&mut self) -> Option<String> {
        let name = self.required_text("username")?;
        if name.chars().count() > MAX_NAME {
            return self.refuse("username", "At most 150 characters.");
        }
        if !name.chars().all(|letter| letter.is_alphanumeric() || "_@.+-".contains(letter)) {
            return self.refuse("username", "Letters, digits and @ . + - _ only.");
        }
        Some(name)
    }

    /// An e-mail address, or the empty text.
    pub fn email(&mut self) -> Option<String> {
        let email = self.text("email", MAX_EMAIL)?;
        if email.is_empty() || is_email(&email) { Some(email) } else { self.refuse("email", "This is not an e-mail address.") }
    }

    /// A given or family name.
    pub fn name(&mut self, name: &str) -> Option<String> {
        self.text(name, MAX_NAME)
    }

    /// A role.
    pub fn role(&mut self) -> Option<Role> {
        let name = self.required_text("role")?;
        Role::named(&name).or_else(|| self.refuse("role", "This is none of admin, staff, student."))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.given.get(name)? {
            Value::Bool(flag) => Some(*flag),
            _ => self.refuse(name, "This is neither true nor false."),
        }
    }

    /// The address in a profile of the role.
    pub fn address(&mut self, role: Option<Role>) -> Option<String> {
        self.text("address", usize::MAX).and_then(|text| self.of_role(role, "address", text))
    }

    /// The gender in a profile of the role.
    pub fn gender(&mut self, role: Option<Role>) -> Option<String> {
        self.text("gender", MAX_GENDER).and_then(|text| self.of_role(role, "gender", text))
    }

    /// The integer of a row of the monolith, in a profile of the role.
    pub fn reference(&mut self, role: Option<Role>, name: &str) -> Option<i64> {
        let value = self.given.get(name).filter(|value| !value.is_null())?;
        let Some(id) = value.as_i64().filter(|id| *id > 0) else {
            return self.refuse(name, "This is not an id.");
        };
        if role.is_some_and(|role| !role.has(name)) {
            return self.foreign(role, name);
        }
        Some(id)
    }

    fn text(&mut self, name: &str, max_length: usize) -> Option<String> {
        let Value::String(text) = self.given.get(name)? else {
            return self.refuse(name, "This is not a text.");
        };
        // NUL ends a text for much of SQLite.
        if text.contains('\0') {
            return self.refuse(name, "This text has characters that cannot be stored.");
        }
        if text.chars().count() > max_length {
            return self.refuse(name, &format!("At most {max_length} characters."));
        }
        Some(text.clone())
    }

    /// An empty value for what the role does not have is as good as none; a real one is refused.
    fn of_role(&mut self, role: Option<Role>, name: &str, text: String) -> Option<String> {
        match role {
            Some(known) if !known.has(name) && text.is_empty() => None,
            Some(known) if !known.has(name) => self.foreign(role, name),
            _ => Some(text),
        }
    }

    fn foreign<T>(&mut self, role: Option<Role>, name: &str) -> Option<T> {
        let role = role.map_or("", Role::name);
        self.refuse(name, &format!("The role {role} has no such field."))
    }

    /// Keeps the first reason that a field is wrong.
    fn refuse<T>(&mut self, name: &str, why: &str) -> Option<T> {
        self.errors.entry(name.to_owned()).or_insert_with(|| why.to_owned());
        None
    }
}

/// `local@domain.tld`: the shape that Django's `EmailValidator` asks for, without its quoted and literal forms.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_fits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{}|~-".contains(c));
    let label_fits = |label: &str| {
        (1..=63).contains(&label.chars().count())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    local.split('.').all(local_fits)
        && domain.split('.').all(label_fits)
        && (domain == "localhost" || domain.rsplit_once('.').is_some_and(|(_, top)| top.chars().count() >= 2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value, known: &[&str]) -> Fields {
        let Value::Object(given) = value else { panic!("an object") };
        Fields::new(given, known)
    }

    #[test]
    fn email_has_the_shape_of_djangos() {
        for good in ["a@b.co", "a.b+c@x-y.example.test", "a@localhost"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["a", "@b.co", "a@", "a@b", "a b@c.de", "a@-b.co", "a@b..co", ".a@b.co", "a@b.c"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let mut read = fields(json!({"username": "a b", "email": 7, "x": 1}), &["username", "email"]);
        assert_eq!((read.username(), read.email()), (None, None));
        let Err(Error::Fields(errors)) = read.check() else { panic!("has errors") };
        assert_eq!(errors.keys().collect::<Vec<_>>(), ["email", "username", "x"]);
    }

    #[test]
    fn an_empty_value_of_another_role_is_no_value() {
        let mut read = fields(json!({"gender": "", "address": "1 High St"}), &PROFILE_FIELDS);
        assert_eq!(read.gender(Some(Role::Staff)), None);
        assert_eq!(read.address(Some(Role::Staff)).as_deref(), Some("1 High St"));
        assert!(read.check().is_ok());
        let mut read = fields(json!({"course_id": 3}), &PROFILE_FIELDS);
        assert_eq!(read.reference(Some(Role::Staff), "course_id"), None);
        assert!(read.check().is_err());
    }
}
