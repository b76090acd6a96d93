//! A job that never stops writing past the gateway, and a capability that goes back and forth under it.

use std::cell::Cell;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::plan::StrayWrites;
use ficus_rules::wire::VerifyScope;
use ficus_sync_agent::Agent;

use super::super::app::{App, Engine};
use super::super::world::{World, until};
use super::{fenced, flipped, let_through, moved, of_legacy, texts};

const KEYS: usize = 3;

/// Somebody who adds to one row after the other, and knows what was taken.
#[derive(Default)]
struct Adder {
    stopped: Cell<bool>,
    taken: [Cell<u64>; KEYS],
}

impl Adder {
    /// Every statement names its row; in between it pauses for less than so many milliseconds.
    async fn run(&self, mut app: App, statement: impl Fn(u64) -> String, pause: u64, mut chance: u64) {
        while !self.stopped.get() {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (chance >> 33) % KEYS as u64;
            match app.attempt(&statement(key + 1)).await {
                Ok(()) => self.taken[usize::try_from(key).unwrap()].update(|taken| taken + 1),
                Err(refused) => assert!(refused.contains("ficus: ") || refused.contains("lock"), "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis((chance >> 50) % pause)).await;
        }
    }

    fn taken(&self) -> [u64; KEYS] {
        [0, 1, 2].map(|key: usize| self.taken[key].get())
    }
}

/// The rows of legacy's writers that nobody has decided about.
async fn undecided(legacy: &mut App) -> [u64; KEYS] {
    let query = match legacy.engine() {
        Engine::Postgres => "SELECT key FROM _ficus.stray WHERE settled IS NULL",
        Engine::MariaDb => "SELECT `key` FROM `_ficus_stray` WHERE `settled` IS NULL",
        Engine::Sqlite => "SELECT CAST(\"key\" AS TEXT) FROM \"_ficus_stray\" WHERE \"settled\" IS NULL",
    };
    let keys = texts(legacy, query).await;
    [1, 2, 3].map(|key: u64| keys.iter().filter(|found| **found == key.to_string()).count() as u64)
}

/// What a way back does until the gateways are drained: legacy takes nothing from strangers any more, and what it took is carried.
/// What cannot be is decided about; how many of each row those were.
async fn emptied(world: &mut World, agent: &Agent, legacy: &mut App) -> [u64; KEYS] {
    let mut lost = [0; KEYS];
    world.order(agent, |orders, _| (orders.strays, orders.carry_strays) = (StrayWrites::Refuse, true));
    loop {
        let generation = Some(world.orders.generation);
        let seen = until(agent, "all to be carried", |report| {
            report.generation == generation && report.fenced.legacy && of_legacy(report).untried == 0
        })
        .await;
        if of_legacy(&seen).unsettled == 0 {
            return lost;
        }
        for (lost, more) in lost.iter_mut().zip(undecided(legacy).await) {
            *lost += more;
        }
        let token = world.order(agent, |orders, token| orders.repair = Some(token));
        until(agent, "repaired", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token && repair.done)).await;
        world.order(agent, |orders, _| orders.repair = None);
    }
}

/// Back, and forth again, while both go on; what was decided about.
async fn moves(world: &mut World, agent: &Agent, legacy: &mut App, job: &Adder) -> [u64; KEYS] {
    let mut lost = [0; KEYS];
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        for (lost, more) in lost.iter_mut().zip(emptied(world, agent, legacy).await) {
            *lost += more;
        }
        fenced(world, agent, Side::Modern).await;
        assert_eq!(undecided(legacy).await, [0; KEYS], "round {round}: behind the end nothing is left");
        let before = job.taken();
        flipped(world, agent, Side::Legacy).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_ne!(job.taken(), before, "round {round}: legacy takes its writes again");
        fenced(world, agent, Side::Legacy).await;
        flipped(world, agent, Side::Modern).await;
        let_through(world, agent, StrayWrites::Forward).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    lost
}

/// Strangers add one to rows of legacy and modern's application a thousand to its own, at all times; what either database takes
/// counts, once, whoever owns when.
async fn back_and_forth(engines: [Engine; 2], seed: u64) {
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Forward).await;
    let one = |key| format!("UPDATE writer SET level = level + 1 WHERE id = {key}");
    let thousand = |key| format!("UPDATE writers SET level = level + 1000 WHERE legacy_id = {key}");
    let (job, owner) = (Adder::default(), Adder::default());
    let (of_job, of_owner) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    let all = async {
        let lost = moves(&mut world, &agent, &mut legacy, &job).await;
        job.stopped.set(true);
        owner.stopped.set(true);
        lost
    };
    let (mut lost, (), ()) = tokio::join!(all, job.run(of_job, one, 100, seed), owner.run(of_owner, thousand, 400, seed + 1));
    for (lost, more) in lost.iter_mut().zip(emptied(&mut world, &agent, &mut legacy).await) {
        *lost += more;
    }
    world.settle(&agent, Side::Modern).await;
    let (strays, owners) = (job.taken(), owner.taken());
    let wanted: Vec<String> = (0..KEYS).map(|key| (1 + owners[key] * 1000 + strays[key] - lost[key]).to_string()).collect();
    println!("{engines:?}: {strays:?} of the job's, {owners:?} of the owner's, {lost:?} decided about");
    assert_eq!(texts(&mut modern, "SELECT concat(level, '') FROM writers WHERE legacy_id <= 3 ORDER BY legacy_id").await, wanted);
    assert_eq!(texts(&mut legacy, "SELECT concat(level, '') FROM writer WHERE id <= 3 ORDER BY id").await, wanted);
    assert!(strays.iter().sum::<u64>() > lost.iter().sum::<u64>(), "some of the job's writes count");
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));
    agent.stop().await;
}

#[tokio::test]
async fn postgres_goes_back_under_a_job_that_never_stops() {
    back_and_forth([Engine::Postgres, Engine::MariaDb], 1).await;
}

#[tokio::test]
async fn mariadb_goes_back_under_a_job_that_never_stops() {
    back_and_forth([Engine::MariaDb, Engine::Postgres], 2).await;
}

#[tokio::test]
async fn sqlite_goes_back_under_a_job_that_never_stops() {
    back_and_forth([Engine::Sqlite, Engine::Postgres], 3).await;
}
