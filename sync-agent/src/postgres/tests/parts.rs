//! A transaction that is too large to be held.

use super::*;

/// Rows that make several parts, each about a kilobyte.
const ROWS: i64 = 20_000;

/// What stands in a table, in short.
async fn state(app: &mut PgConnection, table: &str, key: &str) -> Option<String> {
    let rows = format!("string_agg(md5({key} || name), '' ORDER BY {key})");
    text(app, &format!("SELECT count(*) || md5({rows}) FROM {table}")).await
}

const COPY: &str = "\"the new\".\"Item\"";

/// One transaction whose later parts change, remove and bring back rows of its earlier ones.
async fn write_a_large_one(app: &mut PgConnection) {
    let note = "repeat(md5(i::text), 32)";
    exec(
        app,
        &format!(
            "BEGIN; INSERT INTO item SELECT i, {note} FROM generate_series(1, {ROWS}) i;
             UPDATE item SET name = 'other' || id WHERE id % 7 = 0; DELETE FROM item WHERE id % 5 = 0;
             INSERT INTO item SELECT i, 'back' FROM generate_series(5, {ROWS}, 10) i; UPDATE item SET id = -id WHERE id % 11 = 0; COMMIT"
        ),
    )
    .await;
}

impl Bed {
    fn applier(&self) -> Applier {
        let (source, sink) = (self.legacy.clone(), self.modern.clone());
        Applier { source, sink, plans: Arc::new(self.plans.clone()), direction: Direction::Forward, state: fresh_state() }
    }

    async fn whole(&self, after: Position, mut batch: Batch) -> Result<Outcome, Error> {
        let applier = self.applier();
        let mapped = applier.mapper().map(&mut batch);
        applier.apply(after, 2_000, batch, mapped).await
    }

    async fn in_parts(&self, after: Position, mut first: Batch) -> Result<Option<Outcome>, Error> {
        let applier = self.applier();
        let mapped = applier.mapper().map(&mut first);
        applier.apply_parts(after, 2_000, first, mapped).await
    }

    fn forward(&self, batch: &Batch) -> [Changes; 1] {
        let gone = batch.touched.iter().filter(|touched| batch.rows[0].iter().all(|row| row.key != touched.key));
        let deletes =
            if batch.touched.len() == batch.rows[0].len() { Vec::new() } else { gone.map(|touched| touched.key.clone()).collect() };
        [Changes {
            upserts: batch.rows[0].iter().map(|row| self.plans[0].forward(row).unwrap()).collect(),
            fresh: batch.fresh[0],
            deletes,
            ..Changes::default()
        }]
    }

    /// Waits for the first part of what follows.
    async fn first_part(&self, after: Position) -> Batch {
        loop {
            let batch = self.legacy.read_parts(after, 2_000).await.unwrap();
            if !batch.touched.is_empty() {
                return batch;
            }
        }
    }
}

#[tokio::test]
async fn a_large_transaction_comes_in_parts_and_is_seen_at_once() {
    // GIVEN a large transaction, with small ones around it
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut app, "INSERT INTO item VALUES (0, 'before')").await;
    write_a_large_one(&mut app).await;
    exec(&mut app, "INSERT INTO item VALUES (100000, 'after')").await;
    let small = bed.first_part(start).await;
    assert_eq!((small.touched.len(), small.more), (1, false), "what comes before is for itself");
    bed.apply(&small.rows[0]).await;
    // WHEN it is written part by part
    let mut batch = bed.first_part(small.upto).await;
    let mut parts = bed.modern.in_parts().unwrap();
    let (mut count, mut entries) = (0, 0);
    while batch.more {
        assert!(batch.entries < ROWS as u64 && batch.upto == small.upto, "{} of {}", batch.entries, batch.upto);
        assert!(parts.write(&bed.forward(&batch), &[]).await.unwrap());
        assert_eq!(number(&mut copy, &format!("SELECT count(*) FROM {COPY}")).await, 1, "nobody sees a part");
        (count, entries) = (count + 1, entries + batch.entries);
        batch = bed.legacy.rest(small.upto, 2_000).await.unwrap();
    }
    assert!(parts.write(&bed.forward(&batch), &[]).await.unwrap());
    assert_eq!(parts.commit(batch.upto).await.unwrap(), Some(0));
    let known = bed.modern.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    assert_eq!(known.position, Some(batch.upto));
    // THEN all of it is there, with the position
    assert!(count >= 3, "{count} parts");
    let moved = number(&mut app, "SELECT count(*) FROM item WHERE id < 0").await;
    assert!(entries + batch.entries >= (ROWS + ROWS / 7 + ROWS / 5 + moved) as u64, "{entries} and {}", batch.entries);
    let mut position = batch.upto;
    while number(&mut copy, &format!("SELECT count(*) FROM {COPY} WHERE legacy_id = 100000")).await == 0 {
        let batch = bed.first_part(position).await;
        (position, _) = (batch.upto, bed.apply(&batch.rows[0]).await);
    }
    assert_eq!(state(&mut copy, COPY, "legacy_id").await, state(&mut app, "item", "id").await);
}

#[tokio::test]
async fn parts_that_are_not_committed_leave_nothing_and_come_again() {
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    write_a_large_one(&mut app).await;
    // GIVEN a part that was written, and another that was read
    let first = bed.first_part(start).await;
    assert!(first.more);
    let mut parts = bed.modern.in_parts().unwrap();
    assert!(parts.write(&bed.forward(&first), &[]).await.unwrap());
    bed.legacy.rest(start, 2_000).await.unwrap();
    // WHEN whoever did that is gone
    drop(parts);
    assert_eq!(number(&mut copy, &format!("SELECT count(*) FROM {COPY}")).await, 0);
    // THEN it comes from its beginning, in parts or whole, and in one the other way round
    let again = bed.first_part(start).await;
    assert_eq!((again.touched.len(), &again.touched[0]), (first.touched.len(), &first.touched[0]));
    let whole = bed.read(start).await;
    assert!(whole.touched.len() as i64 > ROWS, "{}", whole.touched.len());
    assert!(bed.whole(start, whole).await.is_ok());
    assert_eq!(state(&mut copy, COPY, "legacy_id").await, state(&mut app, "item", "id").await);
}

#[tokio::test]
async fn rows_of_a_part_that_are_there_already_are_written_over() {
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut copy, &format!("INSERT INTO {COPY} SELECT i, 'stale' FROM generate_series(1, {ROWS}, 3) i")).await;
    write_a_large_one(&mut app).await;
    let first = bed.first_part(start).await;
    assert!(first.more && first.fresh[0] > 1_000);
    let done = bed.in_parts(start, first).await.unwrap().expect("nothing is in the way");
    assert_eq!((done.quarantined, done.set_aside), (0, false));
    assert!(done.dirty.by_pair().unwrap()[&0].len() as i64 >= ROWS);
    assert_eq!(state(&mut copy, COPY, "legacy_id").await, state(&mut app, "item", "id").await);
}

#[tokio::test]
async fn a_part_that_is_refused_leaves_nothing_and_the_whole_is_for_a_batch() {
    // GIVEN a row of nobody's that has what the last part brings
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    exec(&mut copy, &format!("CREATE UNIQUE INDEX ON {COPY} (name) WHERE name LIKE 'last%'; INSERT INTO {COPY} VALUES (-1, 'last')")).await;
    let start = bed.legacy.end_position().await.unwrap();
    let rows = format!("INSERT INTO item SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, {ROWS}) i");
    exec(&mut app, &format!("BEGIN; {rows}; INSERT INTO item VALUES (0, 'last'); COMMIT")).await;
    // WHEN it is written in parts
    let first = bed.first_part(start).await;
    assert!(first.more);
    assert!(bed.in_parts(start, first).await.unwrap().is_none());
    // THEN nothing of it is there; and read whole, all is written but the row that cannot be
    assert_eq!(number(&mut copy, &format!("SELECT count(*) FROM {COPY}")).await, 1);
    let whole = bed.read(start).await;
    let done = bed.whole(start, whole).await.unwrap();
    assert_eq!((done.quarantined, done.set_aside), (1, true));
    assert_eq!(number(&mut copy, &format!("SELECT count(*) FROM {COPY}")).await, 1 + ROWS);
}

#[tokio::test]
async fn an_agent_that_lost_its_turn_commits_no_parts() {
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    write_a_large_one(&mut app).await;
    let first = bed.first_part(start).await;
    let later = bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    later.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    assert!(matches!(bed.in_parts(start, first).await, Err(Error::Superseded)));
    assert_eq!(number(&mut copy, &format!("SELECT count(*) FROM {COPY}")).await, 0);
}

#[tokio::test]
async fn a_table_that_is_emptied_in_a_large_transaction_becomes_a_gap_once() {
    let mut bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    bed.legacy.close_gaps(&[0]).await.unwrap();
    let start = bed.legacy.end_position().await.unwrap();
    let rows = |low, high| format!("INSERT INTO item SELECT i, repeat(md5(i::text), 32) FROM generate_series({low}, {high}) i");
    exec(&mut app, &format!("BEGIN; {}; TRUNCATE item; {}; COMMIT", rows(1, ROWS), rows(1, ROWS))).await;
    let first = bed.first_part(start).await;
    assert!(first.more);
    let refused = loop {
        match bed.legacy.rest(start, 2_000).await {
            Ok(batch) => assert!(batch.more, "it is in the middle"),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::SchemaChanged), "{refused}");
    bed.again().await;
    assert_eq!(bed.legacy.gaps().await.unwrap(), [0]);
    let mut batch = bed.first_part(start).await;
    while batch.more {
        batch = bed.legacy.rest(start, 2_000).await.unwrap();
    }
    assert!(batch.upto > start);
}

#[tokio::test]
async fn what_a_part_sets_aside_is_counted_until_it_is_written() {
    let bed = Bed::new("name text", &[]).await;
    let row = |id| bed.plans[0].forward(&Row { key: Value::Int(id), values: vec![Value::Text("x".into())] }).unwrap();
    let with = |id| [Changes { upserts: vec![row(id)], ..Changes::default() }];
    let aside = [Rejected { row: Touched { pair: 0, key: Value::Int(1) }, image: None, reason: "for a reason".into(), reference: None }];
    let mut parts = bed.modern.in_parts().unwrap();
    assert!(parts.write(&with(2), &aside).await.unwrap());
    assert!(parts.write(&with(3), &[]).await.unwrap());
    assert_eq!(parts.commit(Position(5)).await.unwrap(), Some(1));
    assert_eq!(bed.modern.quarantined().await.unwrap(), 1);
    // A later part may bring what an earlier one could not.
    let mut parts = bed.modern.in_parts().unwrap();
    let again = [Rejected { row: Touched { pair: 0, key: Value::Int(4) }, ..aside[0].clone() }];
    assert!(parts.write(&with(1), &again).await.unwrap());
    assert!(parts.write(&with(4), &[]).await.unwrap());
    assert_eq!(parts.commit(Position(6)).await.unwrap(), Some(0));
}
