//! What somebody at a browser would call a failure. Does not count: the ledger does.

use hyper::StatusCode;

use crate::http::Answer;

/// Where the school sends everybody whom it does not know.
const LOG_IN: &str = "/accounts/login/";

/// The kind of failure that an answer is to somebody who is logged in and asks for what is there.
///
/// `gone`: what was asked for was just removed, so that 404 is the right answer.
pub(super) fn failure(answer: &Answer, gone: bool) -> Option<String> {
    let status = answer.status;
    if gone && status == StatusCode::NOT_FOUND {
        return None;
    }
    if status.is_client_error() || status.is_server_error() {
        return Some(status.as_str().to_owned());
    }
    let sent_to_log_in = status.is_redirection() && answer.header("location").is_some_and(leads_to_log_in);
    sent_to_log_in.then(|| "logged out".to_owned())
}

/// With or without the host in front, and whatever `next` says.
fn leads_to_log_in(location: &str) -> bool {
    let path = location.split_once("://").map_or(location, |(_, rest)| rest.find('/').map_or("", |slash| &rest[slash..]));
    path.starts_with(LOG_IN)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: u16, location: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert("location", location.parse().expect("a header"));
        }
        Answer { status: StatusCode::from_u16(status).expect("a status"), headers, body: Bytes::new() }
    }

    #[test]
    fn a_missing_row_is_noticed_unless_it_was_just_removed() {
        assert_eq!(failure(&answer(404, None), false).as_deref(), Some("404"));
        assert_eq!(failure(&answer(404, None), true), None);
        assert_eq!(failure(&answer(403, None), true).as_deref(), Some("403"));
        assert_eq!(failure(&answer(503, None), false).as_deref(), Some("503"));
        assert_eq!(failure(&answer(200, None), false), None);
    }

    #[test]
    fn whoever_is_sent_to_the_log_in_is_logged_out() {
        for location in ["/accounts/login/?next=/accounts/profile/", "http://school.test:8000/accounts/login/"] {
            assert_eq!(failure(&answer(302, Some(location)), false).as_deref(), Some("logged out"), "{location}");
        }
        assert_eq!(failure(&answer(302, Some("/accounts/profile/")), false), None);
        assert_eq!(failure(&answer(201, Some("/api/v1/users/7/")), false), None);
    }
}
