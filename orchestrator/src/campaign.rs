//! Several orchestrators, of which one leads: looks whether somebody does, leads if nobody does, and stops when it is no longer
//! sure to. Each term begins anew with what etcd holds.
//!
//! etcd decides who leads, and refuses the writes of whoever does not; [`Mandate`] tells a leader in time to promise nothing
//! any more that no write stands behind, above all validities of gateways.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::fleet::steady;
use crate::mandate::Mandate;
use crate::store::StoreError;
use crate::store::etcd::compaction;
use crate::store::etcd::election::{Lead, Leader, Vote};
use crate::store::etcd::{Client, Etcd, EtcdStore, has_rules};
use crate::term::Term;
use crate::{Error, Seat, metrics, rulebook, stopped};

/// How often to look whether somebody leads.
const LOOK: Duration = Duration::from_millis(200);

/// Looks at the rules; the future stands for election until the orchestrator stops.
///
/// # Errors
/// The rules are bad, and etcd holds no good ones. Whether it answers does not matter: it may come later.
pub(crate) async fn begin(seat: Arc<Seat>, etcd: Etcd) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    metrics::leads(false);
    let client = Arc::new(Client::new(&etcd));
    let config = &seat.config;
    let read = rulebook::read_or_complain(&config.rules_dir);
    if let Err(complaints) = read.and_then(|files| ficus_rules::spec::load(&files, &config.known).map(drop))
        && matches!(has_rules(&client).await, Ok(false))
    {
        return Err(Error::Rules(complaints));
    }
    Ok(run(seat, client, etcd))
}

async fn run(seat: Arc<Seat>, client: Arc<Client>, etcd: Etcd) {
    let mut stopping = seat.stopping.subscribe();
    let me = Leader { address: etcd.address.clone() };
    let mut said = None;
    loop {
        let asked = steady();
        let vote = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            vote = vote(&client, &me, etcd.lease) => vote,
        };
        let (leader, word) = match vote {
            Ok(Vote::Won(lead)) => {
                lead_on(&seat, &client, &etcd, lead, Mandate::granted(asked, etcd.lease), &mut stopping).await;
                (None, None)
            }
            Ok(Vote::Lost(other)) => {
                let (leader, word) = stand_by(other, &me);
                (leader, Some(word))
            }
            Err(failed) => (None, Some(format!("{failed}: nobody can lead until that is over"))),
        };
        seat.leader.store(leader.map(Arc::new));
        if word.is_some() && word != said {
            info!("{}", word.as_deref().unwrap_or_default());
        }
        said = word;
        tokio::select! {
            () = stopped(&mut stopping) => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Whom callers are sent to while somebody else leads, and what there is to say.
fn stand_by(other: Leader, me: &Leader) -> (Option<String>, String) {
    if other == Leader::nowhere() {
        return (None, "a state is being moved, nobody can lead until it is".to_owned());
    }
    if other == *me {
        // Callers who are sent here again would come here for as long as that lease lasts.
        return (None, "this orchestrator was elected and did not hear of it, nobody can lead until that lease ends".to_owned());
    }
    let word = format!("{} leads, this orchestrator stands by", other.address);
    (Some(other.address), word)
}

async fn vote(client: &Arc<Client>, me: &Leader, lease: Duration) -> Result<Vote, StoreError> {
    match client.leader().await? {
        Some(other) => Ok(Vote::Lost(other)),
        None => client.candidate(me, lease).await,
    }
}

/// Leads until the mandate ends, or the orchestrator stops.
async fn lead_on(seat: &Seat, client: &Arc<Client>, etcd: &Etcd, lead: Lead, mandate: Mandate, stopping: &mut watch::Receiver<bool>) {
    let renewing = renew(client, lead, &mandate, etcd.lease);
    tokio::pin!(renewing);
    let begin = async {
        let store = EtcdStore::open(Arc::clone(client), lead, mandate.clone()).await?;
        Term::begin(seat.config.clone(), Arc::new(store), mandate.clone()).await
    };
    let begun = tokio::select! {
        begun = begin => begun,
        () = &mut renewing => Err(StoreError::Deposed.into()),
        () = stopped(stopping) => Err(StoreError::Deposed.into()),
    };
    let term = match begun {
        Ok(term) => Arc::new(term),
        Err(failed) => {
            mandate.end();
            client.resign(lead).await;
            error!(error = %failed, "this orchestrator was to lead, and cannot");
            // Somebody else may be able to.
            let _ = tokio::time::timeout(etcd.lease, stopped(stopping)).await;
            return;
        }
    };
    info!("this orchestrator leads");
    seat.term.store(Some(Arc::clone(&term)));
    tokio::select! {
        () = renewing => warn!("this orchestrator leads no longer: its lease in etcd could not be renewed in time"),
        () = stopped(stopping) => {}
        () = compaction::run(client) => {}
    }
    mandate.end();
    seat.term.store(None);
    // Whoever leads next waits for nothing that is under way here: etcd refuses what this one would still write.
    client.resign(lead).await;
    term.stop().await;
    metrics::leads(false);
}

/// Renews the lease; ends with the mandate.
pub(crate) async fn renew(client: &Client, lead: Lead, mandate: &Mandate, lease: Duration) {
    let every = lease / 4;
    loop {
        tokio::time::sleep(every).await;
        if !mandate.holds() {
            return;
        }
        let asked = steady();
        match client.renew(lead, every).await {
            Ok(true) => mandate.renew(asked, lease),
            Ok(false) => return,
            Err(failed) => warn!(error = %failed, "the lease could not be renewed, it is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Leader, stand_by};

    #[test]
    fn nobody_is_sent_to_an_orchestrator_that_does_not_know_that_it_was_elected() {
        let leader = |address: &str| Leader { address: address.to_owned() };
        let sent_to = |other: Leader| stand_by(other, &leader("http://one:9301")).0;
        assert_eq!(sent_to(leader("http://other:9301")).as_deref(), Some("http://other:9301"));
        assert_eq!(sent_to(leader("http://one:9301")), None, "it would send itself in a circle");
        assert_eq!(sent_to(Leader::nowhere()), None);
    }
}
