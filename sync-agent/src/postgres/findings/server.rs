//! The server, the database and the role.

use ficus_rules::Side;
use ficus_rules::finding::Finding;
use sqlx::{PgConnection, Row};

use crate::port::Wanted;
use crate::postgres::busy::may_end_others;
use crate::postgres::objects::Names;
use crate::postgres::sql;

/// Who asks, and what they may.
pub(super) struct Role {
    /// Quoted.
    pub(super) name: String,
    version: i64,
    /// References and ordinary triggers do not act on what it writes.
    pub(super) silent: bool,
}

impl Role {
    /// What lets it write without references and ordinary triggers acting, and what to do where no statement does.
    pub(super) fn silence(&self, finding: Finding) -> Finding {
        if self.version >= 150_000 {
            finding
                .mend(format!("GRANT SET ON PARAMETER session_replication_role TO {};", self.name))
                .then("as a superuser; it takes effect with the agent's next start")
        } else {
            finding.then("before version 15 only a superuser may switch them off: log in as one, or leave it")
        }
    }
}

pub(super) async fn role(connection: &mut PgConnection) -> Result<Role, sqlx::Error> {
    let query =
        "SELECT current_user::text, current_setting('server_version_num')::int8, current_setting('session_replication_role') = 'replica'";
    let row = sqlx::query(query).fetch_one(connection).await?;
    Ok(Role { name: sql::name(row.try_get(0)?), version: row.try_get(1)?, silent: row.try_get(2)? })
}

const SERVER: &str = "SELECT current_setting('wal_level'), pg_is_in_recovery(), current_database()::text,
      (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user),
      has_database_privilege(current_database(), 'CREATE') OR to_regnamespace('_ficus') IS NOT NULL,
      (SELECT pg_encoding_to_char(encoding)::text FROM pg_catalog.pg_database WHERE datname = current_database()),
      current_setting('max_slot_wal_keep_size'), pg_has_role('pg_read_all_stats', 'USAGE'),
      pg_has_role('pg_signal_backend', 'USAGE')";

pub(super) async fn find(connection: &mut PgConnection, names: &Names, role: &Role, wanted: &Wanted) -> Result<Vec<Finding>, sqlx::Error> {
    let row = sqlx::query(SERVER).fetch_one(&mut *connection).await?;
    let (wal_level, standby, database): (String, bool, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (replicates, creates, encoding): (bool, bool, String) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    let (who, database) = (&role.name, sql::name(&database));
    let mut found = Vec::new();
    if role.version < 140_000 {
        let what = format!("PostgreSQL {} is too old; 14 or newer is needed", role.version / 10_000);
        found.push(Finding::refused("version", what, "what capture rests on is not there").then("upgrade the server"));
    }
    if standby {
        let means = "nothing can be written to it, and slots of it do not survive";
        found.push(Finding::refused("standby", "the server is a standby", means).then("name the primary in ficus.toml"));
    }
    if wal_level != "logical" {
        let what = format!("wal_level is {wal_level}");
        found.push(
            Finding::refused("wal_level", what, "changes cannot be read from its log")
                .mend("ALTER SYSTEM SET wal_level = logical;")
                .then("as a superuser; then restart the server"),
        );
    }
    if !replicates {
        let finding = Finding::refused("role_replication", "the role may not replicate", "changes cannot be read from the log");
        found.push(finding.mend(format!("ALTER ROLE {who} REPLICATION;")));
    }
    if !creates {
        let means = "what Ficus keeps has no place";
        let finding = Finding::refused("role_create", "the role may not create a schema", means);
        found.push(finding.mend(format!("GRANT CREATE ON DATABASE {database} TO {who};")));
    }
    if encoding != "UTF8" {
        let what = format!("the database's encoding is {encoding}");
        let then = "make it anew: pg_dump it, CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and restore it there";
        found.push(Finding::refused("encoding", what, "only UTF8 is carried without loss").then(then));
    }
    if row.try_get::<String, _>(6)? == "-1" {
        found.push(
            Finding::warning(
                "slot_wal_unbounded",
                "max_slot_wal_keep_size is -1",
                "while the agent is away the server keeps its log without an end, until its disk is full",
            )
            .mend("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';")
            .mend("SELECT pg_reload_conf();")
            .then("with a size that your disk can bear"),
        );
    }
    if !role.silent {
        let what = "the role may not switch references and triggers off for what it writes";
        let means = "references are checked at the end of each part, and a row whose parent is missing is set aside until it comes";
        found.push(role.silence(Finding::note("role_enforces", what, means)));
    }
    if !row.try_get::<bool, _>(7)? {
        let means = "who holds up a slot or a cutover cannot be named";
        let finding = Finding::note("role_blind", "the role does not see what transactions of others are open", means);
        found.push(finding.mend(format!("GRANT pg_read_all_stats TO {who};")));
    }
    if wanted.side == Side::Modern && !row.try_get::<bool, _>(8)? {
        let means = "a transaction that the new service leaves open, because it hangs or its machine is gone, keeps a revert waiting until somebody ends it";
        let finding = Finding::note("role_ends_nobody", "the role may not end sessions of others", means);
        found.push(finding.mend(may_end_others(who)));
    }
    found.extend(slots(connection, names, wanted).await?);
    found.extend(transactions(connection).await?);
    Ok(found)
}

const SLOTS: &str = "SELECT current_setting('max_replication_slots')::int8, (SELECT count(*) FROM pg_catalog.pg_replication_slots),
      current_setting('max_wal_senders')::int8, (SELECT count(*) FROM pg_catalog.pg_stat_replication),
      EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),
      EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active),
      EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND (wal_status = 'lost' OR plugin <> 'pgoutput')),
      (SELECT string_agg(quote_ident(slot_name), ', ' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots
        WHERE NOT active AND NOT starts_with(slot_name, 'ficus_'))";

async fn slots(connection: &mut PgConnection, names: &Names, wanted: &Wanted) -> Result<Vec<Finding>, sqlx::Error> {
    let row = sqlx::query(SLOTS).bind(&names.slot).fetch_one(connection).await?;
    let number = |index| row.try_get::<i64, _>(index);
    let (most, used, senders, sending) = (number(0)?, number(1)?, number(2)?, number(3)?);
    let (exists, active, lost): (bool, bool, bool) = (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
    let idle: Option<String> = row.try_get(7)?;
    let together = i64::try_from(wanted.together).unwrap_or(1);
    let mut found = Vec::new();
    if !exists && used >= most {
        let idle = idle.map_or(String::new(), |idle| format!("; nobody reads from {idle}: drop what is left over"));
        found.push(
            Finding::refused("replication_slots", format!("all {most} replication slots are in use"), "each capability needs one")
                .mend(format!("ALTER SYSTEM SET max_replication_slots = {};", used + together))
                .then(format!("as a superuser; then restart the server{idle}")),
        );
    }
    if !active && sending >= senders {
        found.push(
            Finding::refused("wal_senders", format!("all {senders} WAL senders are in use"), "each capability reads the log through one")
                .mend(format!("ALTER SYSTEM SET max_wal_senders = {};", sending + together))
                .then("as a superuser; then restart the server"),
        );
    }
    if lost {
        let means = "the log that it kept is gone: it is made anew at the next start, and everything is compared";
        let mend = format!("SELECT pg_drop_replication_slot({});", sql::text(&names.slot));
        found.push(Finding::warning("slot_lost", format!("the slot {} cannot be read any more", names.slot), means).mend(mend));
    }
    Ok(found)
}

/// A slot waits for transactions that write when it is made, and so does a cutover.
const WRITING: &str = "SELECT pid::int8, extract(epoch FROM clock_timestamp() - xact_start)::int8, coalesce(usename::text, '?'), coalesce(state, '?')
    FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '10 seconds'
    ORDER BY xact_start LIMIT 5";
const PREPARED: &str = "SELECT gid::text, database = current_database() FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 5";

async fn transactions(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let means = "a slot that is made waits for it, and so does a cutover";
    let mut found = Vec::new();
    for row in sqlx::query(WRITING).fetch_all(&mut *connection).await? {
        let (pid, age, user, state): (i64, i64, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let what = format!("a transaction of {user} that has written is open for {age} s (pid {pid}, {state})");
        let finding = Finding::warning("open_transaction", what, means).mend(format!("SELECT pg_terminate_backend({pid});"));
        found.push(finding.then("if nobody needs it; else wait for its end"));
    }
    for row in sqlx::query(PREPARED).fetch_all(&mut *connection).await? {
        let (id, here): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let finding = Finding::warning("prepared_transaction", format!("the transaction {id} is prepared and not committed"), means);
        let finding = finding.mend(format!("ROLLBACK PREPARED {};", sql::text(&id)));
        found.push(if here { finding } else { finding.then("in the database that it was prepared in") });
    }
    Ok(found)
}
