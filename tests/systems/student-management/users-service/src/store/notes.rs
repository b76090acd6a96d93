//! Table `notes`: what is written about a user. Notes are only added.

use serde::Serialize;
use sqlx::{AnyConnection, Row};

use super::{Database, query, users};
use crate::clock;
use crate::error::Error;
use crate::ids::Table;

/// A note in its public shape.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    /// The public integer.
    pub id: i64,
    /// Never empty.
    pub text: String,
    /// ISO 8601, six digits, `Z`.
    pub created_at: String,
}

/// How many notes a user has, and the newest `limit` of them by id.
pub async fn latest(database: &Database, user_id: i64, limit: u32) -> Result<(i64, Vec<Note>), Error> {
    const COUNT: &str = "SELECT count(*) FROM notes WHERE user_id = $1::uuid";
    const LATEST: &str = "SELECT legacy_id, text, created_at::text AS created_at FROM notes WHERE user_id = $1::uuid \
        ORDER BY legacy_id DESC LIMIT $2";
    let user = users::find(database, user_id).await?.uuid;
    let mut read = database.read().await?;
    let count = query(&read, COUNT).bind(user.clone()).fetch_one(&mut *read).await?.try_get(0)?;
    let rows = query(&read, LATEST).bind(user).bind(i64::from(limit)).fetch_all(&mut *read).await?;
    let notes = rows.iter().rev().map(|row| {
        Ok(Note {
            id: row.try_get("legacy_id")?,
            text: row.try_get("text")?,
            created_at: clock::public(&row.try_get::<String, _>("created_at")?),
        })
    });
    Ok((count, notes.collect::<Result<_, sqlx::Error>>()?))
}

/// Adds a note to a user.
pub async fn add(database: &Database, user_id: i64, text: &str) -> Result<Note, Error> {
    const INSERT: &str =
        "INSERT INTO notes (id, legacy_id, user_id, text, created_at) VALUES ($1::uuid, $2, $3::uuid, $4, $5::timestamptz)";
    let mut write = database.write().await?;
    let user = users::key(&mut write, user_id).await?;
    let id = Table::Notes.next_id(&mut write).await?;
    let now = clock::now();
    query(&write, INSERT).bind(id.uuid).bind(id.legacy_id).bind(user).bind(text.to_owned()).bind(now.clone()).execute(&mut *write).await?;
    write.commit().await?;
    Ok(Note { id: id.legacy_id, text: text.to_owned(), created_at: clock::public(&now) })
}

pub(super) async fn delete_of(write: &mut AnyConnection, user: &str) -> Result<(), Error> {
    query(write, "DELETE FROM notes WHERE user_id = $1::uuid").bind(user.to_owned()).execute(write).await?;
    Ok(())
}
