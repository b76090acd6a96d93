//! Callers as arguments of handlers. A handler that takes one of these cannot run without it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Caller;
use crate::app::App;
use crate::error::Error;
use crate::pages::layout::PageError;
use crate::paths;

/// A caller who is an admin; anybody else gets a 403.
pub struct Admin(pub Caller);

/// The caller of a page; nobody is sent to log in.
pub struct PageCaller(pub Caller);

/// The caller of a page who is an admin.
pub struct PageAdmin(pub Caller);

const NOT_ADMIN: Error = Error::Forbidden("Not allowed for your role.");

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        app.identity.caller(&parts.headers, &app.database).await
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if caller.is_admin() { Ok(Self(caller)) } else { Err(NOT_ADMIN) }
    }
}

impl FromRequestParts<App> for PageCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match Caller::from_request_parts(parts, app).await {
            Ok(caller) => Ok(Self(caller)),
            Err(Error::Unauthenticated) => {
                let login = paths::login(&parts.uri, &parts.headers);
                Err((StatusCode::FOUND, [(header::LOCATION, login)]).into_response())
            }
            Err(error) => Err(PageError(error).into_response()),
        }
    }
}

impl FromRequestParts<App> for PageAdmin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let PageCaller(caller) = PageCaller::from_request_parts(parts, app).await?;
        if caller.is_admin() { Ok(Self(caller)) } else { Err(PageError(NOT_ADMIN).into_response()) }
    }
}
