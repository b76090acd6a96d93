//! What the server said, in words that may be logged: its own messages quote values, ours name columns and indexes only.
//! Also: whether a row is to blame for it.

use mysql_async::{DriverError, Error};

use crate::isolate::Blame;

/// Why a row was refused, if the row is to blame: a constraint, a type, a size, or a trigger of the application.
pub(super) fn blame(error: &Error) -> Option<Blame> {
    let Error::Server(said) = error else { return None };
    let unique = matches!(said.code, 1062 | 1586);
    describe(said.code, &said.message).map(|reason| Blame { unique, reason, reference: None })
}

/// Whether the same transaction may well succeed when it is tried again: a deadlock, or a lock that was not to be had.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Server(said) if matches!(said.code, 1205 | 1213))
}

/// An error without the values in it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Server(said) => match describe(said.code, &said.message) {
            Some(reason) => format!("{reason} (error {})", said.code),
            None => format!("error {}: {}", said.code, said.message),
        },
        Error::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. } | DriverError::UnexpectedPacket { .. }) => {
            "a result has another shape than was expected".to_owned()
        }
        other => other.to_string(),
    }
}

fn describe(code: u16, message: &str) -> Option<String> {
    let column = || {
        after(message, "Column ")
            .or_else(|| after(message, "column "))
            .map_or_else(|| "a column".to_owned(), |name| format!("column {name}"))
    };
    let value = || after(message, "for column ").map_or_else(|| "a column".to_owned(), |name| format!("column {name}"));
    Some(match code {
        1062 | 1586 => format!("another row has the unique value (index {})", after(message, "for key ").unwrap_or_default()),
        1048 | 1263 => format!("{} may not be NULL", column()),
        1364 => format!(
            "{} has no default value",
            after(message, "Field ").map_or_else(|| "a column".to_owned(), |name| format!("column {name}"))
        ),
        1264 | 1690 => format!("{}: out of range", value()),
        1265 | 1292 | 1366 | 1367 | 1411 | 1525 | 1918 => {
            format!("{}: not a value of its type (a zero date, characters that its character set lacks)", value())
        }
        1406 => format!("{}: too long", value()),
        3819 | 4025 => {
            format!("a check refuses it ({})", after(message, "CONSTRAINT ").or_else(|| after(message, "constraint ")).unwrap_or_default())
        }
        1216 | 1217 | 1451 | 1452 => "a foreign key refuses it".to_owned(),
        // A trigger's own words.
        1644 => message.to_owned(),
        _ => return None,
    })
}

/// The last quoted name after some words, with its parts: `` `school`.`users`.`name` ``. A value that stands before it
/// cannot take its place.
fn after(message: &str, words: &str) -> Option<String> {
    let (_, mut rest) = message.rsplit_once(words)?;
    let mut name = String::new();
    loop {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '`'))?;
        let (part, more) = rest[1..].split_once(quote)?;
        name.push_str(part);
        match more.strip_prefix('.') {
            Some(next) => {
                name.push('.');
                rest = next;
            }
            None => return Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn values_are_left_out() {
        let known = [
            (1062, "Duplicate entry 'secret' for key 'username'", "another row has the unique value (index username)"),
            (
                1366,
                "Incorrect string value: '\\xF0\\x9F' for column `school`.`users`.`name` at row 1",
                "column school.users.name: not a value of its type (a zero date, characters that its character set lacks)",
            ),
            (1406, "Data too long for column 'name' at row 3", "column name: too long"),
            (1048, "Column 'name' cannot be null", "column name may not be NULL"),
            (4025, "CONSTRAINT `users.role` failed for `school`.`users`", "a check refuses it (users.role)"),
        ];
        for (code, said, ours) in known {
            assert_eq!(describe(code, said).as_deref(), Some(ours));
        }
        assert_eq!(
            describe(1062, "Duplicate entry 'x for key y' for key 'name'").as_deref(),
            Some("another row has the unique value (index name)")
        );
    }
}
