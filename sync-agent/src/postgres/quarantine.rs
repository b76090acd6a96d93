//! Rows that were set aside: kept with both images and the reason, and taken back as soon as one of their key is written.

use ficus_rules::mapping::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::Endpoint;
use super::capture::key_text;
use crate::port::{Changes, Rejected};
use crate::quarantine::{Image, Kept, LARGEST};

/// A key as a text that PostgreSQL can store.
fn kept_key(key: &Value) -> String {
    key_text(key).replace('\0', "\u{fffd}")
}

impl Endpoint {
    /// Sets rows aside, and takes those back that have been written. How many are aside in all, of `before` until now.
    pub(super) async fn quarantine(
        &self,
        tx: &mut PgConnection,
        changes: &[Changes],
        rejected: &[&Rejected],
        before: u64,
    ) -> Result<u64, sqlx::Error> {
        if rejected.is_empty() && before == 0 {
            return Ok(0);
        }
        let stream = &self.names.stream;
        for (pair, changes) in self.pairs.iter().zip(changes) {
            let keys: Vec<String> = changes.upserts.iter().map(|row| &row.key).chain(&changes.deletes).map(kept_key).collect();
            let heal = "DELETE FROM _ficus.quarantine WHERE stream = $1 AND pair = $2 AND key = ANY($3)";
            sqlx::query(heal).bind(stream).bind(&pair.name).bind(keys).execute(&mut *tx).await?;
        }
        for Rejected { row, image, reason, reference } in rejected {
            let shape = &self.pairs[row.pair].shape;
            let there = self.rows_in(tx, row.pair, std::slice::from_ref(&row.key)).await?;
            let there = there.first().map(|row| crate::quarantine::image(&shape.key, &shape.columns, row).to_string());
            // A zero byte can stand in JSON as an escape, and nowhere in a text.
            let image = image.as_ref().map(ToString::to_string);
            let insert = "INSERT INTO _ficus.quarantine (stream, pair, key, source_row, target_row, reason, reference) VALUES ($1, $2, $3, $4, $5, $6, $7)
                ON CONFLICT (stream, pair, key) DO UPDATE SET source_row = excluded.source_row, target_row = excluded.target_row, reason = excluded.reason, reference = excluded.reference, at = now()";
            let insert = sqlx::query(insert).bind(stream).bind(&self.pairs[row.pair].name).bind(kept_key(&row.key));
            insert.bind(image).bind(there).bind(reason.replace('\0', "\u{fffd}")).bind(reference).execute(&mut *tx).await?;
        }
        self.count_quarantine(tx).await
    }

    pub(super) async fn count_quarantine(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let count = "SELECT count(*) FROM _ficus.quarantine WHERE stream = $1";
        let rows: i64 = sqlx::query(count).bind(&self.names.stream).fetch_one(connection).await?.try_get(0)?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    /// The newest ones, as far as they are shown.
    pub(super) async fn kept(&self, at_most: u32) -> Result<Vec<Kept>, sqlx::Error> {
        let select = "SELECT pair, key, (extract(epoch FROM at) * 1000)::bigint, reason, \
            octet_length(source_row)::bigint, CASE WHEN octet_length(source_row) <= $3 THEN source_row END, \
            octet_length(target_row)::bigint, CASE WHEN octet_length(target_row) <= $3 THEN target_row END \
            FROM _ficus.quarantine WHERE stream = $1 ORDER BY at DESC, pair, key LIMIT $2";
        let mut connection = self.server.pool.acquire().await?;
        let select = sqlx::query(select).bind(&self.names.stream).bind(i64::from(at_most));
        let rows = select.bind(i32::try_from(LARGEST).unwrap_or(i32::MAX)).fetch_all(&mut *connection).await?;
        let kept = |row: &PgRow| {
            Ok(Kept {
                pair: row.try_get(0)?,
                key: row.try_get(1)?,
                at: u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
                reason: row.try_get(3)?,
                wanted: Image::read(row.try_get(4)?, row.try_get(5)?),
                there: Image::read(row.try_get(6)?, row.try_get(7)?),
            })
        };
        rows.iter().map(kept).collect()
    }
}
