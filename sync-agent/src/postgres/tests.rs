//! What the contract does not ask of every engine, against a real server.

mod capture;
mod fence;
mod locks;
mod parts;
mod rest;
mod snapshot;
mod values;
mod write;

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Row, TableMap, Value, compile};
use sqlx::PgConnection;
use tokio::sync::mpsc;

use super::Server as Opened;
use crate::apply::{Applier, Outcome};
use crate::contract::postgres::server::{Server, attempt, exec, number, text};
use crate::error::Error;
use crate::port::{
    Applied, Batch, Changes, Direction, Effort, Engine, Event, KeyRange, Lines, Outgoing, Piece, Position, Refused, Rejected, Shared,
    Touched, Wanted,
};
use crate::state::State;

/// Of a capability that has just begun.
fn fresh_state() -> Arc<State> {
    Arc::new(State::new("test", tokio::sync::watch::Sender::default()))
}

async fn plans(opened: &[Opened; 2], kept: &[&str]) -> Vec<Plan> {
    let map = TableMap {
        events: Vec::new(),
        source: "test.toml:1".into(),
        legacy: "item".into(),
        modern: "the new.Item".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: Vec::new(),
        only: false,
        keep_legacy: kept.iter().map(|column| (*column).to_owned()).collect(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    };
    let (legacy, modern) = (opened[0].columns(&["item".into()]).await.unwrap(), opened[1].columns(&["the new.Item".into()]).await.unwrap());
    compile("test", &[map], &legacy, &modern).unwrap()
}

/// Two databases with a table each, the copy's with `legacy_id` for `id`; both sides prepared, and it is our turn.
pub(super) struct Bed {
    server: &'static Server,
    pub(super) names: [String; 2],
    pub(super) legacy: Shared,
    pub(super) modern: Shared,
    plans: Vec<Plan>,
    opened: [Opened; 2],
}

impl Bed {
    async fn new(columns: &str, kept: &[&str]) -> Bed {
        Bed::on(Server::shared(), columns, kept).await
    }

    pub(super) async fn on(server: &'static Server, columns: &str, kept: &[&str]) -> Bed {
        let names = [server.database().await, server.database().await];
        let types = "CREATE TYPE mood AS ENUM ('sad', 'so so', 'glad'); CREATE DOMAIN short AS varchar(10) CHECK (VALUE <> 'bad')";
        for (name, ddl) in names.iter().zip([
            format!("{types}; CREATE TABLE item (id int PRIMARY KEY, {columns})"),
            format!("{types}; CREATE SCHEMA \"the new\"; CREATE TABLE \"the new\".\"Item\" (legacy_id bigint PRIMARY KEY, {columns})"),
        ]) {
            exec(&mut server.app(name).await, &ddl).await;
        }
        let open = async |name: &String| Opened::open(&server.url(name), "test").await.unwrap();
        let opened = [open(&names[0]).await, open(&names[1]).await];
        let plans = plans(&opened, kept).await;
        let bed = Bed {
            server,
            legacy: opened[0].side("test", Side::Legacy, &plans).await.unwrap(),
            modern: opened[1].side("test", Side::Modern, &plans).await.unwrap(),
            names,
            plans,
            opened,
        };
        bed.begin().await;
        bed
    }

    /// The same after somebody has changed the tables.
    async fn anew(mut self) -> Bed {
        self.plans = plans(&self.opened, &[]).await;
        self.modern = self.opened[1].side("test", Side::Modern, &self.plans).await.unwrap();
        self.again().await;
        self
    }

    async fn begin(&self) {
        self.legacy.prepare().await.unwrap();
        self.modern.prepare().await.unwrap();
        self.legacy.claim(&self.modern.id().await.unwrap(), None).await.unwrap();
        self.modern.claim(&self.legacy.id().await.unwrap(), None).await.unwrap();
    }

    /// A new session on legacy, as after an error.
    async fn again(&mut self) {
        self.legacy = self.opened[0].side("test", Side::Legacy, &self.plans).await.unwrap();
        self.begin().await;
    }

    async fn app(&self, side: Side) -> PgConnection {
        self.server.app(&self.names[usize::from(side == Side::Modern)]).await
    }

    async fn snapshot(&self) -> (Position, Vec<Row>) {
        let (sender, mut pieces) = mpsc::channel(100);
        self.legacy.snapshot(&[], &[], 1_000, sender).await.unwrap();
        let (mut position, mut rows) = (Position::default(), Vec::new());
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Begins(at, _) => position = at,
                Piece::Rows(_, piece) => rows.extend(piece),
                Piece::Lines(..) => panic!("nobody asked for lines"),
            }
        }
        rows.sort_by_key(|row| format!("{:>30}", format!("{:?}", row.key)));
        (position, rows)
    }

    /// The same as lines.
    async fn snapshot_lines(&self, batch_rows: usize) -> Vec<Lines> {
        let (sender, mut pieces) = mpsc::channel(100);
        self.legacy.snapshot(&[], &[0], batch_rows, sender).await.unwrap();
        let mut found = Vec::new();
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Begins(..) => {}
                Piece::Rows(..) => panic!("lines were asked for"),
                Piece::Lines(_, lines) => found.push(lines),
            }
        }
        found
    }

    /// Writes lines without taking them apart. What was set aside.
    async fn straight(&self, lines: &[Lines]) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for lines in lines {
            let way = self.modern.straight(0, &self.plans[0], self.legacy.printed(0).unwrap()).unwrap();
            let mapped = way.map(lines.clone()).unwrap();
            rejected.extend(mapped.aside);
            rejected.extend(self.modern.load(mapped.load).await.unwrap());
        }
        rejected
    }

    /// Reads on until everything that was committed is in it, in one.
    async fn read(&self, after: Position) -> Batch {
        let mut whole = self.legacy.read(after, 100_000, &[]).await.unwrap();
        while whole.upto < whole.end {
            let more = self.legacy.read(whole.upto, 100_000, &[]).await.unwrap();
            (whole.upto, whole.end) = (more.upto, more.end);
            whole.entries += more.entries;
            whole.touched.extend(more.touched);
            whole.rows[0].extend(more.rows.into_iter().flatten());
        }
        whole
    }

    async fn apply(&self, rows: &[Row]) {
        let upserts = rows.iter().map(|row| self.plans[0].forward(row).unwrap()).collect();
        let changes = [Changes { upserts, ..Changes::default() }];
        match self.modern.apply(&changes, Position(1), Effort::Plain, &[]).await {
            Ok(Applied::Done { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
