//! The pages on which admins see all users and add one.

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::{self, Errors, Input, Values};
use super::layout::{PageError, escape, page};
use crate::api::positive;
use crate::api::users::{Wanted, new_user};
use crate::app::App;
use crate::identity::PageAdmin;
use crate::store::users::{self, Filter, User};

const ADDRESS: &str = "/manage/users/";
const PAGE_SIZE: u32 = 50;
const TITLE_ADD: &str = "Add a user";
const INPUTS: [Input; 6] = [
    Input { required: true, ..Input::new("username", "User name", "text") },
    Input::new("email", "E-mail", "email"),
    Input::new("first_name", "First name", "text"),
    Input::new("last_name", "Last name", "text"),
    Input { required: true, options: &["student", "staff", "admin"], ..Input::new("role", "Role", "select") },
    Input { required: true, autocomplete: "new-password", ..Input::new("password", "Password", "password") },
];

/// `GET /manage/users/`
pub async fn list(_: PageAdmin, State(app): State<App>, Query(wanted): Query<Wanted>) -> Result<Response, PageError> {
    let number = positive("page", wanted.get("page").map(String::as_str), 1)?;
    let (count, users) = users::list(&app.database, &Filter::default(), number, PAGE_SIZE).await?;
    let rows: String = users.iter().map(row).collect();
    let body = format!(
        "<p><a href=\"/manage/users/add/\">Add a user</a></p>\n<table>\n<caption>{count} users</caption>\n\
         <thead><tr><th scope=\"col\">Id</th><th scope=\"col\">User name</th><th scope=\"col\">Name</th>\
         <th scope=\"col\">E-mail</th><th scope=\"col\">Role</th><th scope=\"col\">Active</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n{}",
        pager(number, count)
    );
    Ok(page("Users", &body))
}

/// `GET /manage/users/add/`
pub async fn add(_: PageAdmin, headers: HeaderMap) -> Response {
    form::show(&headers, TITLE_ADD, &INPUTS, &Values::new(), &Errors::new())
}

/// `POST /manage/users/add/`
pub async fn save(_: PageAdmin, State(app): State<App>, headers: HeaderMap, request: Request) -> Result<Response, PageError> {
    let sent = form::read(request, &INPUTS).await?;
    let created = match new_user(&app, form::object(&sent)).await {
        Ok(new) => users::create(&app.database, new).await.map(drop),
        Err(error) => Err(error),
    };
    match created {
        Ok(()) => Ok((StatusCode::FOUND, [(header::LOCATION, ADDRESS)]).into_response()),
        Err(error) => Ok(form::show(&headers, TITLE_ADD, &INPUTS, &sent, &form::errors(error)?)),
    }
}

fn row(user: &User) -> String {
    let name = format!("{} {}", user.first_name, user.last_name);
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        user.id,
        escape(&user.username),
        escape(name.trim()),
        escape(&user.email),
        user.role.name(),
        if user.is_active { "yes" } else { "no" }
    )
}

fn pager(number: u32, count: i64) -> String {
    let pages = u32::try_from((count.max(1) + i64::from(PAGE_SIZE) - 1) / i64::from(PAGE_SIZE)).unwrap_or(u32::MAX);
    let link = |to: u32, text: &str| format!("<a href=\"?page={to}\">{text}</a> ");
    let before = if number > 1 { link((number - 1).min(pages), "Previous") } else { String::new() };
    let after = if number < pages { link(number + 1, "Next") } else { String::new() };
    format!("<p>{before}Page {number} of {pages} {after}</p>\n")
}
