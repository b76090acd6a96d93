//! Writes that are only rehearsed: answered as if they were made, and not made, also where a fence refuses every write.

use serde_json::{Value, json};

use crate::bed::{ADMIN, Answer, Bed, STAFF, STUDENT, bearer};

/// Everything that a write could change.
const ROWS: &str = "SELECT (SELECT group_concat(id || legacy_id || username || email || given_name || family_name || is_active) FROM users) \
    || (SELECT group_concat(id || user_id || coalesce(address, '') || coalesce(gender, '') || updated_at) FROM profiles) \
    || (SELECT count(*) FROM notes) || (SELECT count(*) FROM photos) || (SELECT group_concat(name || seq) FROM sqlite_sequence)";

async fn rehearse(bed: &Bed, as_user: i64, method: &str, path: &str, body: &Value) -> Answer {
    let answer = bed.send(method, path, &[("authorization", &bearer(as_user)), ("x-ficus-dry-run", "1")], body.to_string()).await;
    assert_eq!(answer.header("x-ficus-dry-run"), "1", "{}", answer.text());
    answer
}

#[tokio::test]
async fn a_rehearsal_answers_as_the_write_would_and_leaves_nothing() {
    let bed = Bed::start().await;
    let before = bed.string(ROWS).await;
    let new = json!({"username": "ada", "password": "correct horse", "role": "student", "address": "2 Low St", "gender": "female"});
    // The same, twice: the first one left no name behind, and no number.
    for _ in 0..2 {
        let user = rehearse(&bed, ADMIN, "POST", "/users/", &new).await.ok(201);
        assert_eq!((&user["id"], &user["username"], &user["profile"]["address"]), (&json!(43), &json!("ada"), &json!("2 Low St")));
    }
    let changed = rehearse(&bed, STUDENT, "PATCH", "/users/42/", &json!({"first_name": "Eve", "address": "3 Mid St"})).await.ok(200);
    assert_eq!((&changed["first_name"], &changed["last_name"]), (&json!("Eve"), &json!("Ray")));
    assert_eq!(rehearse(&bed, STAFF, "POST", "/users/42/notes/", &json!({"text": "late"})).await.ok(201)["id"], 1);
    assert_eq!(rehearse(&bed, ADMIN, "DELETE", "/users/42/", &Value::Null).await.status.as_u16(), 204);
    let taken = json!({"username": "student42", "password": "correct horse", "role": "student"});
    rehearse(&bed, ADMIN, "POST", "/users/", &taken).await.refused(409);
    rehearse(&bed, STUDENT, "POST", "/users/", &new).await.refused(403);
    assert_eq!(bed.string(ROWS).await, before);
    let real = bed.write(ADMIN, "POST", "/users/", &new).await;
    assert_eq!((real.header("x-ficus-dry-run"), &real.ok(201)["id"]), ("", &json!(43)), "a write is none");
    assert_ne!(bed.string(ROWS).await, before, "what is compared would show one");
}

#[tokio::test]
async fn a_rehearsal_passes_the_fence_because_it_writes_nothing() {
    let bed = Bed::start().await;
    bed.run(
        "CREATE TRIGGER _ficus_fence_users BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'ficus: writes are held'); END; \
         CREATE TRIGGER _ficus_fence_seq BEFORE INSERT ON seq_users BEGIN SELECT RAISE(ABORT, 'ficus: writes are held'); END; \
         DELETE FROM seq_users; UPDATE sqlite_sequence SET seq = 0 WHERE name = 'seq_users'",
    )
    .await;
    bed.write(STUDENT, "PATCH", "/users/42/", &json!({"first_name": "Eve"})).await.refused(503);
    assert_eq!(rehearse(&bed, STUDENT, "PATCH", "/users/42/", &json!({"first_name": "Eve"})).await.ok(200)["first_name"], "Eve");
    // As before a switch: the sequences stand behind the rows.
    let new = json!({"username": "late", "password": "x", "role": "staff"});
    assert_eq!(rehearse(&bed, ADMIN, "POST", "/users/", &new).await.ok(201)["id"], 43);
}
