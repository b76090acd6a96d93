//! Moves the state of one orchestrator, in a file, into the etcd of several. Refuses when anybody works on either, when etcd holds
//! a state, or when the journal is not whole. Afterwards the file says where its state is, and no orchestrator begins with it.
//!
//! May be cut short at any moment and begun anew: until the file says that it has moved, it is the state; what etcd has until
//! then no orchestrator begins with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::audit::Misfit;

use crate::fleet::steady;
use crate::mandate::Mandate;
use crate::store::etcd::election::{Leader, Vote};
use crate::store::etcd::import::{Found, place};
use crate::store::etcd::{Client, Etcd, EtcdStore};
use crate::store::everything::Everything;
use crate::store::sqlite::{SqliteStore, moved_to};
use crate::store::{Store as _, StoreError};

/// How much was moved, or would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Capabilities that have a state.
    pub capabilities: usize,
    /// Entries of the journal.
    pub journal: usize,
    /// Samples of differences.
    pub samples: usize,
    /// The last generation that was given out.
    pub generation: u64,
    /// Where to.
    pub to: String,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// There is no such file.
    #[error("there is no state in {0}")]
    Missing(PathBuf),
    /// Somebody leads there.
    #[error("an orchestrator works on etcd, at {0}: stop it first")]
    InUse(String),
    /// Another move, or what is left of the lead of one that was killed.
    #[error("a move is under way or was cut short: try again in {} s", .0.as_secs())]
    UnderWay(Duration),
    /// It has a state of its own.
    #[error("{0} holds a state already: name another prefix, or remove it if it is nobody's")]
    Occupied(String),
    /// Somebody changed the journal.
    #[error("the journal is not whole, and is not moved like that: {0}")]
    Journal(#[from] Misfit),
    /// What was written reads otherwise.
    #[error("what etcd gives back is not what it was given; the state stays where it was")]
    Different,
    /// Either store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Moves it; with `dry_run`, only looks whether it could be.
///
/// # Errors
/// [`NotMoved`]; the file is the state then, as before.
pub async fn move_state(file: &Path, etcd: &Etcd, dry_run: bool) -> Result<Moved, NotMoved> {
    if !file.exists() {
        return Err(NotMoved::Missing(file.to_owned()));
    }
    let client = Arc::new(Client::new(etcd));
    if let Some(leader) = client.leader().await? {
        return Err(in_use(leader, etcd));
    }
    let found = client.found().await?;
    if found == Found::AState {
        return moved_before(file, &client, etcd).await;
    }
    // A move that was cut short after its file was marked may come to its end.
    let again = found == Found::HalfOfAMove;
    if dry_run {
        let all = SqliteStore::look_into(file, again).await?;
        all.chained()?;
        return Ok(figures(&all, etcd));
    }
    let source = SqliteStore::open_to_move(file, again).await?;
    let done = carry(&source, &client, etcd).await;
    source.close().await;
    done
}

fn in_use(leader: Leader, etcd: &Etcd) -> NotMoved {
    if leader == Leader::nowhere() { NotMoved::UnderWay(etcd.lease) } else { NotMoved::InUse(leader.address) }
}

/// The last answer of a move may have been lost: what the file says has moved there, and is there, has moved.
async fn moved_before(file: &Path, client: &Client, etcd: &Etcd) -> Result<Moved, NotMoved> {
    let occupied = || NotMoved::Occupied(place(etcd));
    if moved_to(file).await?.as_ref() != Some(&place(etcd)) {
        return Err(occupied());
    }
    let all = SqliteStore::look_into(file, true).await?;
    let (generation, journal) = client.newest().await?;
    let is_older = generation < all.generation || journal < all.head.id;
    if is_older { Err(occupied()) } else { Ok(figures(&all, etcd)) }
}

fn figures(all: &Everything, etcd: &Etcd) -> Moved {
    Moved {
        capabilities: all.loaded.states.len(),
        journal: all.journal.len(),
        samples: all.samples.values().map(Vec::len).sum(),
        generation: all.generation,
        to: place(etcd),
    }
}

async fn carry(source: &SqliteStore, client: &Arc<Client>, etcd: &Etcd) -> Result<Moved, NotMoved> {
    let all = source.everything().await?;
    all.chained()?;
    let moved = figures(&all, etcd);
    let asked = steady();
    let lead = match client.candidate(&Leader::nowhere(), etcd.lease).await? {
        Vote::Won(lead) => lead,
        Vote::Lost(other) => return Err(in_use(other, etcd)),
    };
    let mandate = Mandate::granted(asked, etcd.lease);
    let target = EtcdStore::empty(Arc::clone(client), lead, mandate.clone());
    let written = tokio::select! {
        written = write(&all, source, &target, etcd) => written,
        () = crate::campaign::renew(client, lead, &mandate, etcd.lease) => Err(StoreError::Deposed.into()),
    };
    target.close().await;
    written.map(|()| moved)
}

async fn write(all: &Everything, source: &SqliteStore, target: &EtcdStore, etcd: &Etcd) -> Result<(), NotMoved> {
    target.take_in(all).await?;
    if target.everything().await? != *all {
        return Err(NotMoved::Different);
    }
    source.has_moved(&place(etcd)).await?;
    target.is_whole().await?;
    Ok(())
}
