//! Resolves where change events go.

use std::collections::BTreeMap;

use ficus_sync_agent::{Bus, check_bus};
use toml::Spanned;

use super::{Resolving, document};

/// A name of AMQP has no more bytes.
const LONGEST: usize = 127;

impl Resolving<'_> {
    pub(super) fn buses(&mut self, named: &BTreeMap<Spanned<String>, document::Events>) -> BTreeMap<String, Bus> {
        named.iter().filter_map(|(name, events)| Some((name.get_ref().clone(), self.bus(name, events)?))).collect()
    }

    fn bus(&mut self, name: &Spanned<String>, events: &document::Events) -> Option<Bus> {
        let url = match (&events.url, &events.url_file, &events.url_env) {
            (Some(url), None, None) => {
                let authority = url.get_ref().split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()).unwrap_or("");
                if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
                    let what = "a password does not belong here: put the address into a `url_file`, or a `url_env`";
                    self.fault(url.span().start, what.to_owned());
                }
                Some(url.get_ref().clone())
            }
            (None, Some(file), None) => self.secret(file),
            (None, None, Some(variable)) => self.variable(variable),
            _ => {
                let what = format!("events.{} needs one address: a `url`, a `url_file` or a `url_env`", name.get_ref());
                self.fault(name.span().start, what);
                None
            }
        }?;
        if let Err(why) = check_bus(&url) {
            self.fault(name.span().start, format!("events.{}: {why}", name.get_ref()));
        }
        let streams = url.starts_with("redis:");
        for (key, given, fits) in [
            ("stream", events.stream.as_ref().map(Spanned::span), streams),
            ("keep", events.keep.as_ref().map(Spanned::span), streams),
            ("exchange", events.exchange.as_ref().map(Spanned::span), !streams),
        ] {
            if let Some(span) = given.filter(|_| !fits) {
                self.fault(span.start, format!("`{key}` is for {}: take it away", if streams { "amqp://" } else { "redis://" }));
            }
        }
        let called = events.stream.as_ref().or(events.exchange.as_ref());
        if let Some(called) = called.filter(|called| called.get_ref().is_empty() || called.get_ref().len() > LONGEST) {
            self.fault(called.span().start, format!("a name has 1 to {LONGEST} bytes"));
        }
        if let Some(none) = events.keep.as_ref().filter(|keep| *keep.get_ref() == 0) {
            self.fault(none.span().start, "a stream that keeps nothing tells nobody: leave `keep` out, or name a number".to_owned());
        }
        Some(Bus { url, name: called.map(|called| called.get_ref().clone()), keep: events.keep.as_ref().map(|keep| *keep.get_ref()) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::{GOOD, load};

    #[test]
    fn buses_have_an_address_and_no_password_in_sight() {
        let with = |more: &str| load(&format!("{GOOD}\n[events.bus]\n{more}\n"));
        let bus = &with("url = 'redis://127.0.0.1:6379/0'\nstream = 'users'\nkeep = 1000").unwrap().buses["bus"];
        assert_eq!((bus.url.as_str(), bus.name.as_deref(), bus.keep), ("redis://127.0.0.1:6379/0", Some("users"), Some(1_000)));
        let bus = &with("url = 'amqp://ficus@127.0.0.1:5672/shop'\nexchange = 'shop'").unwrap().buses["bus"];
        assert_eq!((bus.name.as_deref(), bus.keep), (Some("shop"), None));
        for (more, line, word) in [
            ("stream = 'a'", 8, "needs one address"),
            ("url = 'redis://a'\nurl_file = 'token'", 8, "needs one address"),
            ("url_file = 'token'", 8, "not the address of a bus"),
            ("url_file = 'empty'", 9, "is empty"),
            ("url = 'redis://:secret@127.0.0.1'", 9, "password does not belong here"),
            ("url = 'amqp://ficus:secret@127.0.0.1'", 9, "password does not belong here"),
            ("url = 'kafka://127.0.0.1'", 8, "not the address of a bus"),
            ("url = 'redis://127.0.0.1'\nexchange = 'a'", 10, "`exchange` is for amqp://"),
            ("url = 'amqp://127.0.0.1'\nstream = 'a'", 10, "`stream` is for redis://"),
            ("url = 'amqp://127.0.0.1'\nkeep = 5", 10, "`keep` is for redis://"),
            ("url = 'redis://127.0.0.1'\nkeep = 0", 10, "tells nobody"),
            ("url = 'redis://127.0.0.1'\nstream = ''", 10, "1 to 127 bytes"),
        ] {
            let why = with(more).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word) && !why.contains("secret@"), "{more}: {why}");
        }
    }
}
