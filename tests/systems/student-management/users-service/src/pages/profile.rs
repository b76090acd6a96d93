//! The page on which users change what is known of themselves.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::{self, Errors, Input, Values};
use super::layout::PageError;
use crate::api::users::changes;
use crate::app::App;
use crate::identity::PageCaller;
use crate::role::Role;
use crate::store::users::{self, User};

const ADDRESS: &str = "/accounts/profile/";
const TITLE: &str = "Your profile";
const INPUTS: [Input; 4] = [
    Input { autocomplete: "given-name", ..Input::new("first_name", "First name", "text") },
    Input { autocomplete: "family-name", ..Input::new("last_name", "Last name", "text") },
    Input { autocomplete: "email", ..Input::new("email", "E-mail", "email") },
    Input { autocomplete: "street-address", ..Input::new("address", "Address", "textarea") },
];

/// `GET /accounts/profile/`
pub async fn show(PageCaller(caller): PageCaller, State(app): State<App>, headers: HeaderMap) -> Result<Response, PageError> {
    let user = users::find(&app.database, caller.id).await?;
    Ok(form::show(&headers, TITLE, &INPUTS, &values(user), &Errors::new()))
}

/// `POST /accounts/profile/`
pub async fn save(
    PageCaller(caller): PageCaller,
    State(app): State<App>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, PageError> {
    let user = users::find(&app.database, caller.id).await?;
    let sent = form::read(request, &INPUTS).await?;
    let mut fields = form::object(&sent);
    if user.role == Role::Admin {
        // The form has the field for everybody; an admin has nowhere to keep it.
        fields.remove("address");
    }
    let saved = match changes(fields, user.role) {
        Ok(changes) => users::change(&app.database, caller.id, &changes).await.map(drop),
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => Ok((StatusCode::FOUND, [(header::LOCATION, ADDRESS)]).into_response()),
        Err(error) => Ok(form::show(&headers, TITLE, &INPUTS, &sent, &form::errors(error)?)),
    }
}

fn values(user: User) -> Values {
    let address = user.profile.map(|profile| profile.address).unwrap_or_default();
    let pairs = [("first_name", user.first_name), ("last_name", user.last_name), ("email", user.email), ("address", address)];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
