//! Table `photos`: at most one picture of each user, bytes and all.

use sqlx::{AnyConnection, Row};

use super::{Database, query, users};
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
    let mut read = database.read().await?;
    let row = query(&read, "SELECT content_type, sha256, data FROM photos WHERE legacy_id = $1")
        .bind(user_id)
        .fetch_optional(&mut *read)
        .await?
        .ok_or(Error::NotFound("There is no such photo."))?;
    Ok(Photo { content_type: row.try_get("content_type")?, sha256: row.try_get("sha256")?, data: row.try_get("data")? })
}

/// Keeps the photo, in place of the one before it.
pub async fn put(database: &Database, user_id: i64, photo: &Photo) -> Result<(), Error> {
    const UPSERT: &str = "INSERT INTO photos (user_id, legacy_id, content_type, sha256, data, uploaded_at) \
        VALUES ($1::uuid, $2, $3, $4, $5, $6::timestamptz) ON CONFLICT (user_id) DO UPDATE SET content_type = excluded.content_type, \
        sha256 = excluded.sha256, data = excluded.data, uploaded_at = excluded.uploaded_at";
    let mut write = database.write().await?;
    let user = users::key(&mut write, user_id).await?;
    query(&write, UPSERT)
        .bind(user)
        .bind(user_id)
        .bind(photo.content_type.clone())
        .bind(photo.sha256.clone())
        .bind(photo.data.clone())
        .bind(clock::now())
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn delete_of(write: &mut AnyConnection, user: &str) -> Result<(), Error> {
    query(write, "DELETE FROM photos WHERE user_id = $1::uuid").bind(user.to_owned()).execute(write).await?;
    Ok(())
}
