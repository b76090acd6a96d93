//! A request that is only asked about: what gateways would do with it. For `ficus explain` and the console.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::Timestamp;
use crate::decide::{self, Caller, Circumstances, Decision, Snapshot, anonymous_id};
use crate::migration::Phase;
use crate::plugin::{self, Told};
use crate::route::{PlainRequest, Request as _};

/// Body of `POST /api/v1/explain`. A session's user is not looked up: `user` says who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The method.
    pub method: String,
    /// Path with query.
    pub target: String,
    /// Host, if it matters.
    #[serde(default)]
    pub host: String,
    /// Headers by name.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The user, if logged in.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's roles.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Answer of `POST /api/v1/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// What the gateways decide.
    pub decision: Decision,
    /// The phase of its capability.
    pub phase: Option<Phase>,
    /// The generation that was asked.
    pub generation: u64,
    /// A gateway makes an id for this caller, which may fall on the other side of the share.
    pub new_here: bool,
    /// The plugins that it meets before, in order, up to one that answers it.
    #[serde(default)]
    pub plugins: Vec<Told>,
}

/// Why a gateway forwards a request nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// The method is not served.
    #[error("the gateway answers 405: this method is not served")]
    Method,
    /// The target is no target.
    #[error("the gateway answers 400: {0}")]
    Target(&'static str),
    /// Two servers could read the path differently.
    #[error("the gateway answers 400: servers could read the path in two ways; leave out dot segments and doubled slashes")]
    Ambiguous,
    /// Sessions cannot be looked up.
    #[error("the gateway answers 503: it cannot look up who calls; see `ficus status`, and its log for the reason")]
    Unidentified,
    /// It is one of its own pages.
    #[error("the gateway answers this itself: `[gateway]` of its ficus.toml names the path; no server behind it sees the request")]
    Itself,
}

/// What gateways know beside the rules: how fresh the copies are, which modern sides do not answer, and whether they can
/// look sessions up. Of several gateways one suffices: the caller may come to it.
#[derive(Debug, Default)]
pub struct KnownToGateways {
    around: Circumstances,
    /// The cookies of sessions that cannot be looked up.
    unread: BTreeSet<String>,
    /// The paths that gateways answer by themselves.
    answers: BTreeSet<String>,
}

impl KnownToGateways {
    /// As the gateways of a status have it.
    pub fn of(status: Status) -> KnownToGateways {
        let (mut down, mut unread, mut answers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for gateway in status.gateways.into_iter().filter(|gateway| gateway.live) {
            down.extend(gateway.modern_down);
            unread.extend(gateway.sessions_unread);
            answers.extend(gateway.answers);
        }
        KnownToGateways { around: Circumstances { freshness: status.freshness, modern_down: down.into_iter().collect() }, unread, answers }
    }

    /// What is known of gateways that nobody asks: the paths that they answer by themselves.
    pub fn configured(answers: impl IntoIterator<Item = String>) -> KnownToGateways {
        KnownToGateways { answers: answers.into_iter().collect(), ..KnownToGateways::default() }
    }

    /// The decision, and the caller as gateways see it: whom they cannot look up they do not know.
    ///
    /// # Errors
    /// [`NotServed::Itself`], [`NotServed::Unidentified`].
    pub fn decide(
        &self,
        snapshot: &Snapshot,
        question: &PlainRequest,
        caller: Caller,
        now: Timestamp,
    ) -> Result<(Decision, Caller), NotServed> {
        if self.answers.contains(question.path()) {
            return Err(NotServed::Itself);
        }
        let session = |name: &String| question.cookie(name).is_some_and(|cookie| cookie.len() >= 8);
        if self.unread.is_empty() || (caller.user.is_none() && !self.unread.iter().any(session)) {
            return Ok((decide::decide(snapshot, question, &caller, &self.around, now), caller));
        }
        let caller = Caller { user: None, roles: Vec::new(), ..caller };
        let decision = decide::decide(snapshot, question, &caller, &self.around, now);
        decide::unidentified(decision, snapshot, &caller).map(|decision| (decision, caller)).ok_or(NotServed::Unidentified)
    }
}

impl ExplainRequest {
    /// The request as gateways read it.
    ///
    /// # Errors
    /// They do not serve it.
    pub fn question(&self) -> Result<PlainRequest, NotServed> {
        if ["TRACE", "CONNECT"].iter().any(|method| self.method.eq_ignore_ascii_case(method)) {
            return Err(NotServed::Method);
        }
        let request = PlainRequest::new(&self.method, &self.target).map_err(NotServed::Target)?.with_host(&self.host);
        Ok(self.headers.iter().fold(request, |request, (name, value)| request.with_header(name.trim(), value.trim())))
    }

    /// What gateways would do with it. The marker of an earlier write is left out: only they have its key.
    ///
    /// # Errors
    /// They would refuse it.
    pub fn explain(&self, snapshot: &Snapshot, known: &KnownToGateways, now: Timestamp) -> Result<Explained, NotServed> {
        let question = self.question()?;
        let raw = self.target.split(['?', '#']).next().unwrap_or_default();
        if decide::is_ambiguous(snapshot, &question, raw) {
            return Err(NotServed::Ambiguous);
        }
        let anonymous = anonymous_id(&question).map(ToOwned::to_owned);
        let user = self.user.clone().filter(|user| !user.is_empty());
        let asked = Caller { user, roles: self.roles.clone(), anonymous, ..Caller::default() };
        let (decision, caller) = known.decide(snapshot, &question, asked, now)?;
        let needs = |name: &str| decide::needs_anonymous(snapshot, name, &question, &caller);
        let new_here = caller.anonymous.is_none() && decision.capability.as_deref().is_some_and(needs);
        let serving = decision.capability.as_ref().and_then(|name| snapshot.published.capabilities.get(name));
        let plugins = plugin::tell(snapshot, &question, &caller, decision.side, now);
        Ok(Explained {
            plugins,
            phase: serving.map(|serving| serving.phase),
            generation: snapshot.published.generation,
            new_here,
            decision,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Side;
    use crate::decide::Because;
    use crate::wire::Published;

    fn ask(method: &str, target: &str) -> Result<Explained, NotServed> {
        let request = ExplainRequest { method: method.into(), target: target.into(), ..ExplainRequest::default() };
        let snapshot = Snapshot { published: Published { generation: 7, ..Published::default() }, ..Snapshot::default() };
        request.explain(&snapshot, &KnownToGateways::default(), Timestamp(0))
    }

    #[test]
    fn what_no_route_takes_goes_to_legacy() {
        let explained = ask("get", "/courses/?page=2").unwrap();
        assert_eq!((explained.decision.side, explained.decision.because, explained.phase), (Side::Legacy, Because::NoRoute, None));
        assert_eq!((explained.generation, explained.new_here), (7, false));
    }

    #[test]
    fn what_a_gateway_answers_by_itself_is_told() {
        let known = KnownToGateways::configured(["/health".to_owned()]);
        let ask = |target: &str| {
            let request = ExplainRequest { method: "GET".into(), target: target.into(), ..ExplainRequest::default() };
            request.explain(&Snapshot::default(), &known, Timestamp(0)).map(|explained| explained.decision.side)
        };
        assert_eq!(ask("/health?deep=1"), Err(NotServed::Itself));
        assert_eq!(ask("/healthy"), Ok(Side::Legacy));
    }

    #[test]
    fn what_gateways_do_not_serve_is_told() {
        assert_eq!(ask("trace", "/"), Err(NotServed::Method));
        assert!(matches!(ask("GET", "/a%2fb"), Err(NotServed::Target(_))));
    }
}
