//! Somebody is killed, put to sleep, or cut off, at each step of a switch, there and back, and while nothing moves: the leader, the
//! orchestrator that stands by, the agent, each gateway, etcd, or a database's server. The leader waits at every step for the test,
//! so that it happens just there. Nothing is lost or doubled, and nobody at a gateway that lives notices, but for what a database
//! that is dead cannot answer.

mod hits;
mod servers;
mod world;

use std::time::Instant;

use anyhow::{Context as _, Result};

use self::hits::{ALL, At, Hit, How, LIFT, STAGES, Who, hit};
use self::world::World;
use super::Directory;
use super::notebooks::{GATEWAYS, Old};

const SWITCHES: [(&str, &str); 2] = [("cutover", "soaking"), ("revert", "reverted")];

/// Who is hit while nothing moves: half of the readers are at the new one, or everybody is.
#[derive(Debug, Clone, Default)]
struct Calm {
    ramp: Vec<Hit>,
    soak: Vec<Hit>,
}

/// A few of all below: of each of those that are Ficus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_hit_at_some_steps() -> Result<()> {
    let calm = Calm { ramp: vec![hit(Who::Agent, How::CutOff)], soak: vec![hit(Who::Leader, How::Asleep)] };
    let hits = [
        At("catch_up", hit(Who::Leader, How::Killed)),
        At("sequences", hit(Who::Agent, How::Killed)),
        At("drain", hit(Who::Gateway(1), How::Killed)),
        At("fence", hit(Who::Gateway(2), How::Deaf)),
        At("fence_database", hit(Who::Agent, How::Asleep)),
        At(LIFT, hit(Who::Gateway(0), How::Killed)),
        At("open", hit(Who::StandsBy, How::Killed)),
    ];
    run(Old::MariaDb, &calm, &hits).await
}

/// The same, of what it leans on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_servers_are_hit_at_some_steps() -> Result<()> {
    let calm = Calm { ramp: vec![hit(Who::NewDatabase, How::CutOff)], soak: vec![hit(Who::Etcd, How::Asleep)] };
    let hits = [
        At("catch_up", hit(Who::NewDatabase, How::Killed)),
        At("open", hit(Who::Etcd, How::Killed)),
        At("fence_database", hit(Who::OldDatabase, How::Killed)),
        At("verify", hit(Who::OldDatabase, How::CutOff)),
        At(LIFT, hit(Who::Etcd, How::CutOff)),
    ];
    run(Old::MariaDb, &calm, &hits).await
}

/// Somebody in every way, at every step, there and back; of several, each in turn.
async fn at_each_step(old: Old, who: fn(usize) -> Who) -> Result<()> {
    let mut hits = Vec::new();
    for how in ALL {
        for stage in STAGES {
            // There and back.
            let turn = hits.len();
            hits.extend([turn, turn + 1].map(|turn| At(stage, hit(who(turn), how))));
        }
    }
    run(old, &Calm::default(), &hits).await
}

/// Everybody in every way, while nothing moves.
async fn in_the_ramp_and_in_the_soak(old: Old) -> Result<()> {
    let gateways = (0..GATEWAYS as usize).map(Who::Gateway);
    let others = [Who::Leader, Who::StandsBy, Who::Agent, Who::Etcd, Who::OldDatabase, Who::NewDatabase];
    let all: Vec<Hit> = others.into_iter().chain(gateways).flat_map(|who| ALL.map(|how| hit(who, how))).collect();
    let calm = Calm { ramp: all.clone(), soak: all };
    run(old, &calm, &[At("open", hit(Who::Leader, How::Killed))]).await
}

/// Those that are Ficus, each in turn: what they say goes nowhere, or what they are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn a_cable_is_cut_in_one_direction_at_each_step() -> Result<()> {
    let all = [Who::Leader, Who::Agent, Who::Gateway(0), Who::StandsBy, Who::Agent, Who::Gateway(1)];
    let mut hits = Vec::new();
    for how in [How::Unheard, How::Deaf] {
        for stage in STAGES {
            // There and back.
            for _ in 0..2 {
                hits.push(At(stage, hit(all[hits.len() % all.len()], how)));
            }
        }
    }
    run(Old::MariaDb, &Calm::default(), &hits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn a_server_is_lost_for_longer_than_a_switch_may_last() -> Result<()> {
    let mut hits = Vec::new();
    for who in [Who::OldDatabase, Who::NewDatabase, Who::Etcd] {
        hits.extend(["fence_database", "sequences"].iter().flat_map(|stage| [At(stage, hit(who, How::Lost)); 2]));
    }
    run(Old::MariaDb, &Calm::default(), &hits).await
}

async fn run(old: Old, calm: &Calm, hits: &[At]) -> Result<()> {
    let directory = Directory::new();
    let mut world = World::start(&directory, old).await?;
    let (mut taken_back, begun) = (0, Instant::now());
    for hit in &calm.ramp {
        world.calmly(*hit, "ramping").await.with_context(|| format!("{hit:?} in the ramp"))?;
    }
    for (number, (At(stage, hit), (wish, phase))) in hits.iter().zip(SWITCHES.iter().cycle()).enumerate() {
        let from = Instant::now();
        let tries = world.switch(stage, *hit, wish, phase).await.with_context(|| format!("a {wish}, {hit:?} at {stage}"))?;
        println!("{old:?}: {:?} {:?} at {stage} of a {wish}: made in {:?}, {tries} taken back", hit.who, hit.how, from.elapsed());
        taken_back += tries;
        for hit in calm.soak.iter().filter(|_| number == 0) {
            world.calmly(*hit, "soaking").await.with_context(|| format!("{hit:?} in the soak"))?;
        }
    }
    let struck = hits.len() + calm.ramp.len() + calm.soak.len();
    println!("{old:?}: {struck} hits in {:?}, {taken_back} switches taken back", begun.elapsed());
    world.settle().await?;
    directory.passed();
    Ok(())
}

macro_rules! soaked {
    ($($name:ident: $old:ident, $who:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "minutes: part of `make soak`"]
        async fn $name() -> Result<()> {
            at_each_step(Old::$old, $who).await
        }
    )*};
}

/// The next one at each hit, so that each is hit in every way, there and back.
fn each_gateway(turn: usize) -> Who {
    Who::Gateway(turn % GATEWAYS as usize)
}

soaked! {
    the_leader_at_each_step_between_two_postgresqls: Postgres, |_| Who::Leader;
    who_stands_by_at_each_step_between_two_postgresqls: Postgres, |_| Who::StandsBy;
    the_agent_at_each_step_between_two_postgresqls: Postgres, |_| Who::Agent;
    a_gateway_at_each_step_between_two_postgresqls: Postgres, each_gateway;
    the_leader_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::Leader;
    who_stands_by_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::StandsBy;
    the_agent_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::Agent;
    a_gateway_at_each_step_from_mariadb_to_postgresql: MariaDb, each_gateway;
    etcd_at_each_step_between_two_postgresqls: Postgres, |_| Who::Etcd;
    the_old_database_at_each_step_between_two_postgresqls: Postgres, |_| Who::OldDatabase;
    the_new_database_at_each_step_between_two_postgresqls: Postgres, |_| Who::NewDatabase;
    etcd_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::Etcd;
    the_old_database_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::OldDatabase;
    the_new_database_at_each_step_from_mariadb_to_postgresql: MariaDb, |_| Who::NewDatabase;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn everybody_while_nothing_moves_between_two_postgresqls() -> Result<()> {
    in_the_ramp_and_in_the_soak(Old::Postgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of `make soak`"]
async fn everybody_while_nothing_moves_from_mariadb_to_postgresql() -> Result<()> {
    in_the_ramp_and_in_the_soak(Old::MariaDb).await
}
