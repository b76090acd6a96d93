//! The JSON of the capability. Each module is one resource; what all of them read from a request stands here.

pub mod health;
pub mod notes;
pub mod photos;
pub mod users;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::Error;
use crate::paths;

/// The public id of a user in the path. What is not an integer names nothing: 404.
pub struct UserId(pub i64);

impl FromRequestParts<App> for UserId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let segments = RawPathParams::from_request_parts(parts, app).await.map_err(|_| Error::NotFound("Not found."))?;
        let id = segments.iter().find(|(name, _)| *name == "id").and_then(|(_, segment)| paths::integer(segment));
        id.map(Self).ok_or(Error::NotFound("Not found."))
    }
}

/// The object in a JSON body. Read after the caller is known to be allowed, so not an argument of handlers.
async fn object(request: Request) -> Result<Map<String, Value>, Error> {
    let body = Bytes::from_request(request, &()).await.map_err(|refusal| match refusal.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge("The body is too large."),
        _ => Error::BadRequest("The body ended early.".to_owned()),
    })?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::BadRequest("The body is not a JSON object.".to_owned())),
        Err(_) => Err(Error::BadRequest("The body is not valid JSON.".to_owned())),
    }
}

/// A positive number of a query, or what it is without one.
pub(crate) fn positive(name: &str, text: Option<&str>, default: u32) -> Result<u32, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(default) };
    let digits = text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number > 0 => Ok(number),
        _ => Err(Error::BadRequest(format!("{name} is not a positive number."))),
    }
}
