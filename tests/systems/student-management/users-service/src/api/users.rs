//! The users themselves: list, make, read, change, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{UserId, object, positive};
use crate::app::App;
use crate::error::Error;
use crate::fields::Fields;
use crate::identity::{Admin, Caller};
use crate::passwords;
use crate::role::Role;
use crate::store::profiles::NewProfile;
use crate::store::users::{self, Changes, Filter, NewUser, User};

const DEFAULT_PAGE_SIZE: u32 = 50;
/// A larger page is cut to this.
const MAX_PAGE_SIZE: u32 = 200;

const CHANGEABLE: [&str; 6] = ["email", "first_name", "last_name", "address", "gender", "is_active"];
const NEW: [&str; 10] =
    ["username", "password", "role", "email", "first_name", "last_name", "address", "gender", "course_id", "session_year_id"];

/// The query of a listing, as it was typed. Of a name that is there twice the last counts.
pub(crate) type Wanted = BTreeMap<String, String>;

/// One page of a listing.
#[derive(Serialize)]
#[expect(missing_docs, reason = "the public names")]
pub struct Page {
    pub count: i64,
    pub page: u32,
    pub page_size: u32,
    pub results: Vec<User>,
}

/// `GET /users/`
pub async fn list(_: Caller, State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Json<Page>, Error> {
    let text = |name: &str| wanted.get(name).map(String::as_str);
    let page = positive("page", text("page"), 1)?;
    let page_size = positive("page_size", text("page_size"), DEFAULT_PAGE_SIZE)?.min(MAX_PAGE_SIZE);
    let filter = Filter { role: role(text("role"))?, prefix: text("q").unwrap_or_default().to_owned() };
    let (count, results) = users::list(&app.database, &filter, page, page_size).await?;
    Ok(Json(Page { count, page, page_size, results }))
}

/// `POST /users/`
pub async fn create(_: Admin, State(app): State<App>, request: Request) -> Result<(StatusCode, Json<User>), Error> {
    let new = new_user(&app, object(request).await?).await?;
    Ok((StatusCode::CREATED, Json(users::create(&app.database, new).await?)))
}

/// `GET /users/me/`
pub async fn me(caller: Caller, State(app): State<App>) -> Result<Json<User>, Error> {
    Ok(Json(users::find(&app.database, caller.id).await?))
}

/// `GET /users/{id}/`
pub async fn show(_: Caller, UserId(id): UserId, State(app): State<App>) -> Result<Json<User>, Error> {
    Ok(Json(users::find(&app.database, id).await?))
}

/// `PATCH /users/{id}/`
pub async fn change(caller: Caller, UserId(id): UserId, State(app): State<App>, request: Request) -> Result<Json<User>, Error> {
    caller.must_be_admin_or(id)?;
    let user = users::find(&app.database, id).await?;
    let body = object(request).await?;
    if body.contains_key("is_active") && !caller.is_admin() {
        return Err(Error::Forbidden("Only an admin may change is_active."));
    }
    let changes = changes(body, user.role)?;
    if changes == Changes::default() {
        return Ok(Json(user));
    }
    Ok(Json(users::change(&app.database, id, &changes).await?))
}

/// `DELETE /users/{id}/`
pub async fn delete(_: Admin, UserId(id): UserId, State(app): State<App>) -> Result<StatusCode, Error> {
    users::delete(&app.database, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user from the fields of a body or a form, its password hashed. Also used by the page that adds one.
pub(crate) async fn new_user(app: &App, given: Map<String, Value>) -> Result<NewUser, Error> {
    let mut fields = Fields::new(given, &NEW);
    let role = fields.role();
    let (username, password) = (fields.username(), fields.required_text("password"));
    let (email, first_name, last_name) = (fields.email(), fields.name("first_name"), fields.name("last_name"));
    let profile = NewProfile {
        address: fields.address(role).unwrap_or_default(),
        gender: fields.gender(role),
        course_id: fields.reference(role, "course_id"),
        session_year_id: fields.reference(role, "session_year_id"),
    };
    fields.check()?;
    let (Some(role), Some(username), Some(password)) = (role, username, password) else {
        return Err(Error::internal("reading a new user", "a required field is neither there nor refused"));
    };
    Ok(NewUser {
        username,
        password: passwords::hash(password, app.password_iterations).await?,
        email: email.unwrap_or_default(),
        first_name: first_name.unwrap_or_default(),
        last_name: last_name.unwrap_or_default(),
        role,
        profile,
    })
}

/// What to change in a user of the role. Also used by the page of the own profile.
pub(crate) fn changes(given: Map<String, Value>, role: Role) -> Result<Changes, Error> {
    let mut fields = Fields::new(given, &CHANGEABLE);
    let changes = Changes {
        email: fields.email(),
        first_name: fields.name("first_name"),
        last_name: fields.name("last_name"),
        is_active: fields.flag("is_active"),
        address: fields.address(Some(role)),
        gender: fields.gender(Some(role)),
    };
    fields.check()?;
    Ok(changes)
}

fn role(name: Option<&str>) -> Result<Option<Role>, Error> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => Role::named(name).map(Some).ok_or_else(|| Error::BadRequest("role is none of admin, staff, student.".to_owned())),
    }
}
