//! Table `notes`: what is written about a user. Notes are only added.

use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::{Database, users};
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
    const COUNT: &str = "SELECT count(*) FROM notes WHERE user_id = ?";
    const LATEST: &str = "SELECT legacy_id, text, created_at FROM notes WHERE user_id = ? ORDER BY legacy_id DESC LIMIT ?";
    let user = users::find(database.read(), user_id).await?.uuid;
    let count = sqlx::query(COUNT).bind(&user).fetch_one(database.read()).await?.try_get(0)?;
    let rows = sqlx::query(LATEST).bind(&user).bind(limit).fetch_all(database.read()).await?;
    let notes = rows.iter().rev().map(|row| {
        Ok(Note { id: row.try_get("legacy_id")?, text: row.try_get("text")?, created_at: clock::public(row.try_get("created_at")?) })
    });
    Ok((count, notes.collect::<Result<_, sqlx::Error>>()?))
}

/// Adds a note to a user.
pub async fn add(database: &Database, user_id: i64, text: &str) -> Result<Note, Error> {
    const INSERT: &str = "INSERT INTO notes (id, legacy_id, user_id, text, created_at) VALUES (?, ?, ?, ?, ?)";
    let mut write = database.write().await?;
    let user = users::key(&mut write, user_id).await?;
    let id = Table::Notes.next_id(&mut write).await?;
    let now = clock::now();
    sqlx::query(INSERT).bind(id.uuid).bind(id.legacy_id).bind(user).bind(text).bind(&now).execute(&mut *write).await?;
    write.commit().await?;
    Ok(Note { id: id.legacy_id, text: text.to_owned(), created_at: clock::public(&now) })
}

pub(super) async fn delete_of(write: &mut SqliteConnection, user: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM notes WHERE user_id = ?").bind(user).execute(write).await?;
    Ok(())
}
