//! Table `photos`: at most one picture of each user, bytes and all.

use sqlx::{Row, SqliteConnection};

use super::{Database, users};
use crate::clock;
use crate::error::Error;

/// A picture.
#[derive(Debug, Clone)]
pub struct Photo {
    /// Of the bytes, such as `image/png`.
    pub content_type: String,
    /// Of the bytes, in hexadecimal.
    pub sha256: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// The photo of the user with this public id.
pub async fn find(database: &Database, user_id: i64) -> Result<Photo, Error> {
    let row = sqlx::query("SELECT content_type, sha256, data FROM photos WHERE legacy_id = ?")
        .bind(user_id)
        .fetch_optional(database.read())
        .await?
        .ok_or(Error::NotFound("There is no such photo."))?;
    Ok(Photo { content_type: row.try_get("content_type")?, sha256: row.try_get("sha256")?, data: row.try_get("data")? })
}

/// Keeps the photo, in place of the one before it.
pub async fn put(database: &Database, user_id: i64, photo: &Photo) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO photos (user_id, legacy_id, content_type, sha256, data, uploaded_at) \
        VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET content_type = excluded.content_type, \
        sha256 = excluded.sha256, data = excluded.data, uploaded_at = excluded.uploaded_at";
    let mut write = database.write().await?;
    let user = users::key(&mut write, user_id).await?;
    sqlx::query(UPSERT)
        .bind(user)
        .bind(user_id)
        .bind(&photo.content_type)
        .bind(&photo.sha256)
        .bind(photo.data.as_slice())
        .bind(clock::now())
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn delete_of(write: &mut SqliteConnection, user: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM photos WHERE user_id = ?").bind(user).execute(write).await?;
    Ok(())
}
