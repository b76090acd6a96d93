//! Read your writes: markers of a caller's last writes, read from its request, added to its answers.

use ficus_rules::Timestamp;
use ficus_rules::marker::{self, COOKIE, HEADER, LIFETIME, Marker};
use pingora::http::ResponseHeader;

use crate::asked::Asked;

/// The genuine markers that a request brings, by cookie or by header.
pub(crate) fn read(asked: &Asked, key: &[u8], now: Timestamp) -> Vec<Marker> {
    marker::brought(asked, key, now)
}

/// Puts a caller's markers into an answer. `secure` is what else the cookie says.
pub(crate) fn write(answer: &mut ResponseHeader, markers: &[Marker], key: &[u8], secure: &str) -> pingora::Result<()> {
    let text = marker::seal(markers, key);
    let cookie = format!("{COOKIE}={text}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", LIFETIME.as_secs());
    answer.append_header("set-cookie", cookie)?;
    answer.insert_header(HEADER, text)
}
