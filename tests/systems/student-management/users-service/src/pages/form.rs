//! Forms: the token against forgery, the fields with their errors, the values that came back.
//!
//! Does not check the token: the gateway did, before the request came here.

use std::collections::BTreeMap;

use axum::extract::{Form, FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::layout::{escape, page};
use crate::error::Error;
use crate::passwords;

const COOKIE: &str = "csrftoken";
const TOKEN_LENGTH: usize = 32;
/// A year, as Django has it.
const COOKIE_SECONDS: u32 = 31_449_600;

/// What a form was sent with.
pub(crate) type Values = BTreeMap<String, String>;
/// What is wrong with the fields of a form.
pub(crate) type Errors = BTreeMap<String, String>;

/// One input of a form.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The `type` of the element; `textarea`, or `select` with `options`.
    pub(crate) kind: &'static str,
    pub(crate) options: &'static [&'static str],
    pub(crate) autocomplete: &'static str,
    pub(crate) required: bool,
}

impl Input {
    pub(crate) const fn new(name: &'static str, label: &'static str, kind: &'static str) -> Self {
        Self { name, label, kind, options: &[], autocomplete: "off", required: false }
    }
}

/// The named fields of a sent form; what else it has is not looked at.
pub(crate) async fn read(request: Request, inputs: &[Input]) -> Result<Values, Error> {
    let Form(sent) =
        Form::<Vec<(String, String)>>::from_request(request, &()).await.map_err(|refusal| match refusal.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge("The body is too large."),
            _ => Error::BadRequest("The form is not valid.".to_owned()),
        })?;
    Ok(sent.into_iter().filter(|(name, _)| inputs.iter().any(|input| input.name == name)).collect())
}

/// The values as an object. Spaces at the ends are dropped, as Django's forms do, but not from a password.
pub(crate) fn object(values: &Values) -> Map<String, Value> {
    let clean = |name: &str, text: &str| if name == "password" { text.to_owned() } else { text.trim().to_owned() };
    values.iter().map(|(name, text)| (name.clone(), clean(name, text).into())).collect()
}

/// The errors of a form among all errors; others go on.
pub(crate) fn errors(error: Error) -> Result<Errors, Error> {
    match error {
        Error::Fields(fields) => Ok(fields),
        Error::UsernameTaken => Ok(Errors::from([("username".to_owned(), error.to_string())])),
        other => Err(other),
    }
}

/// A page with one form that is sent to its own address, and the cookie that the form needs.
pub(crate) fn show(headers: &HeaderMap, title: &str, inputs: &[Input], values: &Values, errors: &Errors) -> Response {
    let known = token(headers);
    let token = known.clone().unwrap_or_else(|| passwords::alphanumeric(TOKEN_LENGTH));
    let fields: String = inputs.iter().map(|input| field(input, values, errors)).collect();
    let body = format!(
        "<form method=\"post\">\n<input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\"{}\">\n{fields}\
         <button type=\"submit\">Save</button>\n</form>\n",
        escape(&token)
    );
    let mut response = page(title, &body);
    if known.is_none() {
        let cookie = format!("{COOKIE}={token}; Path=/; SameSite=Lax; Max-Age={COOKIE_SECONDS}");
        let cookie = HeaderValue::from_str(&cookie).expect("letters, digits and punctuation are a header value");
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The token in the cookie, if it can be one: Django's are 32 letters and digits, 64 in older releases.
fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == COOKIE)?;
    let fits = matches!(token.len(), 32 | 64) && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| token.to_owned())
}

fn field(input: &Input, values: &Values, errors: &Errors) -> String {
    let Input { name, label, kind, autocomplete, .. } = input;
    let value = escape(values.get(*name).map_or("", String::as_str));
    let error = errors.get(*name);
    let required = if input.required { " required" } else { "" };
    let described = if error.is_some() { format!(" aria-invalid=\"true\" aria-describedby=\"error_{name}\"") } else { String::new() };
    let attributes = format!("name=\"{name}\" id=\"id_{name}\"{required}{described}");
    let element = match *kind {
        "textarea" => format!("<textarea {attributes} rows=\"3\">\n{value}</textarea>"),
        "select" => {
            let option = |one: &&str| {
                let selected = if **one == *value { " selected" } else { "" };
                format!("<option value=\"{one}\"{selected}>{one}</option>")
            };
            format!("<select {attributes}>{}</select>", input.options.iter().map(option).collect::<String>())
        }
        // A password is never sent back.
        "password" => format!("<input type=\"password\" {attributes} autocomplete=\"{autocomplete}\">"),
        kind => format!("<input type=\"{kind}\" {attributes} value=\"{value}\" autocomplete=\"{autocomplete}\">"),
    };
    let error = error.map_or(String::new(), |why| format!("<p class=\"error\" id=\"error_{name}\">{}</p>\n", escape(why)));
    format!("<label for=\"id_{name}\">{label}</label>\n{element}\n{error}")
}
