//! The phases in which plugins are met. The gateway walks them in this order; between the first two it checks a password
//! and counts, which is not pure.

use super::headers::HeaderChange;
use super::{Active, Answer, Asking, BasicAuth, Compression, Kind, Plugins, RateLimit, RequestSize};
use crate::Side;

/// A plugin's answer, and which plugin it was.
pub type Answered = (Kind, Answer);

impl Plugins {
    /// `ip` before anything is asked about the caller, unless a flag gates it.
    ///
    /// # Errors
    /// It is not let in.
    pub fn doorstep(&self, asking: &Asking<'_>) -> Result<(), Answered> {
        let refused = self.ip.as_ref().filter(|ip| ip.flag.is_none()).and_then(|ip| ip.what.answer(asking));
        refused.map_or(Ok(()), |answer| Err((Kind::Ip, answer)))
    }

    /// What is answered before anybody is asked for a password or counted.
    ///
    /// # Errors
    /// The answer.
    pub fn first(&self, active: Active, asking: &Asking<'_>) -> Result<(), Answered> {
        let met = [
            (Kind::Ip, active.of(Kind::Ip, &self.ip).and_then(|ip| ip.answer(asking))),
            (Kind::Maintenance, active.of(Kind::Maintenance, &self.maintenance).and_then(|page| page.answer(asking))),
            (Kind::Redirect, active.of(Kind::Redirect, &self.redirect).and_then(|redirect| redirect.answer(asking))),
            (Kind::Cors, active.of(Kind::Cors, &self.cors).and_then(|cors| cors.preflight(asking))),
        ];
        met.into_iter().find_map(|(kind, answer)| Some((kind, answer?))).map_or(Ok(()), Err)
    }

    /// Who is let in by a name and a password.
    pub fn asks_password(&self, active: Active) -> Option<&BasicAuth> {
        active.of(Kind::BasicAuth, &self.basic_auth)
    }

    /// By what it is counted.
    pub fn counts(&self, active: Active) -> Option<&RateLimit> {
        active.of(Kind::RateLimit, &self.rate_limit)
    }

    /// How large its body may be.
    pub fn takes(&self, active: Active) -> Option<RequestSize> {
        active.of(Kind::RequestSize, &self.request_size).copied()
    }

    /// What is left to refuse, after the count. Gives back the version that is asked for.
    ///
    /// # Errors
    /// The answer.
    pub fn last(&self, active: Active, asking: &Asking<'_>) -> Result<Option<String>, Answered> {
        if let Some(answer) = self.takes(active).and_then(|size| size.announced(asking)) {
            return Err((Kind::RequestSize, answer));
        }
        let version = active.of(Kind::Version, &self.version).map(|version| version.asked(asking));
        version.transpose().map_err(|answer| (Kind::Version, answer))
    }

    /// What is changed of the request's headers. Name and password are for us, not for the server behind.
    pub fn on_the_way_there(&self, active: Active, version: Option<&str>) -> Vec<HeaderChange> {
        let password = self.asks_password(active).map(|_| HeaderChange::remove("authorization"));
        let told = active.of(Kind::Version, &self.version).and_then(|version| version.header.as_deref()).zip(version);
        let told = told.map(|(name, version)| HeaderChange::set(name, version));
        let own = active.of(Kind::RequestHeaders, &self.request_headers).map(|own| own.changes.clone());
        password.into_iter().chain(told).chain(own.unwrap_or_default()).collect()
    }

    /// The path that a side sees; `path` is what it would see without. `None`: the same.
    pub fn path(&self, active: Active, side: Side, path: &str, asking: &Asking<'_>) -> Option<String> {
        active.of(Kind::Rewrite, &self.rewrite)?.path(side, path, asking)
    }

    /// The query that a side sees; `None`: the same.
    pub fn query(&self, active: Active, side: Side, query: &str) -> Option<String> {
        active.of(Kind::Rewrite, &self.rewrite)?.query(side, query)
    }

    /// What is changed of the answer's headers, in order.
    pub fn on_the_way_back(&self, active: Active, asking: &Asking<'_>, version: Option<&str>) -> Vec<HeaderChange> {
        let own = active.of(Kind::ResponseHeaders, &self.response_headers).map(|own| own.changes.clone());
        let security = active.of(Kind::SecurityHeaders, &self.security_headers).map(|own| own.changes(asking.https));
        let cors = active.of(Kind::Cors, &self.cors).map(|cors| cors.changes(asking.request));
        let versions = active.of(Kind::Version, &self.version).zip(version).map(|(versions, version)| versions.changes(version));
        [own, security, cors, versions].into_iter().flatten().flatten().collect()
    }

    /// How its answer may be packed.
    pub fn packs(&self, active: Active) -> Option<&Compression> {
        active.of(Kind::Compression, &self.compression)
    }
}
