//! Chooses one instance among several. Pure: candidates and what is remembered between two choices come in, an index goes
//! out. Does not know who is well: only those that may be chosen come in.

use ficus_rules::bucket::murmur3_32;

use crate::config::Balance;

/// One that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place among all instances.
    pub(super) at: usize,
    /// Its weight, from 1 on.
    pub(super) weight: u32,
    /// Requests that it has under way.
    pub(super) under_way: u32,
    /// The hash of its address.
    pub(super) seed: u32,
}

/// What each instance, by its place, has coming to it: positive, it was passed over.
pub(super) type Turns = [i64];

/// The place of the instance that is chosen. `key` tells the caller, where that matters.
pub(super) fn choose(balance: &Balance, candidates: &[Candidate], turns: &mut Turns, key: Option<&str>) -> Option<usize> {
    match (balance, key) {
        (Balance::RoundRobin, _) | (Balance::Hash(_), None) => next(candidates, turns),
        (Balance::LeastRequests, _) => {
            // The load that it would have, compared without division.
            let load = |one: &Candidate, other: &Candidate| u64::from(one.under_way + 1) * u64::from(other.weight);
            let least = candidates.iter().min_by(|a, b| load(a, b).cmp(&load(b, a)))?;
            let tied: Vec<_> = candidates.iter().filter(|one| load(one, least) == load(least, one)).copied().collect();
            next(&tied, turns)
        }
        (Balance::Hash(_), Some(key)) => by_key(candidates, key),
    }
}

/// Smooth weighted round robin: whoever has most coming to it gets its turn and pays for it with the weight of all. In a
/// round each gets as many turns as it weighs, spread evenly.
fn next(candidates: &[Candidate], turns: &mut Turns) -> Option<usize> {
    let mut all = 0;
    for one in candidates {
        *turns.get_mut(one.at)? += i64::from(one.weight);
        all += i64::from(one.weight);
    }
    // Of several the first one, hence the order turned round.
    let chosen = candidates.iter().rev().max_by_key(|one| turns[one.at])?.at;
    turns[chosen] -= all;
    Some(chosen)
}

/// Weighted rendezvous hashing (Schindelhauer and Schomaker): each instance draws a number for the key, the best one wins.
/// When an instance comes or goes, only its own callers move.
fn by_key(candidates: &[Candidate], key: &str) -> Option<usize> {
    let score = |one: &Candidate| {
        let draw = (f64::from(murmur3_32(key.as_bytes(), one.seed)) + 0.5) / (f64::from(u32::MAX) + 1.0);
        -f64::from(one.weight) / draw.ln()
    };
    candidates.iter().max_by(|a, b| score(a).total_cmp(&score(b)).then(b.at.cmp(&a.at))).map(|one| one.at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Candidate, choose};
    use crate::config::Balance;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let seed = |at: usize| ficus_rules::bucket::murmur3_32(format!("10.0.0.{at}:80").as_bytes(), 0);
        weights.iter().enumerate().map(|(at, &weight)| Candidate { at, weight, under_way: 0, seed: seed(at) }).collect()
    }

    fn by_key(candidates: &[Candidate], key: &str) -> usize {
        choose(&Balance::Hash(vec![]), candidates, &mut [], Some(key)).expect("there is one")
    }

    proptest! {
        #[test]
        fn in_each_round_everybody_gets_as_many_turns_as_it_weighs(weights in prop::collection::vec(1u32..8, 1..7), rounds in 1usize..4) {
            let (all, mut turns) = (candidates(&weights), vec![0; weights.len()]);
            for _ in 0..rounds {
                let mut got = vec![0; weights.len()];
                for _ in 0..weights.iter().sum() {
                    got[choose(&Balance::RoundRobin, &all, &mut turns, None).expect("there is one")] += 1;
                }
                prop_assert_eq!(&got, &weights);
            }
        }

        #[test]
        fn nobody_waits_for_much_longer_than_its_share(weights in prop::collection::vec(1u32..8, 2..7)) {
            let (all, mut turns) = (candidates(&weights), vec![0; weights.len()]);
            let sum: u32 = weights.iter().sum();
            let drawn: Vec<usize> = (0..4 * sum).filter_map(|_| choose(&Balance::RoundRobin, &all, &mut turns, None)).collect();
            for (at, &weight) in weights.iter().enumerate() {
                let places: Vec<usize> = drawn.iter().enumerate().filter(|(_, one)| **one == at).map(|(place, _)| place).collect();
                let longest = places.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0);
                // Evenly spread it would be sum/weight.
                prop_assert!(longest <= 2 * (sum as usize).div_ceil(weight as usize), "{weights:?} {drawn:?}");
            }
        }

        #[test]
        fn least_requests_is_what_a_naive_search_finds(loads in prop::collection::vec((1u32..5, 0u32..20), 1..8)) {
            let weights: Vec<u32> = loads.iter().map(|(weight, _)| *weight).collect();
            let mut all = candidates(&weights);
            all.iter_mut().zip(&loads).for_each(|(one, (_, under_way))| one.under_way = *under_way);
            let chosen = choose(&Balance::LeastRequests, &all, &mut vec![0; all.len()], None).expect("there is one");
            let load = |at: usize| f64::from(loads[at].1 + 1) / f64::from(loads[at].0);
            let least = (0..all.len()).map(load).fold(f64::INFINITY, f64::min);
            prop_assert!((load(chosen) - least).abs() < 1e-9);
        }

        #[test]
        fn when_an_instance_goes_only_its_own_callers_move(weights in prop::collection::vec(1u32..5, 2..8), gone in 0usize..8, key in "[a-z0-9]{1,12}") {
            let (all, gone) = (candidates(&weights), gone % weights.len());
            let left: Vec<_> = all.iter().filter(|one| one.at != gone).copied().collect();
            let before = by_key(&all, &key);
            if before != gone {
                prop_assert_eq!(by_key(&left, &key), before);
            }
        }
    }

    #[test]
    fn callers_are_spread_by_weight() {
        let all = candidates(&[1, 2, 1]);
        let mut got = [0u32; 3];
        (0..10_000).for_each(|user| got[by_key(&all, &format!("user:{user}"))] += 1);
        assert!((2_200..2_800).contains(&got[0]) && (4_600..5_400).contains(&got[1]), "{got:?}");
    }

    #[test]
    fn equal_loads_take_turns() {
        let (all, mut turns) = (candidates(&[1, 1, 1]), vec![0; 3]);
        let chosen: Vec<_> = (0..6).filter_map(|_| choose(&Balance::LeastRequests, &all, &mut turns, None)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn of_nobody_nobody_is_chosen() {
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Hash(vec![])] {
            assert_eq!(choose(&balance, &[], &mut [], Some("key")), None);
        }
    }
}
