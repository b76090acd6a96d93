//! The photo of a user. A new one takes the place of the old.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::UserId;
use crate::app::App;
use crate::error::Error;
use crate::identity::Caller;
use crate::store::photos::{self, Photo};
use crate::store::users;

/// Of a photo.
const MAX_PHOTO: usize = 8 * 1024 * 1024;
/// Of an upload. What lies between the two is read to its end and refused: a client that is still sending when the
/// connection closes sees a reset and not the answer.
pub(crate) const MAX_UPLOAD: usize = 32 * 1024 * 1024;
/// What browsers show as a picture and never run.
const CONTENT_TYPES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

const TOO_LARGE: Error = Error::TooLarge("At most 8 MiB.");

/// What is known of an uploaded photo.
#[derive(Serialize)]
#[expect(missing_docs, reason = "the public names")]
pub struct Uploaded {
    pub content_type: String,
    pub size: usize,
    pub sha256: String,
}

/// `GET /users/{id}/photo/`
pub async fn show(_: Caller, UserId(id): UserId, State(app): State<App>, headers: HeaderMap) -> Result<Response, Error> {
    let photo = photos::find(&app.database, id).await?;
    let etag = format!("\"{}\"", photo.sha256);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(([(header::CONTENT_TYPE, photo.content_type), (header::ETAG, etag)], photo.data).into_response())
}

/// `POST /users/{id}/photo/`
pub async fn upload(
    caller: Caller,
    UserId(id): UserId,
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<Uploaded>), Error> {
    caller.must_be_admin_or(id)?;
    users::find(&app.database, id).await?;
    let photo = read(request).await?;
    photos::put(&app.database, id, &photo).await?;
    let uploaded = Uploaded { content_type: photo.content_type, size: photo.data.len(), sha256: photo.sha256 };
    Ok((StatusCode::CREATED, Json(uploaded)))
}

/// The last file in the field `photo`. Everything else in the body is passed over.
async fn read(request: Request) -> Result<Photo, Error> {
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|_| refuse("A file in the multipart field `photo` is required."))?;
    let mut found = None;
    while let Some(field) = multipart.next_field().await.map_err(broken)? {
        if field.name() == Some("photo") && field.file_name().is_some() {
            let content_type = field.content_type().unwrap_or_default().to_ascii_lowercase();
            found = Some((content_type, bytes(field).await?));
        }
    }
    let (content_type, data) = found.ok_or_else(|| refuse("A file in the multipart field `photo` is required."))?;
    let data = data.ok_or(TOO_LARGE)?;
    if !CONTENT_TYPES.contains(&content_type.as_str()) {
        return Err(refuse(&format!("The content type is none of {}.", CONTENT_TYPES.join(", "))));
    }
    let sha256 = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Photo { content_type, sha256, data })
}

/// The bytes of the field, or none if they are too many.
async fn bytes(mut field: Field<'_>) -> Result<Option<Vec<u8>>, Error> {
    let mut data = Some(Vec::new());
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        data = data.filter(|data| data.len() + chunk.len() <= MAX_PHOTO);
        if let Some(data) = &mut data {
            data.extend_from_slice(&chunk);
        }
    }
    Ok(data)
}

fn broken(error: MultipartError) -> Error {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
        _ => Error::BadRequest("The body is not valid multipart.".to_owned()),
    }
}

fn refuse(why: &str) -> Error {
    Error::Fields(BTreeMap::from([("photo".to_owned(), why.to_owned())]))
}

/// `If-None-Match` compares weakly (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}
