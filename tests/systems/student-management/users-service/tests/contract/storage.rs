//! The database as others see it: fences, other people's tables, constraints.

use serde_json::json;
use users_service::schema;
use users_service::store::Database;

use crate::bed::{ADMIN, Bed, STAFF, STUDENT};

#[tokio::test]
async fn a_fence_is_a_503_and_leaves_nothing_behind() {
    let bed = Bed::start().await;
    bed.run(
        "CREATE TRIGGER _ficus_fence_notes BEFORE INSERT ON notes \
         BEGIN SELECT RAISE(ABORT, 'ficus: writes are held'); END; \
         CREATE TRIGGER _ficus_fence_users BEFORE UPDATE ON users \
         BEGIN SELECT RAISE(ABORT, 'ficus: writes are held'); END",
    )
    .await;
    let answer = bed.write(STAFF, "POST", "/users/42/notes/", &json!({"text": "x"})).await;
    assert_eq!(answer.refused(503)["detail"], "ficus: writes are held");
    assert_eq!(answer.header("retry-after"), "1");
    let page = bed.form(STUDENT, "/accounts/profile/", &[("first_name", "x")]).await;
    page.refused(503);
    assert_eq!(page.header("retry-after"), "1");
    bed.get(STAFF, "/users/42/notes/").await.ok(200);

    bed.run("DROP TRIGGER _ficus_fence_notes").await;
    assert_eq!(bed.write(STAFF, "POST", "/users/42/notes/", &json!({"text": "x"})).await.ok(201)["id"], 1);
}

#[tokio::test]
async fn another_trigger_that_refuses_is_a_fault() {
    let bed = Bed::start().await;
    bed.run("CREATE TRIGGER other BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'not ficus: x'); END").await;
    let answer = bed.write(STAFF, "POST", "/users/42/notes/", &json!({"text": "x"})).await;
    assert_eq!(answer.refused(500)["detail"], "Internal error.");
}

#[tokio::test]
async fn a_number_that_is_taken_already_overwrites_nothing() {
    let bed = Bed::start().await;
    bed.run("DELETE FROM seq_users; UPDATE sqlite_sequence SET seq = 41 WHERE name = 'seq_users'").await;
    let new = json!({"username": "late", "password": "x", "role": "staff"});
    bed.write(ADMIN, "POST", "/users/", &new).await.refused(500);
    assert_eq!(bed.string("SELECT username FROM users WHERE legacy_id = 42").await, "student42");
}

#[tokio::test]
async fn the_schema_leaves_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = format!("sqlite://{}/users.sqlite3", folder.path().display()).parse().expect("a URL");
    let database = Database::open(&options).await.expect("opens");
    schema::apply(&database).await.expect("applies");
    let mut write = database.write().await.expect("begins");
    let foreign = "CREATE TABLE _ficus_changes (id INTEGER PRIMARY KEY, what TEXT); \
        CREATE TRIGGER _ficus_notes AFTER INSERT ON notes BEGIN INSERT INTO _ficus_changes (what) VALUES (new.text); END;";
    sqlx::raw_sql(foreign).execute(&mut *write).await.expect("runs");
    sqlx::raw_sql(include_str!("people.sql")).execute(&mut *write).await.expect("runs");
    write.commit().await.expect("commits");

    let objects = "SELECT group_concat(name || coalesce(sql, ''), ';') FROM (SELECT * FROM sqlite_master ORDER BY name)";
    let mut read = database.read().await.expect("connects");
    let before: String = sqlx::query_scalar(objects).fetch_one(&mut *read).await.expect("a text");
    schema::apply(&database).await.expect("applies again");
    let after: String = sqlx::query_scalar(objects).fetch_one(&mut *read).await.expect("a text");
    assert_eq!(before, after);
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *read).await.expect("a number");
    assert_eq!(users, 3);
}

#[tokio::test]
async fn foreign_keys_hold() {
    let bed = Bed::start().await;
    let orphan = sqlx::raw_sql("INSERT INTO notes VALUES ('n', 1, 'nobody', 'x', '2026-01-02 03:04:05')");
    assert!(orphan.execute(&bed.pool).await.is_err());
    let parent = sqlx::raw_sql("DELETE FROM users WHERE legacy_id = 42");
    assert!(parent.execute(&bed.pool).await.is_err());
}
