//! Events that wait in SQLite: written with the rows that they tell of, read and forgotten by who sends them.

use ficus_rules::mapping::Value;
use sqlx::SqliteConnection;

use super::{Endpoint, sql};
use crate::error::Error;
use crate::events::leaving;
use crate::port::{Changes, OUTBOX, Outgoing, Rejected};

impl Endpoint {
    /// Inside the caller's transaction.
    pub(super) async fn tell(&self, tx: &mut SqliteConnection, changes: &[Changes], rejected: &[Rejected]) -> Result<(), sqlx::Error> {
        for event in leaving(changes, rejected) {
            let insert = "INSERT INTO \"_ficus_outbox\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let text = |text: &String| Value::Text(text.clone());
            let values = [
                Value::Text(self.stream()),
                text(&event.bus),
                signed(event.number),
                text(&event.id),
                text(&event.kind),
                text(&event.subject),
                text(&event.body),
            ];
            sql::run_with(tx, insert, &values).await?;
        }
        Ok(())
    }

    pub(super) async fn kept_events(&self, bus: &str, at_most: u32) -> Result<Vec<Outgoing>, sqlx::Error> {
        let oldest = "SELECT * FROM \"_ficus_outbox\" WHERE \"stream\" = ?1 AND \"bus\" = ?2 ORDER BY \"number\" LIMIT ?3";
        let room = format!(
            "SELECT \"number\", \"id\", \"kind\", \"subject\", \"body\" FROM (SELECT *, sum(length(\"body\")) OVER (ORDER BY \"number\") \
             - length(\"body\") AS \"before\" FROM ({oldest})) WHERE \"before\" < {OUTBOX} ORDER BY \"number\""
        );
        let mut connection = self.file.read.acquire().await?;
        let values = [Value::Text(self.stream()), Value::Text(bus.to_owned()), Value::Int(i64::from(at_most))];
        let event = |row: Vec<Value>| match <[Value; 5]>::try_from(row) {
            Ok([Value::Int(number), Value::Text(id), Value::Text(kind), Value::Text(subject), Value::Text(body)]) => {
                Some(Outgoing { number: u64::try_from(number).unwrap_or(0), bus: bus.to_owned(), id, kind, subject, body })
            }
            _ => None,
        };
        Ok(sql::all(&mut connection, &room, &values).await?.into_iter().filter_map(event).collect())
    }

    pub(super) async fn forget_events(&self, bus: &str, numbers: &[u64]) -> Result<(), Error> {
        let mut tx = self.file.begin().await?;
        let these = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let delete = format!("DELETE FROM \"_ficus_outbox\" WHERE \"stream\" = ?1 AND \"bus\" = ?2 AND \"number\" IN ({these})");
        sql::run_with(&mut tx, &delete, &[Value::Text(self.stream()), Value::Text(bus.to_owned())]).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    pub(super) async fn count_events(&self, bus: &str) -> Result<u64, sqlx::Error> {
        let count = "SELECT count(*) FROM \"_ficus_outbox\" WHERE \"stream\" = ?1 AND \"bus\" = ?2";
        self.number(count, &[Value::Text(self.stream()), Value::Text(bus.to_owned())]).await
    }

    pub(super) async fn highest_event(&self) -> Result<u64, sqlx::Error> {
        self.number("SELECT coalesce(max(\"number\"), 0) FROM \"_ficus_outbox\" WHERE \"stream\" = ?1", &[Value::Text(self.stream())]).await
    }

    async fn number(&self, query: &str, values: &[Value]) -> Result<u64, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        match sql::one(&mut connection, query, values).await? {
            Some(Value::Int(number)) => Ok(u64::try_from(number).unwrap_or(0)),
            _ => Ok(0),
        }
    }
}

fn signed(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
