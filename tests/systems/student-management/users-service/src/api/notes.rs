//! The notes of a user. Anybody who is logged in reads and writes them; every POST is a row.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::{UserId, object};
use crate::app::App;
use crate::error::Error;
use crate::fields::Fields;
use crate::identity::Caller;
use crate::store::notes::{self, Note};
use crate::store::users;

/// How many of the newest are shown.
const SHOWN: u32 = 100;

/// The newest notes, and how many there are in all.
#[derive(Serialize)]
#[expect(missing_docs, reason = "the public names")]
pub struct Listing {
    pub count: i64,
    pub results: Vec<Note>,
}

/// `GET /users/{id}/notes/`
pub async fn list(_: Caller, UserId(id): UserId, State(app): State<App>) -> Result<Json<Listing>, Error> {
    let (count, results) = notes::latest(&app.database, id, SHOWN).await?;
    Ok(Json(Listing { count, results }))
}

/// `POST /users/{id}/notes/`
pub async fn add(_: Caller, UserId(id): UserId, State(app): State<App>, request: Request) -> Result<(StatusCode, Json<Note>), Error> {
    users::find(&app.database, id).await?;
    let mut fields = Fields::new(object(request).await?, &["text"]);
    let text = fields.required_text("text");
    fields.check()?;
    let note = notes::add(&app.database, id, &text.unwrap_or_default()).await?;
    Ok((StatusCode::CREATED, Json(note)))
}
