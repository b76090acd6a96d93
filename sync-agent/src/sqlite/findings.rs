//! What stands in a capability's way in a SQLite file, all of it at once, each with the statement that mends it. Changes
//! nothing: whether the file can be written is tried with a transaction that is rolled back.

use std::path::Path;

use ficus_rules::finding::Finding;
use ficus_rules::mapping::Value;

use super::{File, schema, sql};
use crate::error::Error;
use crate::port::Wanted;

/// Less than this is too little whatever the size of the file.
const LEAST_FREE: u64 = 64 << 20;

/// Finds everything.
pub(super) async fn find(file: &File, wanted: &Wanted) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    let mut connection = file.read.acquire().await.map_err(|e| file.failed(e))?;
    let ask = sql::one(&mut connection, "PRAGMA journal_mode", &[]).await.map_err(|e| file.failed(e))?;
    if let Some(Value::Text(mode)) = ask.filter(|mode| *mode != Value::Text("wal".to_owned())) {
        let means = "the agent does not start: whoever reads would keep others from writing, and the application meet a locked database";
        found.push(Finding::refused("journal_mode", format!("the journal mode is {mode}"), means).mend("PRAGMA journal_mode = WAL;"));
    }
    let means = "who writes past the gateway while a fence is up sees the error, and nobody else does: it is neither counted nor named";
    found.push(
        Finding::note("strays_unseen", "SQLite keeps nothing of a statement that a trigger refuses", means)
            .then("look into the logs of cron jobs, task queues and shells that write to the file"),
    );
    for name in wanted.names() {
        let trigger =
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 AND substr(name, 1, 7) <> '_ficus_' ORDER BY name";
        for row in sql::all(&mut connection, trigger, &[Value::Text(name.clone())]).await.map_err(|e| file.failed(e))? {
            let [Value::Text(trigger)] = row.as_slice() else { continue };
            let means = "what it does has been done on the other side already, and is done twice, or refuses a row";
            let what = format!("the trigger {trigger} of table {name} fires for rows that the agent writes");
            found.push(
                Finding::warning("trigger_of_others", what, means).table(&name).mend(format!("DROP TRIGGER {};", sql::name(trigger))),
            );
        }
        let known = schema::tables(&mut connection, std::iter::once(&name)).await.map_err(|e| file.failed(e))?.remove(&name);
        for unique in known.iter().flat_map(|table| &table.unique).filter(|unique| unique.names().is_none()) {
            let what = format!("the unique index {} of table {name} is on an expression", unique.index);
            let finding = Finding::refused("unique_expression", what, "capture cannot follow it through a REPLACE").table(&name);
            found.push(finding.mend(format!("DROP INDEX {};", sql::name(&unique.index))).then("and make one on columns"));
        }
    }
    let path = sql::one(&mut connection, "SELECT file FROM pragma_database_list WHERE name = 'main'", &[]).await;
    drop(connection);
    if let Some(Value::Text(path)) = path.map_err(|e| file.failed(e))? {
        found.extend(space(Path::new(&path)));
    }
    if let Some(table) = wanted.tables.first() {
        found.extend(writable(file, &table.table).await);
    }
    Ok(found)
}

/// Takes the write lock, and gives it back. A file that is read only does not say so before a statement would write.
async fn writable(file: &File, table: &str) -> Option<Finding> {
    let tried = async {
        let mut tx = file.write.begin_with("BEGIN IMMEDIATE").await?;
        let done = sql::run(&mut tx, &format!("DELETE FROM {} WHERE 0", sql::name(table))).await;
        tx.rollback().await?;
        done
    };
    let tried = tried.await;
    let error = tried.err()?;
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let code: u32 = code.and_then(|code| code.parse().ok()).unwrap_or(0);
    Some(match code & 0xff {
        // No such table: the rule file is wrong, not the file.
        1 => return None,
        5 | 6 => Finding::warning(
            "busy",
            "somebody has held the write lock for longer than ten seconds",
            "the agent waits for it like everybody else, and a cutover with it",
        )
        .then("look which process writes, and make its transactions shorter"),
        _ => Finding::refused("read_only", format!("the file cannot be written ({error})"), "Ficus keeps its log and its marks in it")
            .then("let the agent's user write to the file and to its directory"),
    })
}

/// Whether there is room for the log, and for a copy of the size of what is there.
fn space(path: &Path) -> Option<Finding> {
    let size = std::fs::metadata(path).ok()?.len();
    let disk = rustix::fs::statvfs(path).ok()?;
    scarce(size, disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn scarce(size: u64, free: u64) -> Option<Finding> {
    let needed = size.max(LEAST_FREE);
    let mib = |bytes: u64| bytes >> 20;
    (free < needed).then(|| {
        let what = format!("{} MiB are free on its disk", mib(free));
        Finding::warning("disk", what, format!("a first copy may need as much as the file has now, {} MiB", mib(needed)))
            .then("free some, or move the file to a larger disk")
    })
}

#[cfg(test)]
mod tests {
    use super::scarce;

    #[test]
    fn there_has_to_be_room_for_a_copy() {
        assert!(scarce(500 << 20, 400 << 20).is_some_and(|found| found.what.contains("400 MiB")));
        assert!(scarce(1 << 20, 10 << 20).is_some());
        assert_eq!(scarce(500 << 20, 600 << 20), None);
    }
}
