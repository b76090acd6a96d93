//! `/users/{id}/notes/`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bed::{Bed, STAFF, STUDENT};

#[tokio::test]
async fn a_note_is_kept_and_shown() {
    let bed = Bed::start().await;
    assert_eq!(bed.get(STAFF, "/users/42/notes/").await.ok(200), json!({"count": 0, "results": []}));
    let note = bed.write(STAFF, "POST", "/users/42/notes/", &json!({"text": "<b> late again"})).await.ok(201);
    assert_eq!((&note["id"], &note["text"]), (&json!(1), &json!("<b> late again")));
    assert_eq!(note["created_at"].as_str().map(str::len), Some(27));
    assert_eq!(note.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(bed.get(STUDENT, "/users/42/notes/").await.ok(200), json!({"count": 1, "results": [note]}));
    // Python: uuid5(uuid5(NAMESPACE_OID, "ficus/users/accounts_usernote"), "1").
    assert_eq!(bed.string("SELECT id FROM notes").await, "bb73f872-0348-52a7-9112-1d8c9776bb3f");
}

#[tokio::test]
async fn a_note_needs_a_text_and_a_user() {
    let bed = Bed::start().await;
    for body in [json!({}), json!({"text": " "}), json!({"text": 1}), json!({"text": "x", "y": 1})] {
        assert!(bed.write(STAFF, "POST", "/users/42/notes/", &body).await.refused(400)["fields"].is_object());
    }
    bed.write(STAFF, "POST", "/users/77/notes/", &json!({"text": "x"})).await.refused(404);
}

#[tokio::test]
async fn the_last_hundred_are_shown_by_id() {
    let bed = Bed::start().await;
    bed.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 103) \
         INSERT INTO notes SELECT 'note' || i, i, '13658362-b65a-5a64-83c2-c1c8a0e55d46', 'text ' || i, '2026-01-02 03:04:05' FROM n",
    )
    .await;
    let listing = bed.get(STAFF, "/users/42/notes/").await.ok(200);
    let ids: Vec<_> = listing["results"].as_array().expect("results").iter().map(|note| note["id"].as_i64()).collect();
    assert_eq!(listing["count"], 103);
    assert_eq!(ids, (4..=103).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn fifty_posts_at_once_are_fifty_rows() {
    let bed = Arc::new(Bed::start().await);
    let mut posts = JoinSet::new();
    for number in 0..50 {
        let bed = bed.clone();
        posts.spawn(async move {
            let body = json!({"text": format!("note {number}")});
            bed.write(STUDENT, "POST", "/users/42/notes/", &body).await.ok(201)["id"].clone()
        });
    }
    let answered: BTreeSet<_> = posts.join_all().await.iter().filter_map(Value::as_i64).collect();
    assert_eq!(answered, (1..=50).collect());
    assert_eq!(bed.number("SELECT count(DISTINCT legacy_id) FROM notes").await, 50);
    assert_eq!(bed.number("SELECT count(DISTINCT text) FROM notes").await, 50);
}
