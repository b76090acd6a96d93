//! PostgreSQL passes the contract: two databases on one server, once with a plain role, once with a superuser.

use ficus_rules::Side;

use super::{Bed, Engine, async_trait, holds};
use crate::postgres::Server as Opened;
use server::{Server, attempt, exec};

#[path = "../../tests/support/postgres.rs"]
pub(crate) mod server;

struct Databases {
    names: [String; 2],
    legacy: Opened,
    modern: Opened,
}

#[async_trait]
impl Bed for Databases {
    fn engine(&self, side: Side) -> &dyn Engine {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }

    async fn stranger(&self, side: Side, sql: &str) -> Result<(), String> {
        // PostgreSQL knows no REPLACE: what it does is spelled out.
        let sql = match sql.strip_prefix("REPLACE INTO item VALUES (3, 'two', 'k')") {
            Some(_) => "BEGIN; DELETE FROM item WHERE name = 'two'; INSERT INTO item VALUES (3, 'two', 'k'); COMMIT",
            None => sql,
        };
        attempt(&mut Server::shared().app(&self.names[usize::from(side == Side::Modern)]).await, sql).await.map(drop)
    }

    fn forgets(&self) -> bool {
        false
    }
}

async fn passes(url: impl Fn(&str) -> String) {
    let server = Server::shared();
    let names = [server.database().await, server.database().await];
    for (name, ddl) in names.iter().zip([
        "CREATE TABLE item (id int PRIMARY KEY, name text UNIQUE, kept text)",
        "CREATE TABLE things (id uuid PRIMARY KEY, legacy_id bigint UNIQUE, title text NOT NULL UNIQUE)",
    ]) {
        exec(&mut server.app(name).await, ddl).await;
    }
    let legacy = Opened::open(&url(&names[0]), "legacy").await.expect("opens");
    let modern = Opened::open(&url(&names[1]), "modern").await.expect("opens");
    holds(&Databases { names, legacy, modern }).await;
}

#[tokio::test]
async fn passes_the_contract() {
    passes(|name| Server::shared().url(name)).await;
}

#[tokio::test]
async fn passes_the_contract_as_a_superuser() {
    passes(|name| Server::shared().root_url(name)).await;
}
