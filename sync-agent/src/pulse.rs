//! Whether the databases still answer. On a link that was cut without a word whoever waits for an answer waits for ever, and how
//! long an answer may take nobody can say: a lock, a slot, a standby that is away, a transaction of millions of rows. So each
//! is asked something small beside all that, again and again, and only silence to that counts: it ends a session wherever it
//! is. A refusal is an answer, and for others to judge. It also keeps connections that nobody uses from being forgotten by
//! what lies between.

use std::time::Duration;

use crate::error::Error;
use crate::port::Engine;

/// A database, and what it is called in errors.
pub(crate) struct Asked<'a>(pub(crate) &'a dyn Engine, pub(crate) &'a str);

/// Comes back when one of them has been silent for too long.
pub(crate) async fn silence(databases: [Asked<'_>; 2], patience: Duration) -> Error {
    let [one, other] = databases;
    tokio::select! {
        error = silent(one, patience) => error,
        error = silent(other, patience) => error,
    }
}

/// The same, of one. Of the time that a silence may last until it is told, two thirds are for the answer.
pub(crate) async fn silent(Asked(engine, label): Asked<'_>, patience: Duration) -> Error {
    loop {
        tokio::time::sleep(patience / 6).await;
        if tokio::time::timeout(patience * 2 / 3, engine.pulse()).await.is_err() {
            return Error::Silent { database: label.to_owned(), seconds: (patience * 2 / 3).as_secs_f64() };
        }
    }
}

/// Closes databases after what was done with them. Whoever is silent is not waited for.
pub(crate) async fn close<const N: usize>(databases: [&dyn Engine; N], done: &Result<(), Error>, patience: Duration) {
    let patience = if matches!(done, Err(Error::Silent { .. })) { patience / 12 } else { patience };
    let closed = futures::future::join_all(databases.map(|engine| engine.close()));
    // What is not closed by then ends with its connection.
    drop(tokio::time::timeout(patience, closed).await);
}

/// Does something, unless that ends first.
pub(crate) async fn unless<T>(silence: impl Future<Output = Error>, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        error = silence => Err(error),
    }
}
