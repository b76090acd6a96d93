//! CSRF protection for writes that modern answers, by the rules of the framework whose session the caller has. The token is in
//! a header or in the form; for the form, the beginning of the body is read ahead and sent on with the rest. What makes a
//! token right is `ficus_rules::identity`'s.

use std::time::SystemTime;

use bytes::BytesMut;
use ficus_rules::Timestamp;
use ficus_rules::identity::csrf::{Evidence, check};
use ficus_rules::identity::django::Secrets;
use ficus_rules::identity::flask;
use ficus_rules::route::Request as _;
use http::StatusCode;
use pingora::proxy::Session;

use crate::answer::Refusal;
use crate::carried::Carried;
use crate::client::Client;
use crate::config::{DjangoIdentity, WtfCsrf};
use crate::gateway::Inner;
use crate::identity::By;

/// How far into a form it is looked for.
const LOOKED_THROUGH: usize = 60 * 1024;
/// What pingora keeps of a body that was read ahead, and sends by itself.
const BUFFERED: usize = 64 * 1024;

/// Checks a write. One whose caller a header names is no forgery: other sites can send cookies along, but no such header.
pub(crate) async fn verify(gateway: &Inner, client: &mut Client<'_>, carried: &mut Carried) -> Result<(), Refusal> {
    if carried.login.as_ref().is_some_and(|login| login.by == By::Header && login.user().is_some()) {
        return Ok(());
    }
    let rule = Rule::of(gateway, carried);
    let by_header = rule.header(carried).map(ToOwned::to_owned);
    let mut verdict = rule.accepts(carried, by_header.as_deref());
    let form = Form::of(carried.asked.header("content-type").unwrap_or_default()).filter(|_| rule.reads_forms(&carried.asked.method));
    // Whoever has no session has no body, and no form in it.
    if let (Some(form), Some(session)) = (form.filter(|_| verdict.is_err()), client.session()) {
        let by_field = find(session, carried, form, rule.field()).await?;
        if by_field.is_some() || by_header.is_none() {
            verdict = rule.accepts(carried, by_field.as_deref());
        }
    }
    verdict.map_err(|why| Refusal::new(StatusCode::FORBIDDEN, "csrf", &format!("CSRF verification failed: {why}")))
}

/// By whose rules a write is judged.
#[derive(Clone, Copy)]
enum Rule<'a> {
    /// Django's; its usual ones while nothing is configured.
    Django(Option<&'a DjangoIdentity>),
    /// Flask-WTF's.
    Wtf(&'a WtfCsrf),
}

/// A form's field that holds the token.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a str,
    /// A form may put its own name before it: `account-csrf_token`.
    prefixed: bool,
}

impl<'a> Rule<'a> {
    /// Flask's if the caller has a session of it, or there is no Django.
    fn of(gateway: &'a Inner, carried: &Carried) -> Rule<'a> {
        let flasks = gateway.callers.flask().and_then(|flask| flask.csrf.as_ref());
        let by = carried.login.as_ref().map_or(By::Nothing, |login| login.by);
        match flasks {
            Some(wtf) if by == By::Flask || gateway.callers.django().is_none() => Rule::Wtf(wtf),
            _ => Rule::Django(gateway.callers.django()),
        }
    }

    fn header(self, carried: &Carried) -> Option<&str> {
        match self {
            Rule::Django(settings) => carried.asked.header(settings.map_or("x-csrftoken", |settings| settings.csrf_header.as_str())),
            Rule::Wtf(wtf) => wtf.headers.iter().find_map(|name| carried.asked.header(name)),
        }
    }

    /// Whether the framework looks for the token in a body that came with this method.
    fn reads_forms(self, method: &str) -> bool {
        method == "POST" || matches!(self, Rule::Wtf(_))
    }

    fn field(self) -> Field<'a> {
        match self {
            Rule::Django(_) => Field { name: "csrfmiddlewaretoken", prefixed: false },
            Rule::Wtf(wtf) => Field { name: &wtf.field, prefixed: true },
        }
    }

    fn accepts(self, carried: &Carried, token: Option<&str>) -> Result<(), &'static str> {
        let in_session = carried.login.as_ref().and_then(|login| login.csrf.as_deref());
        let (host, referer) = (host(carried), carried.asked.header("referer"));
        let settings = match self {
            Rule::Wtf(wtf) => {
                let secure = carried.https && wtf.ssl_strict;
                let evidence = flask::csrf::Evidence { secure, host, session: in_session, token, referer };
                let secrets = Secrets { keys: wtf.secrets.clone() };
                return flask::csrf::check(&evidence, &secrets, wtf.time_limit, Timestamp::from(SystemTime::now()));
            }
            Rule::Django(settings) => settings,
        };
        let cookie = match settings.map(|settings| &settings.csrf_cookie) {
            Some(None) => in_session,
            Some(Some(cookie)) => carried.asked.cookie(cookie),
            None => carried.asked.cookie("csrftoken"),
        };
        let scheme = if carried.https { "https" } else { "http" };
        let evidence = Evidence { scheme, host, cookie, token, origin: carried.asked.header("origin"), referer };
        check(&evidence, settings.map_or(&[], |settings| &settings.trusted_origins))
    }
}

/// The host that the client asked for, with its port: as a trusted proxy says that rewrites it, or as it stands in the request.
fn host(carried: &Carried) -> &str {
    let said = carried.asked.header("x-forwarded-host").filter(|_| carried.peer.trusted);
    let said = said.and_then(|hosts| hosts.split(',').next()).map(str::trim).filter(|host| !host.is_empty());
    said.or_else(|| carried.asked.header("host")).unwrap_or_default()
}

impl Field<'_> {
    fn is(self, name: &str) -> bool {
        name == self.name || (self.prefixed && name.ends_with(self.name))
    }
}

/// How a form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    UrlEncoded,
    Multipart,
}

impl Form {
    fn of(content_type: &str) -> Option<Form> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Some(Form::UrlEncoded),
            "multipart/form-data" => Some(Form::Multipart),
            _ => None,
        }
    }

    /// The token in the beginning of a form; `whole` when that is all of it.
    fn token(self, field: Field<'_>, body: &[u8], whole: bool) -> Option<String> {
        let text = String::from_utf8_lossy(body);
        match self {
            Form::UrlEncoded => {
                let complete = if whole { &*text } else { text.rsplit_once('&')?.0 };
                let mut pairs = complete.split('&').filter_map(|pair| pair.split_once('='));
                pairs.find(|(name, _)| field.is(name)).map(|(_, value)| value.to_owned())
            }
            Form::Multipart => {
                let (_, part) = text.split(" name=\"").skip(1).filter_map(|part| part.split_once('"')).find(|(name, _)| field.is(name))?;
                let (_, value) = part.split_once("\r\n\r\n")?;
                Some(value.split_once("\r\n")?.0.to_owned())
            }
        }
    }
}

/// Reads ahead until the token is there, or too much was read.
///
/// Pingora sends what was read ahead by itself when it fits its buffer. Beyond that it is kept here and goes before the
/// next chunk; therefore a larger body is never read to its end here, because then no chunk would follow.
async fn find(session: &mut Session, carried: &mut Carried, form: Form, field: Field<'_>) -> Result<Option<String>, Refusal> {
    let length = session.get_header("content-length").and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if session.get_header("expect").is_some() && session.get_retry_buffer().is_none() {
        let _ = session.write_continue_response().await;
        session.req_header_mut().remove_header("expect");
    }
    session.enable_retry_buffering();
    let mut seen = BytesMut::from(session.get_retry_buffer().unwrap_or_default().as_ref());
    let mut ended = false;
    let found = loop {
        let whole = ended || session.is_body_done();
        if let Some(token) = form.token(field, &seen, whole) {
            break Some(token);
        }
        let ends_later = length.is_none_or(|length| length <= BUFFERED || seen.is_empty() || length - seen.len() > BUFFERED);
        if whole || seen.len() >= LOOKED_THROUGH || !ends_later {
            break None;
        }
        match session.read_request_body().await {
            Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
            // By HTTP/2, trailers may follow, which nobody reads here: the body does not count as done then.
            Ok(None) => ended = true,
            Err(_) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "body", "the request body could not be read")),
        }
    };
    if session.retry_buffer_truncated() {
        if session.is_body_done() {
            let why = "this form is sent in a way that cannot be checked: send it with a Content-Length, or the token as a header";
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "csrf", why));
        }
        carried.peeked = Some(seen.freeze());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Field, Form};

    const DJANGOS: Field<'static> = Field { name: "csrfmiddlewaretoken", prefixed: false };

    #[test]
    fn a_token_is_found_when_all_of_it_is_there() {
        let form = |body: &str, whole| Form::UrlEncoded.token(DJANGOS, body.as_bytes(), whole);
        assert_eq!(form("a=1&csrfmiddlewaretoken=abc&b=2", false).as_deref(), Some("abc"));
        assert_eq!(form("a=1&csrfmiddlewaretoken=ab", false), None, "the rest of it may follow");
        assert_eq!(form("a=1&csrfmiddlewaretoken=abc", true).as_deref(), Some("abc"));
        assert_eq!(form("xcsrfmiddlewaretoken=abc", true), None);

        let part = "--b\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\nabc";
        assert_eq!(Form::Multipart.token(DJANGOS, part.as_bytes(), false), None);
        assert_eq!(Form::Multipart.token(DJANGOS, format!("{part}\r\n--b").as_bytes(), false).as_deref(), Some("abc"));
    }

    #[test]
    fn a_form_may_put_its_name_before_that_of_the_field() {
        let field = Field { name: "csrf_token", prefixed: true };
        let token = |body: &str| Form::UrlEncoded.token(field, body.as_bytes(), true);
        assert_eq!(token("a=1&account-csrf_token=x&b=2").as_deref(), Some("x"));
        assert_eq!(token("csrf_token=x").as_deref(), Some("x"));
        assert_eq!(token("csrf_tokens=x"), None);
        let part = "--b\r\nContent-Disposition: form-data; name=\"account-csrf_token\"\r\n\r\nabc\r\n--b";
        assert_eq!(Form::Multipart.token(field, part.as_bytes(), false).as_deref(), Some("abc"));
        assert_eq!(Form::Multipart.token(DJANGOS, part.as_bytes(), false), None);
    }

    #[test]
    fn only_forms_are_read() {
        assert_eq!(Form::of("Multipart/Form-Data; boundary=x"), Some(Form::Multipart));
        assert_eq!(Form::of("application/json"), None);
    }
}
