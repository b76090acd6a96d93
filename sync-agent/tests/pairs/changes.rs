//! The schema changes while rows are written: what is added is asked about, what is taken away stops the capability, and
//! nothing is mapped wrongly meanwhile. A table may join later.

use ficus_rules::Side;
use ficus_rules::wire::{CapabilityReport, Fences, VerifyScope};
use ficus_sync_agent::Agent;

use super::app::{App, Engine};
use super::world::{World, report, streaming, until};

/// `more` belongs to the table `writer`; `tables` are further ones.
fn users(more: &str, columns: &str, tables: &str) -> String {
    let more = if more.contains("keep_legacy") { more.to_owned() } else { format!("keep_legacy = [\"seen\"]\n{more}") };
    format!(
        "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/users\"\n\
         [[table]]\nlegacy = \"writer\"\nmodern = \"writers\"\n{more}\n[table.columns]\nid = {{ from = \"id\", as = \"uuid5\" }}\n{columns}\n{tables}"
    )
}

const BOOKS: &str = "[[table]]\nlegacy = \"book\"\nmodern = \"books\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\n";

/// Another capability on the same databases.
const SHOP: &str = "[capability]\nname = \"shop\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/shop\"\n\
    [[table]]\nlegacy = \"ware\"\nmodern = \"wares\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\n";

fn schema(engine: Engine, side: Side) -> Vec<String> {
    let uuid = if engine == Engine::Sqlite { "text" } else { "uuid" };
    let writer = "name varchar(150) NOT NULL, body varchar(90) NULL, level integer NULL";
    // One stays behind.
    let seen = "seen integer NULL";
    let other = "title varchar(90) NULL";
    match side {
        Side::Legacy => vec![
            format!("CREATE TABLE writer (id integer NOT NULL PRIMARY KEY, {writer}, {seen})"),
            format!("CREATE TABLE book (id integer NOT NULL PRIMARY KEY, {other})"),
            format!("CREATE TABLE ware (id integer NOT NULL PRIMARY KEY, {other})"),
        ],
        Side::Modern => {
            let table =
                |name, columns| format!("CREATE TABLE {name} (id {uuid} NOT NULL PRIMARY KEY, legacy_id integer UNIQUE, {columns})");
            vec![table("writers", writer), table("books", other), table("wares", other)]
        }
    }
}

/// The application that goes on writing, whatever the schema: each statement is a transaction.
struct Busy {
    app: App,
    id: u32,
}

impl Busy {
    async fn write(&mut self) {
        for _ in 0..20 {
            self.id += 1;
            let id = self.id;
            // Some columns may be gone just now.
            let _ = self
                .app
                .attempt(&format!("INSERT INTO writer (id, name, body, level) VALUES ({id}, 'writer {id}', 'body {id}', {id})"))
                .await;
            let _ = self.app.attempt(&format!("UPDATE writer SET name = 'changed {id}' WHERE id = {}", id / 2)).await;
            let _ = self.app.attempt(&format!("UPDATE writer SET body = 'other {id}' WHERE id = {}", id / 3)).await;
            if id.is_multiple_of(5) {
                let _ = self.app.attempt(&format!("DELETE FROM writer WHERE id = {}", id / 5)).await;
            }
            self.app.exec(&format!("INSERT INTO ware (id, title) VALUES ({id}, 'ware {id}')")).await;
        }
    }
}

async fn begun(engines: [Engine; 2], rules: &str) -> (World, Agent, Busy, App) {
    let mut world = World::new(engines, schema, Vec::new()).await;
    let mut busy = Busy { app: world.app(Side::Legacy).await, id: 0 };
    busy.write().await;
    let agent = world.agent_by_rules(&[("users", rules), ("shop", SHOP)]).await;
    streaming(&agent).await;
    busy.write().await;
    let ddl = world.app(Side::Legacy).await;
    (world, agent, busy, ddl)
}

/// It stands still, and says so.
async fn stands(agent: &Agent, said: &[&str]) -> CapabilityReport {
    let told = |report: &CapabilityReport| report.trouble.as_ref().is_some_and(|trouble| said.iter().all(|part| trouble.contains(part)));
    until(agent, &format!("{said:?} is said"), told).await
}

/// It goes on by itself, and both sides are equal.
async fn goes_on(world: &mut World, agent: &Agent, busy: &mut Busy) {
    until(agent, "it goes on", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    busy.write().await;
    world.settle(agent, Side::Legacy).await;
    until(agent, "nothing is compared any more", |report| report.trouble.is_none()).await;
    for table in world.verify(agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{:?}: {}", world.engines, table.legacy);
        assert_eq!((table.legacy_root, table.legacy_rows), (table.modern_root, table.modern_rows), "{:?}", world.engines);
    }
    assert_eq!(report(agent).quarantined, 0);
}

/// The other capability has every row that was written.
async fn shop_goes_on(world: &World, busy: &Busy, agent: &Agent) {
    let mut modern = world.app(Side::Modern).await;
    let begun = std::time::Instant::now();
    loop {
        let rows = modern.rows("SELECT CAST(max(legacy_id) AS char(20)) FROM wares").await;
        if rows[0][0].as_deref().map(str::trim) == Some(&busy.id.to_string()) {
            let shop = agent.report().capabilities["shop"].clone();
            assert!(shop.trouble.is_none() && shop.forward.live, "{shop:?}");
            return;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "the other capability stands still: {rows:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A column is added: asked about, and carried or left behind as the rules say.
async fn added(engines: [Engine; 2]) {
    let plain = users("", "", "");
    let (mut world, agent, mut busy, mut ddl) = begun(engines, &plain).await;
    // WHEN a column appears, THEN it is asked about, with what to write
    ddl.exec("ALTER TABLE writer ADD COLUMN pinned integer NULL DEFAULT 5").await;
    busy.write().await;
    ddl.exec("UPDATE writer SET pinned = 1 WHERE id > 30").await;
    stands(&agent, &["users.toml:7: ", "column pinned of legacy table writer", "keep_legacy = [\"seen\", \"pinned\"]"]).await;
    busy.write().await;
    shop_goes_on(&world, &busy, &agent).await;
    // AND it goes on when the rules leave it behind
    let kept = users("keep_legacy = [\"seen\", \"pinned\"]", "", "");
    world.rules(&agent, &[("users", &kept), ("shop", SHOP)]);
    goes_on(&mut world, &agent, &mut busy).await;
    // WHEN another appears, AND modern gets it too, THEN it follows by itself, in rows that nobody wrote as well
    ddl.exec("ALTER TABLE writer ADD COLUMN shelf integer NULL DEFAULT 5").await;
    busy.write().await;
    stands(&agent, &["column shelf of legacy table writer", "keep_legacy = [\"seen\", \"pinned\", \"shelf\"]"]).await;
    ddl.exec("UPDATE writer SET shelf = 9 WHERE id > 30").await;
    let mut modern = world.app(Side::Modern).await;
    modern.exec("ALTER TABLE writers ADD COLUMN shelf integer NULL").await;
    goes_on(&mut world, &agent, &mut busy).await;
    let number = "SELECT CAST(count(*) AS char(20)) FROM";
    let of = [&mut ddl, &mut modern];
    for (app, table) in of.into_iter().zip(["writer", "writers"]) {
        let rows = app.rows(&format!("{number} {table} WHERE shelf IS NULL")).await;
        assert_eq!(rows[0][0].as_deref().map(str::trim), Some("0"), "{table}");
    }
    agent.stop().await;
}

/// A mapped column is renamed, dropped, or becomes something else.
async fn taken(engines: [Engine; 2]) {
    let plain = users("", "body = \"body\"", "");
    let (mut world, agent, mut busy, mut ddl) = begun(engines, &plain).await;
    let mut modern = world.app(Side::Modern).await;
    let bodies = "SELECT CAST(count(*) AS char(20)) FROM writers WHERE body IS NULL";
    if engines[0] == Engine::MariaDb {
        // No column of a table of which nothing stays behind is named where it could be in the application's way.
        let named = "SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND ACTION_STATEMENT LIKE '%OLD.%'";
        assert_eq!(ddl.rows(named).await, [[Some("writer".to_owned())]]);
    }
    // WHEN it is renamed, THEN it stands still, and says what it may be called now; no row loses it
    ddl.exec("ALTER TABLE writer RENAME COLUMN body TO story").await;
    stands(&agent, &["legacy table writer has no column body", "write body = \"story\" in [table.columns]"]).await;
    // From here on nothing of the agent's refuses the application.
    ddl.exec("UPDATE writer SET story = 'told' WHERE id > 35").await;
    busy.write().await;
    shop_goes_on(&world, &busy, &agent).await;
    assert_eq!(modern.rows(bodies).await[0][0].as_deref().map(str::trim), Some("0"));
    // AND goes on by the new name
    let renamed = users("", "body = \"story\"", "");
    world.rules(&agent, &[("users", &renamed), ("shop", SHOP)]);
    goes_on(&mut world, &agent, &mut busy).await;
    // WHEN two change places, THEN rows that nobody wrote are right as well
    ddl.exec("ALTER TABLE writer RENAME COLUMN story TO other").await;
    ddl.exec("ALTER TABLE writer RENAME COLUMN name TO story").await;
    ddl.exec("ALTER TABLE writer RENAME COLUMN other TO name").await;
    goes_on(&mut world, &agent, &mut busy).await;
    // WHEN one is gone that follows by its name, THEN that is said as well, and modern keeps what it has
    // What depends on it in PostgreSQL is the fence's trigger; Django says CASCADE as well.
    ddl.exec(if engines[0] == Engine::Postgres {
        "ALTER TABLE writer DROP COLUMN level CASCADE"
    } else {
        "ALTER TABLE writer DROP COLUMN level"
    })
    .await;
    busy.write().await;
    stands(&agent, &["level", "keep_modern = [\"level\"]"]).await;
    shop_goes_on(&world, &busy, &agent).await;
    let levels = "SELECT CAST(count(*) AS char(20)) FROM writers WHERE level IS NOT NULL";
    assert_ne!(modern.rows(levels).await[0][0].as_deref().map(str::trim), Some("0"));
    let without = users("keep_modern = [\"level\"]", "body = \"story\"", "");
    world.rules(&agent, &[("users", &without), ("shop", SHOP)]);
    goes_on(&mut world, &agent, &mut busy).await;
    agent.stop().await;
}

/// A column is taken away while somebody uses the table: that is said, and nobody waits for the agent who waits.
#[tokio::test]
async fn taken_on_mariadb_in_use() {
    let plain = users("", "body = \"body\"", "");
    let (mut world, agent, mut busy, mut ddl) = begun([Engine::MariaDb, Engine::Sqlite], &plain).await;
    let mut beside = world.app(Side::Legacy).await;
    beside.exec("SET SESSION lock_wait_timeout = 1").await;
    let mut holder = world.app(Side::Legacy).await;
    ddl.exec("ALTER TABLE writer RENAME COLUMN body TO story").await;
    holder.exec("BEGIN").await;
    holder.rows("SELECT CAST(count(*) AS char(20)) FROM writer").await;
    // WHEN the agent finds it, and for some of its sessions, THEN reads go on
    stands(&agent, &["legacy table writer has no column body", "write body = \"story\" in [table.columns]"]).await;
    for _ in 0..40 {
        beside.exec("SELECT 1 FROM writer LIMIT 1").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stands(&agent, &["legacy table writer has no column body"]).await;
    // AND when it is in use no more, nothing of the agent's refuses the application
    holder.exec("COMMIT").await;
    let begun = std::time::Instant::now();
    while let Err(why) = ddl.attempt("UPDATE writer SET story = 'told' WHERE id > 35").await {
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "{why}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let renamed = users("", "body = \"story\"", "");
    world.rules(&agent, &[("users", &renamed), ("shop", SHOP)]);
    goes_on(&mut world, &agent, &mut busy).await;
    agent.stop().await;
}

/// PostgreSQL retypes no column that a trigger names. Without the triggers it does; they are made again, and what the log did not
/// tell is compared, also where the type stays what it was.
#[tokio::test]
async fn retyped_on_postgres() {
    for side in Side::BOTH {
        let (mut world, agent, mut busy, _) = begun([Engine::Postgres, Engine::Postgres], &users("", "", "")).await;
        let mut ddl = world.app(side).await;
        let table = if side == Side::Legacy { "writer" } else { "writers" };
        let retype = |what: &str| format!("ALTER TABLE {table} ALTER COLUMN {what}");
        let refused = ddl.attempt(&retype("level TYPE bigint")).await.unwrap_err();
        assert!(refused.contains("used in a trigger definition"), "{refused}");
        let without = format!(
            "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgname LIKE '\\_ficus\\_%' \
             LOOP EXECUTE format('DROP TRIGGER %I ON {table}', name); END LOOP; END $$"
        );
        let triggers = format!("SELECT tgname::text FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal");
        let before = ddl.rows(&triggers).await.len();
        for what in [
            "level TYPE bigint USING level + 1",
            "level TYPE bigint USING level + 1",
            "name TYPE text",
            "body TYPE varchar(200) USING body || '!'",
        ] {
            ddl.exec("BEGIN").await;
            ddl.exec(&without).await;
            ddl.exec(&retype(what)).await;
            ddl.exec("COMMIT").await;
            busy.write().await;
            let begun = std::time::Instant::now();
            while ddl.rows(&triggers).await.len() != before {
                assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{side}, {what}: {:?}", report(&agent).trouble);
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            goes_on(&mut world, &agent, &mut busy).await;
        }
        // What cannot be kept on the other side is said.
        ddl.exec("BEGIN").await;
        ddl.exec(&without).await;
        ddl.exec(&retype("level TYPE jsonb USING to_jsonb(level)")).await;
        ddl.exec("COMMIT").await;
        stands(&agent, &["level"]).await;
        agent.stop().await;
    }
}

/// A table that becomes a partitioned one, or part of one, is refused, and nothing is taken for removed.
#[tokio::test]
async fn partitioned_on_postgres() {
    let (world, agent, mut busy, mut ddl) = begun([Engine::Postgres, Engine::Postgres], &users("", "", "")).await;
    world.settle(&agent, Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    let rows = "SELECT legacy_id::text FROM writers ORDER BY legacy_id";
    let before = modern.rows(rows).await;
    assert!(before.len() > 10);
    ddl.exec("BEGIN").await;
    ddl.exec("ALTER TABLE writer RENAME TO writer_of_long_ago").await;
    ddl.exec("CREATE TABLE writer (LIKE writer_of_long_ago INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY RANGE (id)").await;
    ddl.exec("CREATE TABLE writer_all PARTITION OF writer DEFAULT").await;
    ddl.exec("COMMIT").await;
    busy.write().await;
    stands(&agent, &["table writer is partitioned", "name an ordinary table"]).await;
    assert_eq!(modern.rows(rows).await, before);
    ddl.exec("BEGIN").await;
    ddl.exec("ALTER TABLE writer RENAME TO parts").await;
    ddl.exec("ALTER TABLE writer_of_long_ago RENAME TO writer").await;
    ddl.exec("COMMIT").await;
    until(&agent, "it goes on", |report| report.trouble.is_none() && report.forward.live).await;
    ddl.exec("DROP TABLE parts").await;
    ddl.exec("CREATE TABLE whole (LIKE writer) PARTITION BY LIST (level)").await;
    ddl.exec("ALTER TABLE whole ATTACH PARTITION writer DEFAULT").await;
    stands(&agent, &["table writer is partitioned, a partition", "name an ordinary table"]).await;
    assert!(modern.rows(rows).await.len() >= before.len());
    agent.stop().await;
}

/// A table joins a capability that runs, while all of them are written.
async fn joins(engines: [Engine; 2]) {
    let plain = users("", "", "");
    let (mut world, agent, mut busy, mut ddl) = begun(engines, &plain).await;
    for from in (1..=3_000).step_by(500) {
        let rows: Vec<String> = (from..from + 500).map(|id| format!("({id}, 'book {id}')")).collect();
        ddl.exec(&format!("INSERT INTO book (id, title) VALUES {}", rows.join(", "))).await;
    }
    let more = users("", "", BOOKS);
    world.rules(&agent, &[("users", &more), ("shop", SHOP)]);
    for id in 1..=300 {
        ddl.exec(&format!("UPDATE book SET title = 'changed {id}' WHERE id = {}", id * 10)).await;
        ddl.exec(&format!("DELETE FROM book WHERE id = {}", id * 7)).await;
        ddl.exec(&format!("INSERT INTO book (id, title) VALUES ({}, 'new {id}')", 5_000 + id)).await;
        if id % 50 == 0 {
            busy.write().await;
        }
    }
    goes_on(&mut world, &agent, &mut busy).await;
    let mut modern = world.app(Side::Modern).await;
    let all = |table, key| format!("SELECT title FROM {table} ORDER BY {key}");
    let here = ddl.rows(&all("book", "id")).await;
    assert!(here.len() > 2_500);
    assert!(here == modern.rows(&all("books", "legacy_id")).await, "{engines:?}");
    agent.stop().await;
}

/// A test for each engine as the source; each is a target as well.
macro_rules! sources {
    ($($name:ident),*) => {$(
        mod $name {
            use crate::app::Engine::{MariaDb, Postgres, Sqlite};

            #[tokio::test]
            async fn on_postgres() {
                super::$name([Postgres, MariaDb]).await;
            }

            #[tokio::test]
            async fn on_mariadb() {
                super::$name([MariaDb, Sqlite]).await;
            }

            #[tokio::test]
            async fn on_sqlite() {
                super::$name([Sqlite, Postgres]).await;
            }
        }
    )*};
}
sources!(added, taken, joins, joins_nobody);

/// What would be removed by joining is refused, and is still there.
async fn joins_nobody(engines: [Engine; 2]) {
    let (mut world, agent, _busy, mut ddl) = begun(engines, &users("", "", "")).await;
    ddl.exec("INSERT INTO book (id, title) VALUES (1, 'one')").await;
    let mut modern = world.app(Side::Modern).await;
    let uuid = "6f1d2a7e-0b0c-4c53-9d3e-2a54a3f5b7aa";
    modern.exec(&format!("INSERT INTO books (id, legacy_id, title) VALUES ('{uuid}', 7, 'of modern')")).await;
    let more = users("", "", BOOKS);
    world.rules(&agent, &[("users", &more), ("shop", SHOP)]);
    let says = |report: &CapabilityReport, what: &str| report.trouble.as_ref().is_some_and(|said| said.contains(what));
    until(&agent, "a refusal", |report| says(report, "`books` of users-service has rows already")).await;
    assert_eq!(modern.rows("SELECT title FROM books").await.len(), 1, "{engines:?}");
    world.fence(&agent, Fences { legacy: true, modern: false }, Side::Modern);
    until(&agent, "another refusal", |report| says(report, "cannot join while modern owns")).await;
    assert_eq!(ddl.rows("SELECT title FROM book").await.len(), 1, "{engines:?}");
    agent.stop().await;
}
