//! What the plugins of a route say to a request, for `explain`. Nothing is counted and no password is checked.

use serde::{Deserialize, Serialize};

use super::{Active, Answer, Asking, Kind, Plugins};
use crate::decide::{Caller, Snapshot, flag_is_on, matched};
use crate::route::Request;
use crate::{Side, Timestamp};

/// One plugin that a request meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its name in rule files.
    pub plugin: String,
    /// Where it stands.
    pub source: String,
    /// The flag that gates it.
    pub flag: Option<String>,
    /// It takes part: it has no flag, or the flag is on for the caller.
    pub active: bool,
    /// The status, if it answers the request itself; those after it are not met.
    pub answers: Option<u16>,
    /// What it does, in a few words.
    pub says: String,
}

/// What the plugins of a request's route say to it; `side` is where it would go.
pub fn tell(snapshot: &Snapshot, request: &dyn Request, caller: &Caller, side: Side, now: Timestamp) -> Vec<Told> {
    let Some(matched) = matched(snapshot, request) else { return Vec::new() };
    let Some(plugins) = &snapshot.rules.route(&matched).plugins else { return Vec::new() };
    let https = request.header("x-forwarded-proto") == Some("https");
    let asking = Asking { request, params: &matched.params, client: None, https };
    plugins.tell(plugins.active(|flag| flag_is_on(snapshot, flag, request, caller, now)), &asking, side)
}

impl Plugins {
    /// All that a request meets, in order, up to the one that answers it.
    pub fn tell(&self, active: Active, asking: &Asking<'_>, side: Side) -> Vec<Told> {
        let mut told = Vec::new();
        for (kind, source, flag) in self.declared() {
            let is_active = active.has(kind);
            let (answers, says) = match is_active {
                true => self.says(kind, asking, side),
                false => (None, "off: its flag is off for the caller".to_owned()),
            };
            let flag = flag.map(str::to_owned);
            told.push(Told { plugin: kind.as_str().to_owned(), source: source.to_owned(), flag, active: is_active, answers, says });
            if answers.is_some() {
                break;
            }
        }
        told
    }

    fn says(&self, kind: Kind, asking: &Asking<'_>, side: Side) -> (Option<u16>, String) {
        let active = Active(1 << (kind as u16));
        let answered = |answer: Answer| {
            let location = answer.headers.iter().find(|(name, _)| *name == "location").map(|(_, to)| format!(": {to}"));
            (Some(answer.status), format!("answers {}{}", answer.status, location.unwrap_or_default()))
        };
        let is_not_known = kind == Kind::Ip && asking.client.is_none();
        if !is_not_known && let Err((_, answer)) = self.first(active, asking) {
            return answered(answer);
        }
        if let Err((_, answer)) = self.last(active, asking) {
            return answered(answer);
        }
        let said = match kind {
            Kind::Ip => self.ip.as_ref().map(|ip| {
                let list = |word: &str, networks: &[crate::network::Network]| {
                    let list: Vec<String> = networks.iter().map(ToString::to_string).collect();
                    if list.is_empty() { String::new() } else { format!("{word} {} ", list.join(", ")) }
                };
                format!("{}{}", list("lets in", &ip.what.allow), list("refuses", &ip.what.deny)).trim_end().to_owned()
            }),
            Kind::BasicAuth => {
                self.basic_auth.as_ref().map(|basic| format!("asks for one of {} names and its password", basic.what.users.len()))
            }
            Kind::RateLimit => self.rate_limit.as_ref().map(|limit| {
                let quotas: Vec<String> = limit.what.quotas.iter().map(|quota| format!("{} in {:?}", quota.count, quota.per)).collect();
                let by: Vec<String> = limit.what.by.iter().map(super::By::as_word).collect();
                let shared = limit.what.shared.map_or(String::new(), |away| format!(", shared (else {})", away.as_str()));
                format!("counts {} by {}{shared}", quotas.join(" and "), by.join(", "))
            }),
            Kind::RequestSize => self.request_size.as_ref().map(|size| format!("takes bodies of {} bytes", size.what.max)),
            Kind::Version => self.last(active, asking).ok().flatten().map(|version| format!("version {version}")),
            Kind::Rewrite => {
                let path = self.path(active, side, asking.request.path(), asking);
                let query = self.query(active, side, asking.request.query());
                let parts = path.map(|path| format!("path {path}")).into_iter().chain(query.map(|query| format!("query {query}")));
                Some(parts.collect::<Vec<_>>().join(", "))
            }
            Kind::RequestHeaders => Some(changed(self.on_the_way_there(active, None).len())),
            Kind::ResponseHeaders | Kind::SecurityHeaders | Kind::Cors => Some(changed(self.on_the_way_back(active, asking, None).len())),
            Kind::Compression => self.packs(active).map(|packs| {
                let codings: Vec<&str> = packs.codings.iter().map(|coding| coding.as_str()).collect();
                format!("packs with {}", codings.join(", "))
            }),
            Kind::Maintenance | Kind::Redirect => None,
        };
        (None, said.filter(|said| !said.is_empty()).unwrap_or_else(|| "lets it through".to_owned()))
    }
}

fn changed(changes: usize) -> String {
    format!("changes {changes} headers")
}
