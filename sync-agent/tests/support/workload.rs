//! A random writer on one side, from a seed: everything that an application may do to its rows.

use ficus_rules::Side;
use ficus_rules::mapping::uuid_of;
use sqlx::SqliteConnection;

use super::{attempt, exec};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to shuffle work.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// Ids that the workload plays with.
const IDS: u64 = 60;

pub async fn step(connection: &mut SqliteConnection, side: Side, random: &mut Random) {
    match side {
        Side::Legacy => legacy(connection, random).await,
        Side::Modern => modern(connection, random).await,
    }
}

/// Statements may fail on a constraint; then they leave nothing, on purpose.
async fn legacy(connection: &mut SqliteConnection, random: &mut Random) {
    let (id, other, word) = (1 + random.below(IDS), 1 + random.below(IDS), random.next() % 1000);
    let user = |id: u64, name: String| {
        format!(
            "VALUES ({id}, 'p{word}', NULL, 0, '{name}', 'f{word}', 'l', 'e{word}@x', 0, 1, '2026-01-02 03:04:05.{word:06}', {})",
            1 + id % 3
        )
    };
    let sql = match random.below(16) {
        0 | 1 => format!("INSERT INTO accounts_customuser {}", user(id, format!("user{id}"))),
        2 => format!("INSERT OR REPLACE INTO accounts_customuser {}", user(id, format!("user{other}"))),
        3 => format!("INSERT OR IGNORE INTO accounts_customuser {}", user(id, format!("user{other}"))),
        4 => format!(
            "INSERT INTO accounts_customuser {} ON CONFLICT (username) DO UPDATE SET email = excluded.email",
            user(1000 + word, format!("user{other}"))
        ),
        5 | 6 => format!("UPDATE accounts_customuser SET first_name = 'n{word}', user_type = {} WHERE id = {id}", 1 + word % 3),
        7 => format!("UPDATE OR REPLACE accounts_customuser SET username = 'user{other}' WHERE id = {id}"),
        8 => format!("PRAGMA foreign_keys = OFF; UPDATE accounts_usernote SET id = {other} WHERE id = {id}; PRAGMA foreign_keys = ON"),
        9 => format!(
            "BEGIN; UPDATE accounts_customuser SET username = 'swap' WHERE id = {id};
             UPDATE accounts_customuser SET username = (SELECT 'user' || {id} WHERE 1) WHERE id = {other};
             UPDATE accounts_customuser SET username = 'user{other}' WHERE id = {id}; COMMIT"
        ),
        10 => format!(
            "BEGIN; INSERT INTO accounts_usernote (text, created_at, user_id) SELECT 'kept{word}', 'now', id FROM accounts_customuser LIMIT 1;
             SAVEPOINT s; DELETE FROM accounts_usernote; UPDATE accounts_customuser SET email = 'lost'; ROLLBACK TO s; COMMIT"
        ),
        11 => format!(
            "BEGIN; DELETE FROM accounts_usernote WHERE user_id = {id}; DELETE FROM accounts_photo WHERE user_id = {id};
             DELETE FROM accounts_staff WHERE user_id = {id}; DELETE FROM accounts_student WHERE user_id = {id};
             DELETE FROM accounts_customuser WHERE id = {id}; COMMIT"
        ),
        12 => format!(
            "BEGIN; DELETE FROM accounts_student WHERE user_id = {other};
             INSERT OR REPLACE INTO accounts_staff SELECT {id}, 'c', 'u{word}', 'a{word}', id FROM accounts_customuser WHERE id = {other}; COMMIT"
        ),
        13 => format!(
            "BEGIN; DELETE FROM accounts_staff WHERE user_id = {other};
             INSERT OR REPLACE INTO accounts_student SELECT {id}, 'c', 'u', 'g', 'a{word}', {word}, NULL, id FROM accounts_customuser WHERE id = {other}; COMMIT"
        ),
        14 => format!("INSERT OR REPLACE INTO accounts_photo SELECT id, 'image/png', 's', x'00ff{word:04}', 'now' FROM accounts_customuser WHERE id = {id}"),
        _ => format!(
            "INSERT INTO accounts_usernote (text, created_at, user_id)
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
             SELECT 'bulk{word}' || i, 'now', (SELECT min(id) FROM accounts_customuser) FROM n WHERE EXISTS (SELECT 1 FROM accounts_customuser)"
        ),
    };
    run(connection, &sql).await;
}

async fn modern(connection: &mut SqliteConnection, random: &mut Random) {
    let (id, other, word) = (1 + random.below(IDS), 1 + random.below(IDS), random.next() % 1000);
    let user = |id: u64, name: String| {
        let uuid = uuid_of("users", "accounts_customuser", i64::try_from(id).unwrap());
        let role = ["admin", "staff", "student"][usize::try_from(id % 3).unwrap()];
        format!("VALUES ('{uuid}', {id}, '{name}', 'e{word}', 'p', 'g{word}', 'f', '{role}', 1, 0, 0, 'j', 'nick{word}')")
    };
    let note = uuid_of("users", "accounts_usernote", i64::try_from(id).unwrap());
    let staff = uuid_of("users", "accounts_staff", i64::try_from(id).unwrap());
    let sql = match random.below(10) {
        0 | 1 => format!("INSERT INTO users {}", user(id, format!("user{id}"))),
        2 => format!("INSERT OR REPLACE INTO users {}", user(id, format!("user{other}"))),
        3 => format!("UPDATE users SET given_name = 'n{word}', role = 'staff' WHERE legacy_id = {id}"),
        4 => format!("UPDATE OR REPLACE users SET username = 'user{other}' WHERE legacy_id = {id}"),
        5 => format!("DELETE FROM users WHERE legacy_id = {id}"),
        6 => format!("INSERT OR REPLACE INTO notes SELECT '{note}', {id}, id, 't{word}', 'c' FROM users WHERE legacy_id = {other}"),
        7 => format!(
            "INSERT OR REPLACE INTO profiles SELECT '{staff}', 'staff', {id}, id, 'a{word}', NULL, NULL, NULL, 'c', 'u' FROM users WHERE legacy_id = {other}"
        ),
        8 => format!("DELETE FROM profiles WHERE legacy_id = {id}"),
        _ => format!("INSERT OR REPLACE INTO photos SELECT id, {id}, 't', 's', x'00{word:04}', 'u' FROM users WHERE legacy_id = {id}"),
    };
    run(connection, &sql).await;
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    if let Err(error) = attempt(connection, sql).await {
        assert!(error.to_string().contains("constraint"), "{error}: {sql}");
        if sql.starts_with("BEGIN") {
            exec(connection, "ROLLBACK").await;
        }
        exec(connection, "PRAGMA foreign_keys = ON").await;
    }
}
