//! How many connections there are, in all and by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;
use crate::metrics::metrics;

/// The places for connections.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// `None`: it is not counted by address.
    of: Option<IpAddr>,
}

impl Places {
    pub(crate) fn new(limits: &Limits) -> Arc<Places> {
        let bound = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let (most, most_of_one) = (bound(limits.connections), bound(limits.connections_per_address));
        Arc::new(Places { most, most_of_one, taken: Mutex::default() })
    }

    /// A place for an address, if there is one. `None`: it is not counted by address, as many clients come from there.
    pub(crate) fn take(places: &Arc<Places>, address: Option<IpAddr>) -> Option<Place> {
        let of = address.map(one);
        let mut taken = places.taken();
        if taken.all >= places.most {
            metrics().turned_away.with_label_values(&["connections"]).inc();
            return None;
        }
        if let Some(address) = of {
            let count = taken.by_address.entry(address).or_default();
            if *count >= places.most_of_one {
                metrics().turned_away.with_label_values(&["connections_per_address"]).inc();
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        metrics().connections.inc();
        Some(Place { places: places.clone(), of })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        metrics().connections.dec();
        if let Some(address) = self.of
            && let Some(count) = taken.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// Who counts as one: an IPv4 address, or the network of 64 bits that an IPv6 client is given as a whole.
fn one(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Places;
    use crate::config::Limits;

    #[test]
    fn places_run_out_by_address_and_in_all_and_come_back() {
        let limits = Limits { connections: 4, connections_per_address: 2, ..Limits::default() };
        let places = Places::new(&limits);
        let take = |address: &str, trusted: bool| Places::take(&places, (!trusted).then(|| address.parse::<IpAddr>().expect("an address")));
        let (first, second) = (take("2001:db8::1", false), take("2001:db8::2", false));
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::3", false).is_none(), "one network, one client");
        let third = take("2001:db8::3", true);
        assert!(third.is_some(), "a trusted proxy");
        drop(first);
        assert!(take("2001:db8::3", false).is_some());
        let (one, two) = (take("10.0.0.1", false), take("10.0.0.2", false));
        assert!(one.is_some() && two.is_some());
        assert!(take("10.0.0.3", true).is_none(), "four in all");
        drop((one, two, second, third));
        assert!(places.taken().by_address.is_empty() && places.taken().all == 0);
    }
}
