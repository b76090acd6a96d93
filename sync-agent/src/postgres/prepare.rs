//! Makes capture complete: what a server and a role must have, then schema, fence, replica identities, publication, slot.
//! Everything that was missing is remembered as a gap of the pairs that it concerns.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::fence::FENCE;
use super::locks::{Attempts, LOCKS};
use super::parts::Pair;
use super::schema::{FINGERPRINT, Table};
use super::{Endpoint, findings, objects, sql};
use crate::error::Error;
use crate::port::{Wanted, accept};

/// How long a look at the catalogs is good for while nothing hints at a change.
const GOOD: Duration = Duration::from_millis(250);

/// What capture rested on when it was last seen complete.
pub(super) struct Seen {
    fingerprint: String,
    at: Instant,
}

impl Endpoint {
    pub(super) async fn make_ready(&self) -> Result<(), Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let shapes = self.pairs.iter().map(|pair| &pair.shape);
        let wanted = Wanted::of_shapes(&self.capability, self.side, shapes);
        accept(&self.server.label, &findings::find(&self.server, &mut connection, &self.names, &wanted).await?)?;
        drop(connection);
        let mut attempts = Attempts::default();
        loop {
            let mut tx = self.server.begin().await?;
            match self.install(&mut tx).await {
                Ok(()) => {
                    tx.commit().await.map_err(|e| self.failed(e))?;
                    break;
                }
                Err(error) => {
                    // What goes wrong with it goes wrong because of the same.
                    drop(tx.rollback().await);
                    attempts.again(&self.server, error).await?;
                }
            }
        }
        self.ensure_slot().await?;
        *self.intact.lock().await = Some(Seen { fingerprint: self.fingerprint().await?, at: Instant::now() });
        Ok(())
    }

    /// Refuses when a table, trigger, publication or slot is not as it was when capture was seen complete.
    pub(super) async fn assert_intact(&self) -> Result<(), Error> {
        let now = self.fingerprint().await?;
        match &mut *self.intact.lock().await {
            Some(seen) if seen.fingerprint == now => {
                seen.at = Instant::now();
                Ok(())
            }
            _ => Err(Error::SchemaChanged),
        }
    }

    /// The same, unless the last look is a moment old.
    pub(super) async fn seems_intact(&self) -> Result<(), Error> {
        let good = self.intact.lock().await.as_ref().is_some_and(|seen| seen.at.elapsed() < GOOD);
        if good { Ok(()) } else { self.assert_intact().await }
    }

    async fn fingerprint(&self) -> Result<String, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let tables: Vec<i64> = self.tables.values().map(|table| i64::from(table.oid)).collect();
        let query = sqlx::query(FINGERPRINT).bind(tables).bind(&self.names.triggers).bind(&self.names.publication).bind(&self.names.slot);
        query.fetch_one(&mut *connection).await.and_then(|row| row.try_get(0)).map_err(|e| self.failed(e))
    }

    async fn install(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        sql::run(tx, LOCKS).await?;
        objects::create(tx, &self.names).await?;
        self.create_fence(tx).await?;
        let mut missed: Vec<&String> = Vec::new();
        for (name, table) in &self.tables {
            let gone = self.install_triggers(tx, name, table).await?;
            if self.identify(tx, name, table).await? || gone {
                missed.push(name);
            }
        }
        missed.extend(self.publish(tx).await?);
        for pair in self.pairs.iter().filter(|pair| missed.contains(&&pair.shape.table)) {
            self.note_gap(tx, pair).await?;
        }
        self.note_shapes(tx).await
    }

    /// Remembers what is looked at of each pair, and a gap of those that are new or are looked at otherwise than before:
    /// changes that were none by then are not in any batch.
    async fn note_shapes(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        let note = "INSERT INTO _ficus.pair AS p (scope, pair, shape) VALUES ($1, $2, $3)
            ON CONFLICT (scope, pair) DO UPDATE SET shape = excluded.shape WHERE p.shape <> excluded.shape";
        for pair in &self.pairs {
            // By names alone, columns that have changed places, or have another type, would be the same.
            let table = self.tables.get(&pair.shape.table);
            let of = |name: &String| table.and_then(|table| table.column(name)).map(|column| (column.number, &column.cast, &column.limits));
            let mapped: Vec<_> = std::iter::once(&pair.shape.key).chain(&pair.shape.columns).map(of).collect();
            let shape = objects::digest(&format!("{:?} {mapped:?}", pair.shape));
            let note = sqlx::query(note).bind(&self.names.scope).bind(&pair.name).bind(shape);
            if note.execute(&mut *tx).await?.rows_affected() > 0 {
                self.note_gap(tx, pair).await?;
            }
        }
        Ok(())
    }

    /// Makes the fence's triggers as they should be. Whether one was gone: without it the table may have been retyped, and rewritten
    /// ([`super::fence`]).
    async fn install_triggers(&self, tx: &mut PgConnection, name: &str, table: &Table) -> Result<bool, sqlx::Error> {
        let wanted = self.fence_triggers(name, table);
        let query = "SELECT tgname::text, tgenabled::text FROM pg_catalog.pg_trigger WHERE tgrelid = $1::int8::oid AND NOT tgisinternal AND starts_with(tgname, $2)";
        let (mut there, mut known): (Vec<String>, usize) = (Vec::new(), 0);
        for row in sqlx::query(query).bind(i64::from(table.oid)).bind(&self.names.triggers).fetch_all(&mut *tx).await? {
            let (found, enabled): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            known += 1;
            if wanted.iter().any(|(name, _)| *name == found) && enabled == "A" {
                there.push(found);
            } else {
                sql::run(tx, &format!("DROP TRIGGER {} ON {}", sql::name(&found), table.qualified)).await?;
            }
        }
        for (_, create) in wanted.iter().filter(|(name, _)| !there.contains(name)) {
            sql::run(tx, create).await?;
        }
        Ok(known < FENCE)
    }

    /// Makes the log say of every change which key it is of, and whether a mapped column changed. Whether it did not.
    async fn identify(&self, tx: &mut PgConnection, name: &str, table: &Table) -> Result<bool, sqlx::Error> {
        let shapes = self.pairs_of(name).into_iter().map(|pair| &self.pairs[pair].shape);
        let wanted = Wanted::of_shapes(&self.capability, self.side, shapes);
        if table.is_identified(wanted.tables.iter()) {
            return Ok(false);
        }
        let was = match table.identity.as_str() {
            "n" => "NOTHING".to_owned(),
            "i" => {
                // Without its schema, which the statement does not take.
                let index = "SELECT quote_ident(c.relname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE indrelid = $1::int8::oid AND indisreplident";
                let index: String = sqlx::query(index).bind(i64::from(table.oid)).fetch_one(&mut *tx).await?.try_get(0)?;
                format!("USING INDEX {index}")
            }
            _ => "DEFAULT".to_owned(),
        };
        let note = "INSERT INTO _ficus.identity (scope, relation, was) VALUES ($1, $2::int8::oid, $3) ON CONFLICT DO NOTHING";
        sqlx::query(note).bind(&self.names.scope).bind(i64::from(table.oid)).bind(was).execute(&mut *tx).await?;
        sql::run(tx, &format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.qualified)).await?;
        Ok(true)
    }

    /// Makes the publication hold the tables and nothing else. The tables that it did not hold.
    async fn publish(&self, tx: &mut PgConnection) -> Result<Vec<&String>, sqlx::Error> {
        let publication = sql::name(&self.names.publication);
        let flags = "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot FROM pg_catalog.pg_publication WHERE pubname = $1";
        let complete = sqlx::query(flags).bind(&self.names.publication).fetch_optional(&mut *tx).await?;
        let complete = complete.map(|row| row.try_get::<bool, _>(0)).transpose()?;
        if complete.is_none() {
            // Nothing of the log can be read that was written without a publication: the slot begins anew.
            let forget = "UPDATE _ficus.capture SET timeline = NULL WHERE scope = $1";
            sqlx::query(forget).bind(&self.names.scope).execute(&mut *tx).await?;
        }
        // Row filters and column lists (15 and newer) would hide changes.
        let held = "SELECT r.prrelid::int8, (to_jsonb(r) ->> 'prqual') IS NULL AND (to_jsonb(r) ->> 'prattrs') IS NULL
            FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1";
        let mut whole: Vec<i64> = Vec::new();
        let mut others = 0;
        for row in sqlx::query(held).bind(&self.names.publication).fetch_all(&mut *tx).await? {
            if row.try_get(1)? { whole.push(row.try_get(0)?) } else { others += 1 }
        }
        let holds = |table: &Table| complete == Some(true) && whole.contains(&i64::from(table.oid));
        let missed: Vec<&String> = self.tables.iter().filter(|(_, table)| !holds(table)).map(|(name, _)| name).collect();
        if complete == Some(true) && missed.is_empty() && others == 0 && whole.len() == self.tables.len() + objects::CAPTURED.len() {
            return Ok(missed);
        }
        let mut tables: Vec<&str> = objects::CAPTURED.to_vec();
        tables.extend(self.tables.values().map(|table| table.qualified.as_str()));
        sql::run(tx, &format!("DROP PUBLICATION IF EXISTS {publication}")).await?;
        sql::run(
            tx,
            &format!(
                "CREATE PUBLICATION {publication} FOR TABLE {} WITH (publish = 'insert, update, delete, truncate')",
                tables.join(", ")
            ),
        )
        .await?;
        Ok(missed)
    }

    pub(super) async fn note_gap(&self, connection: &mut PgConnection, pair: &Pair) -> Result<(), sqlx::Error> {
        let gap = "INSERT INTO _ficus.gap (scope, pair) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(gap).bind(&self.names.scope).bind(&pair.name).execute(connection).await?;
        Ok(())
    }

    /// Remembers gaps, and that the log need not be readable up to a position because of them.
    pub(super) async fn note_gaps(&self, pairs: &[usize], forgiven: Option<u64>) -> Result<(), Error> {
        let mut tx = self.guarded_then().await?;
        for pair in pairs {
            self.note_gap(&mut tx, &self.pairs[*pair]).await.map_err(|e| self.failed(e))?;
        }
        if let Some(position) = forgiven {
            let note = "UPDATE _ficus.capture SET forgiven = greatest(forgiven, $2) WHERE scope = $1";
            let position = i64::try_from(position).unwrap_or(i64::MAX);
            sqlx::query(note).bind(&self.names.scope).bind(position).execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }
}
