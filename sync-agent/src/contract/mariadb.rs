//! MariaDB passes the contract: two databases on one server, so that both logs are the same file.

use ficus_rules::Side;
use mysql_async::Conn;

use super::{Bed, Engine, async_trait, holds};
use crate::mariadb::Server as Opened;
use server::{Server, attempt, exec};

#[path = "../../tests/support/mariadb.rs"]
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
        let mut conn: Conn = Server::shared().root(&self.names[usize::from(side == Side::Modern)]).await;
        attempt(&mut conn, sql).await
    }

    fn forgets(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn passes_the_contract() {
    let server = Server::shared();
    let names = [server.database().await, server.database().await];
    for (name, ddl) in names.iter().zip([
        "CREATE TABLE item (id int PRIMARY KEY, name varchar(100) UNIQUE, kept varchar(100))",
        "CREATE TABLE things (id uuid PRIMARY KEY, legacy_id int UNIQUE, title varchar(100) NOT NULL UNIQUE)",
    ]) {
        exec(&mut server.root(name).await, ddl).await;
    }
    let legacy = Opened::open(&server.url(&names[0]), "legacy").await.expect("opens");
    let modern = Opened::open(&server.url(&names[1]), "modern").await.expect("opens");
    holds(&Databases { names, legacy, modern }).await;
}
