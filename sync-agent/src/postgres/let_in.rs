//! What strangers write while the fence lets them through ([`LETTING`]): triggers keep each row in a table of Ficus, as it was and
//! as it became, with who wrote it, in the writer's own transaction. Here are these triggers' function, and the questions about
//! what they kept. That none of it is carried to the other side is for the stream ([`crate::stream`]).

use ficus_rules::mapping::{Row, Value};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::fence::{CLOSING_AGAIN, LETTING};
use super::write::Failure;
use super::{Endpoint, sql};
use crate::busy::statement;
use crate::crash;
use crate::error::Error;
use crate::port::{KEPT_DAYS, KEPT_ROWS, LetIn, LetInPair, Rewrite, Rewritten, SETTLE, Same, Stray, WROTE};
use crate::quarantine::{Image, Kept, LARGEST};

/// What tells who wrote, in the order of [`who`].
const WHO: &str = "role, application, address, query";

/// Asked every second, however many have been settled: the index holds the others.
pub(super) const UNSETTLED: &str = "SELECT count(*) FROM _ficus.stray WHERE scope = $1 AND settled IS NULL";

impl Endpoint {
    /// The call of the function that keeps a row of a table: which pair it is shown as, and its columns, the key first.
    pub(super) fn keeping(&self, table: &str, columns: &[&String]) -> String {
        let pair = self.pairs_of(table).first().map_or("", |pair| self.pairs[*pair].name.as_str());
        let texts: Vec<String> = std::iter::once(pair).chain(columns.iter().map(|column| column.as_str())).map(sql::text).collect();
        format!("EXECUTE FUNCTION _ficus.{}({})", sql::name(&self.names.keeper), texts.join(", "))
    }

    /// Makes that function. It looks at the fence itself: its triggers stay while nothing is let through. What was let through before the
    /// fence began to close is kept too: the barrier waits for it.
    pub(super) async fn create_keeper(&self, connection: &mut PgConnection, fence: &str) -> Result<(), sqlx::Error> {
        let image = |row: &str| {
            format!("SELECT jsonb_object_agg(c.key, c.value) INTO {row} FROM jsonb_each(to_jsonb({row})) AS c WHERE c.key = ANY (columns)")
                .replace(&format!("INTO {row}"), if row == "OLD" { "INTO was" } else { "INTO becomes" })
        };
        let body = format!(
            "DECLARE columns text[] := TG_ARGV[1:]; was jsonb; becomes jsonb; BEGIN \
             IF pg_sequence_last_value({fence}::regclass) NOT IN ({LETTING}, {CLOSING_AGAIN}) THEN RETURN NULL; END IF; \
             IF TG_OP <> 'INSERT' THEN {}; END IF; IF TG_OP <> 'DELETE' THEN {}; END IF; \
             INSERT INTO _ficus.stray (scope, pair, key, was, becomes, {WHO}) VALUES ({scope}, TG_ARGV[0], \
             coalesce(was, becomes) ->> columns[array_lower(columns, 1)], was, becomes, session_user, \
             nullif(current_setting('application_name', true), ''), host(inet_client_addr()), left(current_query(), 4000)); \
             RETURN NULL; END",
            image("OLD"),
            image("NEW"),
            fence = sql::text(fence),
            scope = sql::text(&self.names.scope),
        );
        let create = format!(
            "CREATE OR REPLACE FUNCTION _ficus.{}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog \
             SET extra_float_digits TO 1 SET intervalstyle TO postgres AS {}",
            sql::name(&self.names.keeper),
            sql::text(&body)
        );
        sql::run(connection, &create).await?;
        Ok(())
    }

    pub(super) async fn is_letting(&self) -> Result<bool, Error> {
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let fence = format!("_ficus.{}", sql::name(&self.names.fence));
        let value = "SELECT pg_sequence_last_value(to_regclass($1))";
        let row = sqlx::query(value).bind(fence).fetch_one(&mut *connection).await.map_err(|e| self.failed(e))?;
        // One that was being closed when its agent died lets through again as soon as somebody claims.
        Ok(matches!(row.try_get::<Option<i64>, _>(0).map_err(|e| self.failed(e))?, Some(LETTING | CLOSING_AGAIN)))
    }

    pub(super) async fn count_let_in(&self) -> Result<LetIn, sqlx::Error> {
        let mut known = self.settled.lock().await;
        let mut connection = self.server.pool.acquire().await?;
        let mut count = async |query| {
            let row = sqlx::query(query).bind(&self.names.scope).fetch_one(&mut *connection).await?;
            row.try_get::<i64, _>(0).map(|number| u64::try_from(number).unwrap_or(0))
        };
        let settled = match *known {
            Some(settled) => settled,
            None => {
                let forgotten = count("SELECT coalesce(sum(strays), 0)::int8 FROM _ficus.forgotten WHERE scope = $1").await?;
                *known.insert(forgotten + count("SELECT count(settled) FROM _ficus.stray WHERE scope = $1").await?)
            }
        };
        let unsettled = count(UNSETTLED).await?;
        drop(known);
        let mut found = LetIn { rows: settled + unsettled, unsettled, ..LetIn::default() };
        if unsettled > 0 {
            let of_pairs = "SELECT pair, count(*), count(passed) FROM _ficus.stray WHERE scope = $1 AND settled IS NULL GROUP BY pair";
            for row in sqlx::query(of_pairs).bind(&self.names.scope).fetch_all(&mut *connection).await? {
                let number = |at: usize| row.try_get::<i64, _>(at).map(|number| u64::try_from(number).unwrap_or(0));
                found.pairs.push(LetInPair { pair: row.try_get(0)?, rows: number(1)?, passed: number(2)? });
            }
        }
        if found.rows > 0 {
            let which = if unsettled > 0 { "AND settled IS NULL" } else { "" };
            let newest = format!("SELECT {WHO} FROM _ficus.stray WHERE scope = $1 {which} ORDER BY id DESC LIMIT $2");
            let rows = sql::query(&newest).bind(&self.names.scope).bind(i64::from(WROTE)).fetch_all(&mut *connection).await?;
            for row in &rows {
                let who = who(row, 0)?;
                if !found.wrote.contains(&who) {
                    found.wrote.push(who);
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn undecided(&self) -> Result<Vec<i64>, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let query = "SELECT id FROM _ficus.stray WHERE scope = $1 AND settled IS NULL";
        sqlx::query(query).bind(&self.names.scope).fetch_all(&mut *connection).await?.iter().map(|row| row.try_get(0)).collect()
    }

    pub(super) async fn decided(&self, numbers: &[i64]) -> Result<(), Error> {
        for numbers in numbers.chunks(SETTLE) {
            let mut known = self.settled.lock().await;
            let mut tx = self.guarded().await?;
            let settle = "UPDATE _ficus.stray SET settled = now() WHERE scope = $1 AND id = ANY($2) AND settled IS NULL";
            let settle = sqlx::query(settle).bind(&self.names.scope).bind(numbers);
            let settled = settle.execute(&mut *tx).await.map_err(|e| self.failed(e))?.rows_affected();
            tx.commit().await.map_err(|e| self.failed(e))?;
            *known = known.map(|known| known + settled);
        }
        Ok(())
    }

    pub(super) async fn forget_decided(&self) -> Result<bool, Error> {
        let old = format!(
            "SELECT id FROM _ficus.stray WHERE scope = $1 AND settled IS NOT NULL AND (settled < now() - interval '{KEPT_DAYS} days' OR id <= (SELECT id \
             FROM _ficus.stray WHERE scope = $1 AND settled IS NOT NULL ORDER BY id DESC OFFSET {KEPT_ROWS} LIMIT 1)) ORDER BY id LIMIT {SETTLE}"
        );
        let mut connection = self.server.pool.acquire().await.map_err(|e| self.failed(e))?;
        let rows = sql::query(&old).bind(&self.names.scope).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        drop(connection);
        let numbers: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|e| self.failed(e))?;
        if numbers.is_empty() {
            return Ok(false);
        }
        // Another time will do.
        let Some(mut tx) = self.guarded_now().await? else { return Ok(true) };
        let forget = sqlx::query("DELETE FROM _ficus.stray WHERE id = ANY($1)").bind(&numbers);
        let rows = forget.execute(&mut *tx).await.map_err(|e| self.failed(e))?.rows_affected();
        let count =
            "INSERT INTO _ficus.forgotten AS f VALUES ($1, $2) ON CONFLICT (scope) DO UPDATE SET strays = f.strays + excluded.strays";
        let count = sqlx::query(count).bind(&self.names.scope).bind(i64::try_from(rows).unwrap_or(i64::MAX));
        count.execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        Ok(numbers.len() == SETTLE)
    }

    /// What was kept is made a row of its table again by the server, and read like one.
    pub(super) async fn unread(&self, at_most: u32) -> Result<Vec<Stray>, sqlx::Error> {
        const OPEN: &str = "scope = $1 AND settled IS NULL AND passed IS NULL";
        let mut connection = self.server.pool.acquire().await?;
        let list = format!("SELECT id, pair FROM _ficus.stray WHERE {OPEN} ORDER BY id LIMIT $2");
        let rows = sql::query(&list).bind(&self.names.scope).bind(i64::from(at_most)).fetch_all(&mut *connection).await?;
        let mut strays = Vec::with_capacity(rows.len());
        for row in &rows {
            let (number, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            let pair = self.pairs.iter().position(|pair| pair.name == name);
            strays.push(Stray { number, pair, was: None, becomes: None });
        }
        let Some(last) = strays.last().map(|stray| stray.number) else { return Ok(strays) };
        for (at, pair) in self.pairs.iter().enumerate() {
            if !strays.iter().any(|stray| stray.pair == Some(at)) {
                continue;
            }
            for image in ["was", "becomes"] {
                let from = format!(
                    "FROM _ficus.stray AS s CROSS JOIN LATERAL jsonb_populate_record(NULL::{}, s.{image}) AS t WHERE s.{image} IS NOT NULL \
                     AND s.scope = $1 AND s.pair = $2 AND s.settled IS NULL AND s.passed IS NULL AND s.id <= $3",
                    pair.table
                );
                let query = format!("SELECT {}, s.id {from}", pair.sql.texts);
                let found = sql::query(&query).bind(&self.names.scope).bind(&pair.name).bind(last).fetch_all(&mut *connection).await?;
                for row in &found {
                    let number: i64 = row.try_get(row.len() - 1)?;
                    let Some(stray) = strays.iter_mut().find(|stray| stray.number == number && stray.pair == Some(at)) else { continue };
                    let read = Some(super::read::keyed(row, pair)?);
                    if image == "was" { stray.was = read } else { stray.becomes = read }
                }
            }
        }
        Ok(strays)
    }

    pub(super) async fn passed(&self, number: i64, reason: &str) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let pass = "UPDATE _ficus.stray SET passed = $3 WHERE scope = $1 AND id = $2";
        let pass = sqlx::query(pass).bind(&self.names.scope).bind(number).bind(reason);
        pass.execute(&mut *tx).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    pub(super) async fn rewrite_rows(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error> {
        let mut tx = self.guarded_then().await?;
        let refused = match self.rewrite_in(&mut tx, pair, number, steps, same).await {
            Ok(true) => None,
            Ok(false) => Some(Rewritten::Changed),
            Err(Failure::Blame(blame)) => Some(Rewritten::Refused(blame.reason)),
            Err(Failure::Other(error)) => return Err(self.failed(error)),
        };
        if let Some(refused) = refused {
            tx.rollback().await.map_err(|e| self.failed(e))?;
            return Ok(refused);
        }
        crash::point("after_rewrite_before_commit");
        match tx.commit().await {
            Ok(()) => Ok(Rewritten::Done),
            // What is deferred to the commit is a refusal as well.
            Err(error) => match sql::blame(&error) {
                Some(blame) => Ok(Rewritten::Refused(blame.reason)),
                None => Err(self.failed(error)),
            },
        }
    }

    /// Whether all rows were as expected.
    async fn rewrite_in(
        &self,
        tx: &mut PgConnection,
        pair: usize,
        number: i64,
        steps: &[Rewrite],
        same: &Same<'_>,
    ) -> Result<bool, Failure> {
        let carried = "INSERT INTO _ficus.carried AS c VALUES ($1, $2) ON CONFLICT (stream) DO UPDATE SET number = $2 WHERE c.number <> $2";
        let carried = sqlx::query(carried).bind(&self.names.stream).bind(number).execute(&mut *tx).await?;
        if carried.rows_affected() == 0 {
            return Ok(true);
        }
        for step in steps {
            let found = self.locked(tx, pair, &step.key).await?;
            if !step.fits(found.as_ref(), same) {
                return Ok(false);
            }
            self.rewrite_row(tx, pair, step, found.as_ref()).await?;
        }
        Ok(true)
    }

    /// A row, which nobody else changes until the transaction ends.
    async fn locked(&self, tx: &mut PgConnection, pair: usize, key: &Value) -> Result<Option<Row>, sqlx::Error> {
        let pair = &self.pairs[pair];
        let query = format!("{} AND {} FOR UPDATE OF t", pair.sql.select, pair.sql.is_key);
        let keys = pair.keys(std::iter::once(key));
        if keys.is_empty() {
            return Ok(None);
        }
        let row = keys.bind(sql::query(&query)).fetch_optional(tx).await?;
        row.map(|row| super::read::keyed(&row, pair)).transpose()
    }

    async fn rewrite_row(&self, tx: &mut PgConnection, pair: usize, step: &Rewrite, found: Option<&Row>) -> Result<(), Failure> {
        match step.over(found) {
            None => self.delete(tx, pair, std::slice::from_ref(&step.key)).await,
            Some(row) if found.is_some() => self.upsert(tx, pair, &[row]).await,
            // One that has come meanwhile refuses it.
            Some(row) => self.copy_in(tx, pair, &self.pairs[pair].sql.copy_in, std::iter::once(&row)).await,
        }
    }

    pub(super) async fn show_let_in(&self, at_most: u32) -> Result<Vec<Kept>, sqlx::Error> {
        let image = |column: &str| {
            format!("octet_length({column}::text)::bigint, CASE WHEN octet_length({column}::text) <= {LARGEST} THEN {column}::text END")
        };
        let select = format!(
            "SELECT pair, coalesce(key, ''), (extract(epoch FROM at) * 1000)::bigint, {}, {}, passed, {WHO} FROM _ficus.stray \
             WHERE scope = $1 AND settled IS NULL ORDER BY id DESC LIMIT $2",
            image("becomes"),
            image("was"),
        );
        let mut connection = self.server.pool.acquire().await?;
        let rows = sql::query(&select).bind(&self.names.scope).bind(i64::from(at_most)).fetch_all(&mut *connection).await?;
        let kept = |row: &PgRow| {
            Ok(Kept {
                pair: row.try_get(0)?,
                key: row.try_get(1)?,
                at: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
                reason: crate::strays::reason(&who(row, 8)?, row.try_get(7)?),
                wanted: Image::read(row.try_get(3)?, row.try_get(4)?),
                there: Image::read(row.try_get(5)?, row.try_get(6)?),
            })
        };
        rows.iter().map(kept).collect()
    }
}

/// Who wrote, in words, from the columns that begin at `from`.
fn who(row: &PgRow, from: usize) -> Result<String, sqlx::Error> {
    let text = |index: usize| row.try_get::<Option<String>, _>(from + index);
    let mut who = Vec::new();
    who.extend(text(0)?.map(|role| format!("role `{role}`")));
    who.extend(text(1)?.map(|name| format!("application `{name}`")));
    who.extend(text(2)?.map(|host| format!("from {host}")));
    who.extend(text(3)?.and_then(|query| statement(&query, &['\'', '$'])).map(|shown| format!("statement `{shown}`")));
    Ok(who.join(", "))
}
