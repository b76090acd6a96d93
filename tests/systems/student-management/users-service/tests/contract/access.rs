//! Who may come in, and what an address answers to those who may not.

use serde_json::json;

use crate::bed::{ADMIN, Bed, STAFF, STUDENT, bearer, claims, seconds_from_now, token};

#[tokio::test]
async fn without_a_log_in() {
    let bed = Bed::start().await;
    for path in ["/users/", "/users/me/", "/users/42/", "/users/42/notes/", "/users/42/photo/"] {
        bed.send("GET", path, &[], "").await.refused(401);
    }
    bed.send("DELETE", "/users/me/", &[], "").await.refused(401);
    bed.send("GET", "/users/health/", &[], "").await.ok(200);
    let page = bed.send("GET", "/manage/users/?page=2", &[], "").await;
    assert_eq!((page.status.as_u16(), page.header("location")), (302, "/accounts/login/?next=/manage/users/%3Fpage%3D2"));
}

#[tokio::test]
async fn tokens_that_are_not_good() {
    let bed = Bed::start().await;
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims(STUDENT);
        claims[name] = value;
        token(claims, "first", 7)
    };
    let bad = [
        with("exp", seconds_from_now(-7).into()),
        with("aud", "other".into()),
        with("iss", "other".into()),
        with("sub", "x".into()),
        with("sub", "77".into()),
        with("role", "king".into()),
        token(claims(STUDENT), "first", 8),
        token(claims(STUDENT), "second", 7),
        "Bearer x.y.z".to_owned(),
        "Basic eDp5".to_owned(),
    ];
    for header in bad {
        bed.send("GET", "/users/me/", &[("authorization", &header)], "").await.refused(401);
    }
    let just_expired = with("exp", seconds_from_now(-3).into());
    bed.send("GET", "/users/me/", &[("authorization", &just_expired)], "").await.ok(200);
}

#[tokio::test]
async fn keys_are_fetched_once_and_for_unknown_names_at_most_once_a_second() {
    let bed = Bed::start().await;
    assert_eq!(bed.fetched(), 0);
    for _ in 0..3 {
        bed.get(STUDENT, "/users/me/").await.ok(200);
    }
    assert_eq!(bed.fetched(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for kid in ["a", "b", "c"] {
        let header = token(claims(STUDENT), kid, 7);
        bed.send("GET", "/users/me/", &[("authorization", &header)], "").await.refused(401);
    }
    assert_eq!(bed.fetched(), 2);
}

#[tokio::test]
async fn roles() {
    let bed = Bed::start().await;
    bed.write(STAFF, "POST", "/users/", &json!({})).await.refused(403);
    bed.write(STUDENT, "DELETE", "/users/2/", &json!({})).await.refused(403);
    bed.write(STUDENT, "PATCH", "/users/2/", &json!({})).await.refused(403);
    let page = bed.get(STUDENT, "/manage/users/").await;
    assert_eq!(page.status, 403);
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(bed.form(STAFF, "/manage/users/add/", &[]).await.status, 403);
}

#[tokio::test]
async fn a_user_who_is_switched_off_may_do_nothing() {
    let bed = Bed::start().await;
    bed.write(ADMIN, "PATCH", "/users/42/", &json!({"is_active": false})).await.ok(200);
    bed.get(STUDENT, "/users/me/").await.refused(403);
    assert_eq!(bed.get(STUDENT, "/accounts/profile/").await.status, 403);
}

#[tokio::test]
async fn addresses_without_their_slash() {
    let bed = Bed::start().await;
    for (path, location) in [
        ("/users?page=2", "/api/v1/users/?page=2"),
        ("/users/42/notes", "/api/v1/users/42/notes/"),
        ("/users/me", "/api/v1/users/me/"),
        ("/accounts/profile", "/accounts/profile/"),
        ("/manage/users/add", "/manage/users/add/"),
    ] {
        let answer = bed.send("GET", path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (301, location));
    }
    let told = [("x-ficus-original-path", "/v9/people/42")];
    assert_eq!(bed.send("GET", "/users/42", &told, "").await.header("location"), "/v9/people/42/");
    bed.send("POST", "/users", &[], "").await.refused(404);
}

#[tokio::test]
async fn addresses_and_methods_that_are_not_there() {
    let bed = Bed::start().await;
    for path in ["/nothing/", "/users/x/", "/users/-1/", "/users/99999999999999999999/", "/users/43/", "/users/43/notes/"] {
        bed.get(STUDENT, path).await.refused(404);
    }
    let answer = bed.write(STUDENT, "PUT", "/users/42/", &json!({})).await;
    answer.refused(405);
    assert!(answer.header("allow").contains("PATCH"), "{}", answer.header("allow"));
    bed.write(STUDENT, "DELETE", "/accounts/profile/", &json!({})).await.refused(405);
}

#[tokio::test]
async fn bodies_that_are_not_json_objects() {
    let bed = Bed::start().await;
    for body in ["", "{", "[]", "null", "\"x\"", "{\"email\": \"\\ud800\"}"] {
        let answer = bed.send("PATCH", "/users/42/", &[("authorization", &bearer(STUDENT))], body).await;
        answer.refused(400);
    }
    let huge = format!("{{\"text\": \"{}\"}}", "x".repeat(1024 * 1024));
    bed.send("POST", "/users/42/notes/", &[("authorization", &bearer(STUDENT))], huge).await.refused(413);
}
