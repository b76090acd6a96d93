//! A notebook: people, each with an address, and notes that are only added. Two small real services over it, the legacy one
//! and the modern one, whose rows are on any engine. They take far more writes than a Django does, and no log-in: for what is
//! about switches under many writes.
//!
//! Either can be made ill: it fails sometimes, is slow, or says what is not true; dropped, it is gone.
//!
//! Decides nothing about gateways: it says what stands behind them, and which rules lead there.

mod audit;
mod store;
mod writers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use audit::audit;
pub use store::{Book, Store};
pub use writers::{Pace, Readers, Writers};

/// The capability's name.
pub const NAME: &str = "notebook";

/// The upstreams' names: who has the rows at first, and who gets them.
pub const UPSTREAMS: [&str; 2] = ["old-notebook", "new-notebook"];

/// The rule file.
pub const RULES: &str = r#"[capability]
name = "notebook"
legacy = "old-notebook"
modern = "new-notebook"

[[route]]
path = "/notes/{*rest}"
csrf = false

[cohort]
by = ["cookie:reader", "anonymous"]

[[step]]
shadow = "1%"
hold = "1h"

[[step]]
cutover = true
approve = true

[[step]]
soak = "7d"

[gate.lag]
max = "2s"

[gate.parity]
max_drift_rows = 0

[[table]]
legacy = "person"
modern = "people"

[[table]]
legacy = "note"
modern = "notes"
sequence = "seq_notes"
"#;

/// What is wrong with a service. That it says to be well is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illness {
    /// Nothing.
    Well,
    /// One request of so many fails, before anything is done.
    Fails(u64),
    /// Every answer takes so much longer.
    Slow(Duration),
    /// Every answer takes longer, now more and now less, as it comes: so much on average. A few take many times as long.
    Uneven(Duration),
    /// What it reads out is not what is written.
    Lies,
    /// It takes requests and answers none, like a process that is stopped: when it is well again it goes on with all of them.
    Hangs,
    /// The same, and the first few who add something hang when they have written it, in a transaction that nobody ends: it does not
    /// end with the request, as that of a service whose machine is gone does not.
    HangsWithin,
}

impl Illness {
    fn hangs(self) -> bool {
        matches!(self, Illness::Hangs | Illness::HangsWithin)
    }
}

/// So many hang within a transaction: the others need connections.
const WITHIN: u64 = 3;

/// One of the two services; it ends with its owner.
#[derive(Debug)]
pub struct Notebook {
    /// Its port on the loopback interface.
    pub port: u16,
    illness: watch::Sender<Illness>,
    task: JoinHandle<()>,
}

impl Notebook {
    /// Starts one over its rows.
    ///
    /// # Errors
    /// No port.
    pub async fn start(store: Store) -> Result<Notebook> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let illness = watch::Sender::new(Illness::Well);
        let shared = Shared { store, illness: illness.subscribe(), asked: Arc::default(), within: Arc::default(), said: Arc::default() };
        let router = Router::new()
            .route("/notes/{person}", get(read).post(add).put(move_house))
            .layer(middleware::from_fn_with_state(shared.clone(), suffer))
            .route("/health", get(|| async { "well" }))
            .with_state(shared);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Notebook { port, illness, task })
    }

    /// From now on.
    pub fn becomes(&self, illness: Illness) {
        self.illness.send_replace(illness);
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Shared {
    store: Store,
    illness: watch::Receiver<Illness>,
    /// How often it was asked.
    asked: Arc<AtomicU64>,
    /// How many hang within a transaction.
    within: Arc<AtomicU64>,
    /// What went wrong, by kind: each is said once.
    said: Arc<Mutex<HashMap<String, u64>>>,
}

#[derive(Debug, Deserialize)]
struct Note {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Address {
    address: String,
}

async fn suffer(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let illness = *shared.illness.borrow();
    match illness {
        Illness::Fails(one_of) if shared.asked.fetch_add(1, Ordering::Relaxed) % one_of == 0 => {
            return (StatusCode::INTERNAL_SERVER_ERROR, "ill").into_response();
        }
        Illness::Slow(by) => tokio::time::sleep(by).await,
        Illness::Uneven(mean) => tokio::time::sleep(mean.mul_f64(-rand::random::<f64>().max(1e-6).ln())).await,
        Illness::HangsWithin if request.method() == Method::POST && shared.within.fetch_add(1, Ordering::Relaxed) < WITHIN => {}
        Illness::Hangs | Illness::HangsWithin => drop(shared.illness.clone().wait_for(|illness| !illness.hangs()).await),
        _ => {}
    }
    next.run(request).await
}

async fn read(State(shared): State<Shared>, Path(person): Path<i64>) -> Response {
    let read = shared.store.read(person).await;
    let lies = *shared.illness.borrow() == Illness::Lies;
    let told = |(address, notes)| json!({ "address": if lies { "nowhere".to_owned() } else { address }, "notes": notes });
    shared.answer(StatusCode::OK, read.map(told))
}

async fn add(State(shared): State<Shared>, Path(person): Path<i64>, Json(note): Json<Note>) -> Response {
    if *shared.illness.borrow() == Illness::HangsWithin {
        let (store, text) = (shared.store.clone(), note.text.clone());
        let endless = tokio::spawn(async move { store.add_slowly(person, &text, Duration::from_secs(600)).await });
        let added = endless.await.unwrap_or_else(|error| Err(error.into()));
        return shared.answer(StatusCode::CREATED, added.map(|()| json!({})));
    }
    let added = shared.store.add(person, &note.text).await;
    shared.answer(StatusCode::CREATED, added.map(|()| json!({})))
}

async fn move_house(State(shared): State<Shared>, Path(person): Path<i64>, Json(to): Json<Address>) -> Response {
    let moved = shared.store.move_house(person, &to.address).await;
    shared.answer(StatusCode::OK, moved.map(|()| json!({})))
}

impl Shared {
    fn answer(&self, done: StatusCode, result: Result<Value>) -> Response {
        match result {
            Ok(value) => (done, Json(value)).into_response(),
            Err(error) => {
                let text = format!("{error:#}");
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                let times = said.entry(text.clone()).or_default();
                *times += 1;
                if *times == 1 {
                    eprintln!("a notebook: {text}");
                }
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}
