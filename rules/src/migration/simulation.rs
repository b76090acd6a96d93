//! A world that misbehaves, run from seeds: reports get lost, doubled, late and out of order; gateways are cut off and
//! restart from old snapshots; the agent and the orchestrator crash; somebody writes past the gateways. After every
//! single event the promises of a cutover are looked at.

mod world;

use proptest::prelude::*;

use self::world::World;
use super::Phase;
use super::advance::Wish;

/// Chaos, then friendly weather: whatever happened, the capability gets to modern and back.
fn run(seed: u64, events: usize) -> World {
    let mut world = World::new(seed);
    for _ in 0..events {
        world.stir();
        world.check();
    }
    world.calm();
    world.wish_until("advance out of draft", Wish::Advance, |s| s.phase != Phase::Draft);
    world.until("no switch is left over", |s| s.switch.is_none() && s.phase != Phase::Backfilling);
    world.wish_if_any_hold();
    if world.state.phase != Phase::Soaking {
        world.wish_until("a cutover", Wish::Cutover, |s| s.phase == Phase::Soaking);
    }
    world.wish_until("a revert", Wish::Revert, |s| s.phase == Phase::Reverted);
    world.wish_until("a second cutover", Wish::Cutover, |s| s.phase == Phase::Soaking);
    world.until_equal();
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|asked| asked.parse().ok()).unwrap_or(96)))]

    #[test]
    fn whatever_happens_there_is_one_writable_side_and_nothing_is_lost(seed in any::<u64>(), events in 0_usize..4_000) {
        run(seed, events);
    }
}

/// The chaos is worth something: over some seeds, every stage is seen, and switches are both finished and aborted.
#[test]
fn the_chaos_reaches_every_stage() {
    let mut stages = std::collections::BTreeMap::new();
    let (mut flips, mut aborts, mut writes) = (0, 0, 0);
    for seed in 0..80 {
        let mut world = World::new(seed);
        for _ in 0..8_000 {
            world.stir();
            world.check();
        }
        for (stage, seen) in &world.stages {
            *stages.entry(*stage).or_insert(0) += seen;
        }
        flips += world.flips;
        aborts += world.aborts;
        writes += world.writes;
    }
    assert_eq!(stages.len(), super::Stage::ALL.len(), "{stages:?}");
    assert!(flips >= 10 && aborts >= 50 && writes >= 1_000, "{flips} flips, {aborts} aborts, {writes} writes");
}
