//! A client of etcd's JSON gateway, over the HTTP client that the orchestrator has anyway: its gRPC would need another
//! stack, and a compiler of its own for the build. Passes over members that do not answer, and logs in where it must.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Etcd;
use super::words::{Done, Keys, Txn, reading};
use crate::outgoing::{Caller, UNREACHED};

/// A member that takes longer has not answered.
const LIMIT: Duration = Duration::from_secs(3);
/// No answer is longer: rule files, and all samples.
const LARGEST: usize = 64 << 20;
/// gRPC's number for a caller who is not logged in.
const UNAUTHENTICATED: u32 = 16;
/// And for arguments that are not as they should be: a call without a user, too.
const INVALID: u32 = 3;

/// etcd did not do what it was asked for. Never holds a key's value, or the password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EtcdError {
    /// No member answered; what was asked for may have been done.
    #[error("no member answers ({0})")]
    Away(&'static str),
    /// It answered that it does not do that.
    #[error("it answers: {message} ({code})")]
    Refused {
        /// gRPC's number of the kind of error, 0 where it says none.
        code: u32,
        /// Its words.
        message: String,
    },
    /// One value alone is more than it takes.
    #[error(
        "a value is larger than it takes in one request: start its members with a greater --max-request-bytes, or make the rule files smaller"
    )]
    TooLarge,
    /// What it answered is not what it should be.
    #[error("its answer cannot be read")]
    Garbled,
    /// Somebody else wrote between a read and its write, again and again.
    #[error("it changed all the time")]
    Restless,
}

/// Shared by everybody who reads and writes in this process.
pub(crate) struct Client {
    caller: Caller,
    endpoints: Vec<String>,
    /// The member that answered last.
    at: AtomicUsize,
    prefix: String,
    user: Option<(String, String)>,
    token: Mutex<Option<String>>,
}

impl EtcdError {
    /// What an answer says that is no success: `{"code": …, "message": …}`, in streams within `{"error": …}`.
    pub(super) fn refused(problem: &Value, otherwise: &str) -> EtcdError {
        let problem = problem.get("error").filter(|inner| inner.is_object()).unwrap_or(problem);
        let number = ["code", "grpc_code"].iter().find_map(|name| problem[*name].as_u64()).unwrap_or(0);
        let words = ["message", "error"].iter().find_map(|name| problem[*name].as_str()).unwrap_or(otherwise);
        // Its store says the one, its gateway the other, which is asked first and takes a little more.
        if ["request is too large", "received message larger than max"].iter().any(|said| words.contains(said)) {
            return EtcdError::TooLarge;
        }
        EtcdError::Refused { code: u32::try_from(number).unwrap_or(0), message: words.to_owned() }
    }
}

impl Client {
    pub(crate) fn new(etcd: &Etcd) -> Client {
        Client {
            caller: Caller::new(&etcd.trust).taking(LARGEST),
            endpoints: etcd.endpoints.iter().map(|one| one.trim_end_matches('/').to_owned()).collect(),
            at: AtomicUsize::new(0),
            prefix: etcd.prefix.clone(),
            user: etcd.user.clone(),
            token: Mutex::default(),
        }
    }

    /// A key with what all keys begin with.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Reads at one revision.
    pub(crate) async fn read(&self, wanted: &[Keys<'_>]) -> Result<Done, EtcdError> {
        self.call("/v3/kv/txn", &reading(wanted, &self.prefix), LIMIT, true).await
    }

    /// Writes, if all guards hold.
    pub(crate) async fn transact(&self, txn: &Txn<'_>) -> Result<Done, EtcdError> {
        self.call("/v3/kv/txn", &txn.body(&self.prefix), LIMIT, false).await
    }

    /// One call. The next member is asked when one takes no connection and, if the call may be `repeated`, when it does not answer.
    pub(in crate::store) async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        limit: Duration,
        repeated: bool,
    ) -> Result<T, EtcdError> {
        match self.say(path, body, limit, repeated).await {
            Err(EtcdError::Refused { code: UNAUTHENTICATED | INVALID, .. }) if self.user.is_some() => {
                self.log_in(limit).await?;
                self.say(path, body, limit, repeated).await
            }
            said => said,
        }
    }

    async fn log_in(&self, limit: Duration) -> Result<(), EtcdError> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let Some((name, password)) = &self.user else { return Ok(()) };
        self.keep(None);
        let token: Token = self.say("/v3/auth/authenticate", &json!({ "name": name, "password": password }), limit, true).await?;
        self.keep(Some(token.token));
        Ok(())
    }

    fn keep(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = token;
    }

    /// As if etcd had forgotten who this is.
    #[cfg(test)]
    pub(crate) fn forget_token(&self) {
        self.keep(None);
    }

    async fn say<T: DeserializeOwned>(&self, path: &str, body: &Value, limit: Duration, repeated: bool) -> Result<T, EtcdError> {
        let token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        let body = bytes::Bytes::from(body.to_string());
        let mut away = "there are none";
        let first = self.at.load(Ordering::Relaxed);
        for turn in 0..self.endpoints.len() {
            let member = (first + turn) % self.endpoints.len();
            let uri = format!("{}{path}", self.endpoints[member]);
            let sent = tokio::time::timeout(limit, self.caller.send(Method::POST, &uri, &headers, body.clone())).await;
            away = match sent {
                Ok(Ok((status, answer))) => {
                    let answer = understood(status, &answer);
                    // A member without a leader, or one that is ending, may have a sister that is well.
                    let passed_over = matches!(answer, Err(EtcdError::Refused { code: 14, .. })) && repeated;
                    if !passed_over {
                        self.at.store(member, Ordering::Relaxed);
                        return answer;
                    }
                    "it has no leader"
                }
                Ok(Err(why)) => why,
                Err(_) => "no answer in time",
            };
            self.at.store((member + 1) % self.endpoints.len(), Ordering::Relaxed);
            if away != UNREACHED && !repeated {
                break;
            }
        }
        Err(EtcdError::Away(away))
    }
}

fn understood<T: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<T, EtcdError> {
    if status.is_success() {
        return serde_json::from_slice(answer).map_err(|_| EtcdError::Garbled);
    }
    Err(EtcdError::refused(&serde_json::from_slice(answer).unwrap_or_default(), status.as_str()))
}
