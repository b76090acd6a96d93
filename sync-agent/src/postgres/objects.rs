//! What Ficus keeps in a database beside the slot: the schema `_ficus`, made and taken away. Its tables are shared by
//! all capabilities of the database.

use ficus_rules::Side;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};

use super::locks::LOCKS;
use super::{scope, sql, stream};

/// Made in every database. `capture`: what was set up, up to where the log was given back (`pruned`), and up to where what
/// could not be read of it was remembered as a gap instead (`forgiven`), because its slot was gone (`lost`) or not; `rest` and `rest_turn` see `rest.rs`. `stray`: see `let_in.rs`; `forgotten`: how many of these are there no more; `carried`: the last of the other side's that was written here. `pair`: what of each pair is looked at, as a digest.
const SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS _ficus;
CREATE TABLE IF NOT EXISTS _ficus.context (id int PRIMARY KEY CHECK (id = 1), database_id text NOT NULL);
CREATE TABLE IF NOT EXISTS _ficus.capture (scope text PRIMARY KEY, slot text NOT NULL, timeline bigint, pruned bigint, forgiven bigint NOT NULL DEFAULT 0);
DO $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = '_ficus.capture'::regclass AND attname = 'rest_turn') THEN
    ALTER TABLE _ficus.capture ADD COLUMN rest bigint, ADD COLUMN rest_turn bigint;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = '_ficus.capture'::regclass AND attname = 'lost') THEN
    ALTER TABLE _ficus.capture ADD COLUMN lost bigint;
  END IF;
END $$;
CREATE TABLE IF NOT EXISTS _ficus.gap (scope text NOT NULL, pair text NOT NULL, PRIMARY KEY (scope, pair));
CREATE TABLE IF NOT EXISTS _ficus.pair (scope text NOT NULL, pair text NOT NULL, shape text NOT NULL, PRIMARY KEY (scope, pair));
CREATE TABLE IF NOT EXISTS _ficus.identity (scope text NOT NULL, relation oid NOT NULL, was text NOT NULL, PRIMARY KEY (scope, relation));
CREATE TABLE IF NOT EXISTS _ficus.checkpoint (stream text PRIMARY KEY, source_id text NOT NULL, position bigint, epoch bigint NOT NULL, backfilled boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS _ficus.orders (scope text PRIMARY KEY, epoch bigint NOT NULL);
CREATE TABLE IF NOT EXISTS _ficus.touch (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, scope text NOT NULL, pair text NOT NULL, key text NOT NULL);
CREATE TABLE IF NOT EXISTS _ficus.quarantine (stream text NOT NULL, pair text NOT NULL, key text NOT NULL, source_row text, target_row text, reason text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (stream, pair, key));
DO $$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = '_ficus.quarantine'::regclass AND attname = 'reference') THEN
    ALTER TABLE _ficus.quarantine ADD COLUMN reference text;
  END IF;
END $$;
CREATE TABLE IF NOT EXISTS _ficus.copied (stream text NOT NULL, pair text NOT NULL, plan text NOT NULL, rows bigint NOT NULL, rest text, PRIMARY KEY (stream, pair));
CREATE TABLE IF NOT EXISTS _ficus.stray (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, scope text NOT NULL, pair text NOT NULL, key text, was jsonb, becomes jsonb, role text, application text, address text, query text, at timestamptz NOT NULL DEFAULT clock_timestamp(), settled timestamptz, passed text);
CREATE TABLE IF NOT EXISTS _ficus.forgotten (scope text PRIMARY KEY, strays bigint NOT NULL);
CREATE TABLE IF NOT EXISTS _ficus.carried (stream text PRIMARY KEY, number bigint NOT NULL);
DO $$ BEGIN
  IF to_regclass('_ficus.stray_unsettled') IS NULL THEN
    CREATE INDEX stray_unsettled ON _ficus.stray (scope, id) WHERE settled IS NULL;
  END IF;
END $$;
CREATE TABLE IF NOT EXISTS _ficus.outbox (stream text NOT NULL, bus text NOT NULL, number bigint NOT NULL, id text NOT NULL, kind text NOT NULL, subject text NOT NULL, body text NOT NULL, PRIMARY KEY (stream, bus, number));
INSERT INTO _ficus.context VALUES (1, md5(random()::text || clock_timestamp()::text)) ON CONFLICT DO NOTHING";

/// Where the loop mark stands, and where the agent asks itself to look at rows.
pub(super) const CAPTURED: [&str; 2] = ["_ficus.checkpoint", "_ficus.touch"];

/// The first of both keys of what sessions that a fence refused lock.
pub(super) const REFUSED: i32 = 26218;

/// The key under which whoever changes the schema `_ficus` waits for the other.
const LOCK: &str = "SELECT pg_advisory_xact_lock(26217, 7)";

/// What things of one capability and side are called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `capability/side`: the key of everything kept in the tables.
    pub(super) scope: String,
    /// The stream that ends here.
    pub(super) stream: String,
    /// What its triggers begin with.
    pub(super) triggers: String,
    /// Slots are the cluster's, so that its name has the database in it.
    pub(super) slot: String,
    pub(super) publication: String,
    /// The sequence that says whether the fence is up, and the function of its triggers, without the schema.
    pub(super) fence: String,
    /// The function that keeps what is written while the fence lets it through, without the schema.
    pub(super) keeper: String,
    /// The sequence that counts whom it refused, without the schema.
    pub(super) strays: String,
    /// What a session that was refused locks, for itself alone, so that it is known again.
    pub(super) refused: i32,
}

impl Names {
    pub(super) async fn of(connection: &mut PgConnection, capability: &str, side: Side) -> Result<Names, sqlx::Error> {
        let database = "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = current_database()";
        let database: i64 = sqlx::query(database).fetch_one(connection).await?.try_get(0)?;
        let scope = scope(capability, side);
        let digest = digest(&scope);
        Ok(Names {
            stream: stream(capability, side),
            triggers: format!("_ficus_{digest}_"),
            slot: format!("ficus_{database}_{digest}"),
            publication: format!("ficus_{digest}"),
            fence: format!("fence_{digest}"),
            keeper: format!("keeper_{digest}"),
            strays: format!("strays_{digest}"),
            refused: Sha256::digest(scope.as_bytes()).iter().take(4).fold(0, |number, byte| (number << 8) | i32::from(*byte)),
            scope,
        })
    }
}

/// Twelve digits that stand for a text.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes what is missing, inside the caller's transaction.
pub(super) async fn create(connection: &mut PgConnection, names: &Names) -> Result<(), sqlx::Error> {
    sql::run(connection, LOCK).await?;
    sql::run(connection, SCHEMA).await?;
    let row = "INSERT INTO _ficus.capture (scope, slot) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sqlx::query(row).bind(&names.scope).bind(&names.slot).execute(&mut *connection).await?;
    Ok(())
}

/// Raises the epoch whose orders are carried out; the highest there is.
pub(super) async fn obey(connection: &mut PgConnection, names: &Names, epoch: u64) -> Result<u64, sqlx::Error> {
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    let raise = "INSERT INTO _ficus.orders AS o VALUES ($1, $2) ON CONFLICT (scope) DO UPDATE SET epoch = excluded.epoch WHERE o.epoch < excluded.epoch";
    sqlx::query(raise).bind(&names.scope).bind(epoch).execute(&mut *connection).await?;
    obeyed(connection, names).await
}

/// The highest epoch whose orders were carried out here; 0: none that is known.
pub(super) async fn obeyed(connection: &mut PgConnection, names: &Names) -> Result<u64, sqlx::Error> {
    let there = sqlx::query("SELECT 1 WHERE to_regclass('_ficus.orders') IS NOT NULL").fetch_optional(&mut *connection).await?;
    if there.is_none() {
        return Ok(0);
    }
    let known = sqlx::query("SELECT epoch FROM _ficus.orders WHERE scope = $1").bind(&names.scope).fetch_optional(connection).await?;
    let known = known.map(|row| row.try_get::<i64, _>(0)).transpose()?;
    Ok(known.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0))
}

/// Takes away what belongs to a scope, and the schema itself with the last one: what locks a table of the application, one table
/// a transaction. Whether there is more to do, in another one.
pub(super) async fn remove_some(connection: &mut PgConnection, names: &Names) -> Result<bool, sqlx::Error> {
    sql::run(connection, LOCKS).await?;
    sql::run(connection, LOCK).await?;
    let found = "SELECT tgrelid::regclass::text, array_agg(tgname::text) FROM pg_catalog.pg_trigger
        WHERE NOT tgisinternal AND starts_with(tgname, $1) GROUP BY tgrelid LIMIT 1";
    if let Some(row) = sqlx::query(found).bind(&names.triggers).fetch_optional(&mut *connection).await? {
        let (table, triggers): (String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
        for trigger in triggers {
            sql::run(connection, &format!("DROP TRIGGER {} ON {table}", sql::name(&trigger))).await?;
        }
        return Ok(true);
    }
    sql::run(connection, &format!("DROP PUBLICATION IF EXISTS {}", sql::name(&names.publication))).await?;
    if sqlx::query("SELECT 1 WHERE to_regclass('_ficus.quarantine') IS NULL").fetch_optional(&mut *connection).await?.is_some() {
        return Ok(false);
    }
    if identity_back(connection, names).await? {
        return Ok(true);
    }
    for function in [&names.fence, &names.keeper] {
        sql::run(connection, &format!("DROP FUNCTION IF EXISTS _ficus.{}()", sql::name(function))).await?;
    }
    for sequence in [&names.fence, &names.strays] {
        sql::run(connection, &format!("DROP SEQUENCE IF EXISTS _ficus.{}", sql::name(sequence))).await?;
    }
    // A release before it lacks some.
    sql::run(connection, SCHEMA).await?;
    for table in ["capture", "gap", "pair", "identity", "touch", "orders", "stray", "forgotten"] {
        sql::query(&format!("DELETE FROM _ficus.{table} WHERE scope = $1")).bind(names.scope.clone()).execute(&mut *connection).await?;
    }
    for table in ["checkpoint", "quarantine", "copied", "outbox", "carried"] {
        sql::query(&format!("DELETE FROM _ficus.{table} WHERE stream = $1")).bind(names.stream.clone()).execute(&mut *connection).await?;
    }
    if sqlx::query("SELECT 1 FROM _ficus.capture LIMIT 1").fetch_optional(&mut *connection).await?.is_none() {
        sql::run(connection, "DROP SCHEMA _ficus CASCADE").await?;
    }
    Ok(false)
}

/// A table gets the replica identity back that it had, unless another capability needs it. Whether there was one.
async fn identity_back(connection: &mut PgConnection, names: &Names) -> Result<bool, sqlx::Error> {
    let changed = "SELECT c.oid::int8, c.oid::regclass::text, i.was FROM _ficus.identity i JOIN pg_catalog.pg_class c ON c.oid = i.relation
        WHERE i.scope = $1 AND NOT EXISTS (SELECT 1 FROM _ficus.identity o WHERE o.relation = i.relation AND o.scope <> i.scope) LIMIT 1";
    let Some(row) = sqlx::query(changed).bind(&names.scope).fetch_optional(&mut *connection).await? else { return Ok(false) };
    let (oid, table, was): (i64, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    sql::run(connection, &format!("ALTER TABLE {table} REPLICA IDENTITY {was}")).await?;
    let forget = "DELETE FROM _ficus.identity WHERE scope = $1 AND relation = $2::int8::oid";
    sqlx::query(forget).bind(&names.scope).bind(oid).execute(&mut *connection).await?;
    Ok(true)
}
