//! Who may use an admin listener: who has a token whose role covers the call or, where there are no tokens, who asks for
//! this machine by its own name. Decides by headers alone; which call asks for which role stands in the table of `api.rs`.

mod origin;
mod tokens;

use std::net::IpAddr;

use axum::http::uri::Authority;

pub(crate) use origin::{Author, Origin};
pub use tokens::{Denied, Role, Token, Tokens};

/// Whether a `Host` means this machine whatever a name server says: `localhost` or a loopback address.
pub fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn a_name_that_a_name_server_answers_for_is_not_loopback() {
        for host in ["127.0.0.1", "127.0.0.1:7070", "127.9.9.9:1", "[::1]:7070", "[::ffff:127.0.0.1]:1", "localhost", "LocalHost:7070"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["evil.example:7070", "localhost.evil.example", "127.0.0.1.evil.example", "a@127.0.0.1.evil.example", "10.0.0.1", "", "::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
