//! Whom the fence refused: how many statements, and which of their sessions are still there.
//!
//! A refused statement leaves no row behind. It has taken a number, which no rollback gives back, and its session holds a lock of its own
//! name until it ends. Whose session that is, the list of connections tells to those who have `PROCESS`; of a session that sleeps it does not
//! have the last statement.

use mysql_async::prelude::Queryable;

use super::control::next;
use super::schema::Counter;
use super::{Endpoint, triggers};
use crate::busy::statement;
use crate::error::Error;
use crate::port::Refused;

/// Sessions that are told at once.
const TOLD: u32 = 5;

const SESSIONS: &str = "SELECT p.ID, p.USER, p.HOST, p.DB, p.INFO FROM information_schema.PROCESSLIST AS p
    WHERE p.ID <> connection_id() AND IS_USED_LOCK(concat(?, p.ID)) = p.ID ORDER BY p.ID LIMIT ?";

/// A session: number, account, address, database, statement.
type Session = (u64, Option<String>, Option<String>, Option<String>, Option<String>);

impl Endpoint {
    pub(super) async fn strays(&self) -> Result<Refused, Error> {
        let mut conn = self.server.lease().await?;
        let next = next(&mut conn, &triggers::strays(&self.scope), Counter::AutoIncrement).await.map_err(|e| self.failed(e))?;
        let mut refused = Refused { statements: u64::try_from(next - 1).unwrap_or(0), writers: Vec::new() };
        if refused.statements > 0 {
            let lock = triggers::lock(&self.scope, &self.identity(&mut conn).await?);
            let sessions: Vec<Session> = conn.exec(SESSIONS, (lock, TOLD)).await.map_err(|e| self.failed(e))?;
            refused.writers = sessions.into_iter().map(in_words).collect();
        }
        conn.done();
        Ok(refused)
    }
}

fn in_words((id, account, host, database, query): Session) -> String {
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut who = vec![format!("connection {id}")];
    who.extend(said(account).map(|account| format!("account `{account}`")));
    who.extend(said(host).map(|host| format!("from {host}")));
    who.extend(said(database).map(|database| format!("in {database}")));
    who.extend(said(query).and_then(|query| statement(&query, &['\'', '"'])).map(|shown| format!("statement `{shown}`")));
    who.join(", ")
}
