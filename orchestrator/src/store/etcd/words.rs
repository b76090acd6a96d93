//! etcd's transactions as its JSON gateway takes them: keys and values in base64, 64-bit numbers as text, zero left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A condition of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    key: String,
    target: &'static str,
    field: &'static str,
    revision: u64,
}

impl Guard {
    /// The key was made at this revision, and is still there; 0: it is not there.
    pub(crate) fn made(key: &str, revision: u64) -> Guard {
        Guard { key: key.to_owned(), target: "CREATE", field: "create_revision", revision }
    }

    /// The key was last written at this revision; 0: it is not there.
    pub(super) fn changed(key: &str, revision: u64) -> Guard {
        Guard { key: key.to_owned(), target: "MOD", field: "mod_revision", revision }
    }
}

/// A step of a transaction that writes.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put { key: String, value: Vec<u8>, lease: Option<u64> },
    Delete { first: String, end: Option<String> },
}

impl Step {
    /// Writes JSON.
    pub(crate) fn put(key: &str, value: &impl Serialize) -> Result<Step, serde_json::Error> {
        Ok(Step::Put { key: key.to_owned(), value: serde_json::to_vec(value)?, lease: None })
    }

    /// Writes JSON that goes with a lease.
    pub(crate) fn put_leased(key: &str, value: &impl Serialize, lease: u64) -> Result<Step, serde_json::Error> {
        Ok(Step::Put { key: key.to_owned(), value: serde_json::to_vec(value)?, lease: Some(lease) })
    }

    fn size(&self) -> usize {
        match self {
            Step::Put { key, value, .. } => key.len() + value.len(),
            Step::Delete { first, end } => first.len() + end.as_ref().map_or(0, String::len),
        }
    }

    pub(super) fn delete(key: &str) -> Step {
        Step::Delete { first: key.to_owned(), end: None }
    }

    /// Deletes all keys that begin like this.
    pub(super) fn delete_under(under: &str) -> Step {
        Step::delete_between(under, &after(under))
    }

    /// Deletes from `first` on, up to but without `end`.
    pub(super) fn delete_between(first: &str, end: &str) -> Step {
        Step::Delete { first: first.to_owned(), end: Some(end.to_owned()) }
    }
}

/// Steps of one transaction: etcd takes 128 of them, guards and all.
const STEPS: usize = 60;
/// Their bytes, unless one alone has more. etcd takes 1.5 MiB.
const BYTES: usize = 512 << 10;

/// Steps, in transactions that etcd takes.
pub(super) fn in_portions(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut portions: Vec<Vec<Step>> = Vec::new();
    let mut bytes = 0;
    for step in steps {
        let size = step.size();
        match portions.last_mut().filter(|portion| portion.len() < STEPS && bytes + size <= BYTES) {
            Some(portion) => {
                portion.push(step);
                bytes += size;
            }
            None => {
                portions.push(vec![step]);
                bytes = size;
            }
        }
    }
    portions
}

/// Keys to read.
#[derive(Debug, Clone)]
pub(crate) enum Keys<'a> {
    One(&'a str),
    /// All that begin like this, in order.
    Under(&'a str),
    /// The same without their values.
    NamesUnder(&'a str),
    Between {
        first: &'a str,
        end: &'a str,
        limit: u32,
        newest_first: bool,
    },
}

/// What to do if all guards hold, and what to read if not.
#[derive(Debug, Clone)]
pub(crate) struct Txn<'a> {
    pub(crate) guards: Vec<Guard>,
    pub(crate) steps: Vec<Step>,
    pub(crate) otherwise: Vec<Keys<'a>>,
}

impl Txn<'_> {
    /// As the gateway takes it; all keys behind `prefix`.
    pub(super) fn body(&self, prefix: &str) -> Value {
        let at = keyed(prefix);
        let guard = |guard: &Guard| {
            let mut body = json!({ "key": at(&guard.key), "target": guard.target, "result": "EQUAL" });
            body[guard.field] = guard.revision.to_string().into();
            body
        };
        let step = |step: &Step| match step {
            Step::Put { key, value, lease } => {
                let mut put = json!({ "key": at(key), "value": STANDARD.encode(value) });
                if let Some(lease) = lease {
                    put["lease"] = lease.to_string().into();
                }
                json!({ "request_put": put })
            }
            Step::Delete { first, end: None } => json!({ "request_delete_range": { "key": at(first) } }),
            Step::Delete { first, end: Some(end) } => json!({ "request_delete_range": { "key": at(first), "range_end": at(end) } }),
        };
        json!({
            "compare": self.guards.iter().map(guard).collect::<Vec<_>>(),
            "success": self.steps.iter().map(step).collect::<Vec<_>>(),
            "failure": self.otherwise.iter().map(|keys| keys.body(&at)).collect::<Vec<_>>(),
        })
    }
}

/// Reads, at one revision: a transaction without guards does what it does "if all of them hold".
pub(super) fn reading(wanted: &[Keys<'_>], prefix: &str) -> Value {
    let at = keyed(prefix);
    json!({ "success": wanted.iter().map(|keys| keys.body(&at)).collect::<Vec<_>>() })
}

fn keyed(prefix: &str) -> impl Fn(&str) -> String {
    move |key| STANDARD.encode(format!("{prefix}{key}"))
}

impl Keys<'_> {
    /// A step of a transaction that reads.
    fn body(&self, at: &impl Fn(&str) -> String) -> Value {
        let range = match self {
            Keys::One(key) => json!({ "key": at(key) }),
            Keys::Under(under) => json!({ "key": at(under), "range_end": at(&after(under)) }),
            Keys::NamesUnder(under) => json!({ "key": at(under), "range_end": at(&after(under)), "keys_only": true }),
            Keys::Between { first, end, limit, newest_first } => {
                let order = if *newest_first { "DESCEND" } else { "ASCEND" };
                json!({ "key": at(first), "range_end": at(end), "limit": limit.to_string(), "sort_order": order, "sort_target": "KEY" })
            }
        };
        json!({ "request_range": range })
    }
}

/// The first key that no longer begins like `under`. Our prefixes end with an ASCII character.
fn after(under: &str) -> String {
    let mut end = under.to_owned();
    let last = end.pop().map_or('\u{1}', |last| char::from(last as u8 + 1));
    end.push(last);
    end
}

/// What a transaction answers.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    header: Header,
    #[serde(default)]
    pub(crate) succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Debug, Default, Deserialize)]
struct Header {
    #[serde(default)]
    revision: String,
}

#[derive(Debug, Default, Deserialize)]
struct Response {
    #[serde(default)]
    response_range: Found,
}

#[derive(Debug, Default, Deserialize)]
struct Found {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    create_revision: String,
    #[serde(default)]
    mod_revision: String,
}

impl Done {
    /// Of one that wrote: the revision that it made.
    pub(super) fn revision(&self) -> u64 {
        number(&self.header.revision)
    }

    /// The first of the keys that were asked for first, and the revision at which it was last written.
    pub(crate) fn one<T: DeserializeOwned>(&self) -> Result<Option<(T, u64)>, serde_json::Error> {
        let found = self.pairs(0).first();
        found.map(|pair| Ok((serde_json::from_slice(&decoded(&pair.value))?, number(&pair.mod_revision)))).transpose()
    }

    /// The values of the keys that were asked for as number `at`.
    pub(super) fn all<T: DeserializeOwned>(&self, at: usize) -> Result<Vec<T>, serde_json::Error> {
        self.pairs(at).iter().map(|pair| serde_json::from_slice(&decoded(&pair.value))).collect()
    }

    /// The keys, without what they all begin with.
    pub(super) fn names(&self, at: usize, prefix: &str) -> Vec<String> {
        let key = |pair: &Pair| String::from_utf8_lossy(&decoded(&pair.key)).into_owned();
        self.pairs(at).iter().map(|pair| key(pair).strip_prefix(prefix).map(str::to_owned).unwrap_or_default()).collect()
    }

    /// When the first key was made, and last written.
    pub(crate) fn revisions(&self, at: usize) -> Option<(u64, u64)> {
        self.pairs(at).first().map(|pair| (number(&pair.create_revision), number(&pair.mod_revision)))
    }

    fn pairs(&self, at: usize) -> &[Pair] {
        self.responses.get(at).map(|response| response.response_range.kvs.as_slice()).unwrap_or_default()
    }
}

/// What is no base64 did not come from etcd, and is no JSON of ours either.
fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_portion_is_bounded_by_number_and_by_bytes() {
        let portions = |sizes: &[usize]| {
            let steps = sizes.iter().map(|size| super::Step::put("k", &"x".repeat(*size)).expect("it is JSON")).collect();
            super::in_portions(steps).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(portions(&[]), Vec::<usize>::new());
        assert_eq!(portions(&[1; 130]), [60, 60, 10]);
        assert_eq!(portions(&[200 << 10; 5]), [2, 2, 1]);
        assert_eq!(portions(&[1, 700 << 10, 1]), [1, 1, 1], "one that is larger alone goes alone");
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(super::after("state/"), "state0");
        assert!("state/~zebra" < super::after("state/").as_str());
    }
}
