//! Events that wait in PostgreSQL: written with the rows that they tell of, read and forgotten by who sends them. The log does
//! not carry them: no publication has the table.

use sqlx::{PgConnection, Row as _};

use super::{Endpoint, sql};
use crate::events::leaving;
use crate::port::{Changes, OUTBOX, Outgoing};

const INTO: &str = "INSERT INTO _ficus.outbox (stream, bus, number, id, kind, subject, body)";

impl Endpoint {
    /// A statement that follows others in one message; empty when nothing is told.
    pub(super) fn telling(&self, changes: &[Changes]) -> String {
        let rows: Vec<String> = leaving(changes, &[])
            .map(|event| {
                let texts = [&event.id, &event.kind, &event.subject, &event.body].map(|text| sql::text(text)).join(", ");
                format!("({}, {}, {}, {texts})", sql::text(&self.names.stream), sql::text(&event.bus), event.number)
            })
            .collect();
        if rows.is_empty() { String::new() } else { format!("; {INTO} VALUES {}", rows.join(", ")) }
    }

    /// Inside the caller's transaction.
    pub(super) async fn tell(&self, tx: &mut PgConnection, events: &[&Outgoing]) -> Result<(), sqlx::Error> {
        if events.is_empty() {
            return Ok(());
        }
        let insert =
            format!("{INTO} SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) AS e");
        let texts = |of: fn(&Outgoing) -> &String| events.iter().map(|event| of(event).clone()).collect::<Vec<String>>();
        let numbers: Vec<i64> = events.iter().map(|event| signed(event.number)).collect();
        sql::query(&insert)
            .bind(self.names.stream.clone())
            .bind(texts(|event| &event.bus))
            .bind(numbers)
            .bind(texts(|event| &event.id))
            .bind(texts(|event| &event.kind))
            .bind(texts(|event| &event.subject))
            .bind(texts(|event| &event.body))
            .execute(tx)
            .await
            .map(drop)
    }

    pub(super) async fn kept_events(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, sqlx::Error> {
        let oldest = "SELECT number, id, kind, subject, body FROM _ficus.outbox WHERE stream = $1 AND bus = $2 ORDER BY number LIMIT $3";
        let room = format!(
            "SELECT number, id, kind, subject, body FROM (SELECT o.*, sum(octet_length(body)) OVER (ORDER BY number) - octet_length(body) AS before
                FROM ({oldest}) AS o) AS o WHERE before < {OUTBOX} ORDER BY number"
        );
        let mut connection = self.server.pool.acquire().await?;
        let rows = sql::query(&room).bind(self.names.stream.clone()).bind(bus.to_owned()).bind(i64::from(at_most));
        let rows = rows.fetch_all(&mut *connection).await?;
        let event = |row: &sqlx::postgres::PgRow| {
            Ok(Outgoing {
                number: u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0),
                bus: bus.to_owned(),
                id: row.try_get(1)?,
                kind: row.try_get(2)?,
                subject: row.try_get(3)?,
                body: row.try_get(4)?,
            })
        };
        rows.iter().map(event).collect()
    }

    pub(super) async fn forget_events(&self, bus: &str, numbers: &[u64]) -> Result<(), sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let delete = "DELETE FROM _ficus.outbox WHERE stream = $1 AND bus = $2 AND number = ANY($3)";
        sqlx::query(delete)
            .bind(&self.names.stream)
            .bind(bus)
            .bind(numbers.iter().copied().map(signed).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await
            .map(drop)
    }

    pub(super) async fn count_events(&self, bus: &str) -> Result<u64, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let count = "SELECT count(*) FROM _ficus.outbox WHERE stream = $1 AND bus = $2";
        let row = sqlx::query(count).bind(&self.names.stream).bind(bus).fetch_one(&mut *connection).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
    }

    pub(super) async fn highest_event(&self) -> Result<u64, sqlx::Error> {
        let mut connection = self.server.pool.acquire().await?;
        let highest = "SELECT coalesce(max(number), 0) FROM _ficus.outbox WHERE stream = $1";
        let row = sqlx::query(highest).bind(&self.names.stream).fetch_one(&mut *connection).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
