//! `/users/` and `/users/{id}/`.

use serde_json::{Value, json};

use crate::bed::{ADMIN, Bed, STAFF, STUDENT};

fn student42() -> Value {
    json!({"id": 42, "username": "student42", "email": "s42@example.test", "first_name": "Ada", "last_name": "Ray",
        "role": "student", "is_active": true, "date_joined": "2026-01-02T03:04:05.000006Z",
        "profile": {"address": "1 High St", "gender": "female", "course_id": 3, "session_year_id": 1}})
}

#[tokio::test]
async fn a_user_has_the_shape_of_the_contract() {
    let bed = Bed::start().await;
    assert_eq!(bed.get(STAFF, "/users/42/").await.ok(200), student42());
    assert_eq!(bed.get(STUDENT, "/users/me/").await.ok(200), student42());
    let head = bed.get(STAFF, "/users/1/").await.ok(200);
    assert_eq!(head["date_joined"], "2026-01-02T03:04:05.000000Z");
    let empty = json!({"address": "", "gender": null, "course_id": null, "session_year_id": null});
    assert_eq!(head["profile"], empty);
    assert_eq!(bed.get(STAFF, "/users/2/").await.ok(200)["profile"], Value::Null);
}

#[tokio::test]
async fn listing() {
    let bed = Bed::start().await;
    let all = bed.get(STAFF, "/users/").await.ok(200);
    assert_eq!((&all["count"], &all["page"], &all["page_size"]), (&json!(3), &json!(1), &json!(50)));
    assert_eq!(all["results"][2], student42());
    let second = bed.get(STAFF, "/users/?page=2&page_size=2&role=&q=").await.ok(200);
    assert_eq!(second, json!({"count": 3, "page": 2, "page_size": 2, "results": [student42()]}));
    assert_eq!(bed.get(STAFF, "/users/?page=9").await.ok(200)["results"], json!([]));
    assert_eq!(bed.get(STAFF, "/users/?page_size=500").await.ok(200)["page_size"], 200);
    assert_eq!(bed.get(STAFF, "/users/?role=admin").await.ok(200)["count"], 1);
    assert_eq!(bed.get(STAFF, "/users/?q=STUD").await.ok(200)["count"], 1);
    for (prefix, count) in [("stu_ent", 0), ("%25", 0), ("tudent", 0), ("%5C", 0)] {
        assert_eq!(bed.get(STAFF, &format!("/users/?q={prefix}")).await.ok(200)["count"], count, "{prefix}");
    }
    for query in ["page=0", "page=x", "page=-1", "page_size=0", "page=9999999999", "role=king"] {
        bed.get(STAFF, &format!("/users/?{query}")).await.refused(400);
    }
}

#[tokio::test]
async fn a_new_user_gets_the_next_numbers_and_their_uuids() {
    let bed = Bed::start().await;
    let new = json!({"username": "ada.ray+1@x", "password": "correct horse é", "role": "student", "email": "ada@example.test",
        "first_name": "Ada", "address": "2 Low St", "gender": "female", "course_id": 5, "session_year_id": null});
    let user = bed.write(ADMIN, "POST", "/users/", &new).await.ok(201);
    assert_eq!((&user["id"], &user["is_active"], &user["last_name"]), (&json!(43), &json!(true), &json!("")));
    let profile = json!({"address": "2 Low St", "gender": "female", "course_id": 5, "session_year_id": null});
    assert_eq!(user["profile"], profile);
    assert_eq!(bed.get(STAFF, "/users/43/").await.ok(200), user);
    let joined = user["date_joined"].as_str().expect("a time");
    assert!(joined.len() == 27 && joined.ends_with('Z') && joined.contains('T'), "{joined}");

    // Python: uuid5(uuid5(NAMESPACE_OID, "ficus/users/accounts_customuser"), "43"), and accounts_student, "8".
    assert_eq!(bed.string("SELECT id FROM users WHERE legacy_id = 43").await, "f9fca6e6-56f3-5e0a-ace2-50d11b3673ff");
    assert_eq!(
        bed.string("SELECT id FROM profiles WHERE kind = 'student' AND legacy_id = 8").await,
        "082369ff-96cd-55ff-b39b-26168f4bcf45"
    );
    assert_eq!(bed.number("SELECT is_staff + is_superuser FROM users WHERE legacy_id = 43").await, 0);
    let password = bed.string("SELECT password FROM users WHERE legacy_id = 43").await;
    let parts: Vec<_> = password.split('$').collect();
    assert_eq!((parts[0], parts[1], parts[2].len(), parts[3].len()), ("pbkdf2_sha256", "1000", 22, 44));
}

#[tokio::test]
async fn the_profile_of_a_new_user_is_that_of_its_role() {
    let bed = Bed::start().await;
    for (role, name, gender) in [("admin", "a1", Value::Null), ("staff", "t1", Value::Null), ("student", "s1", json!(""))] {
        let new = json!({"username": name, "password": "x", "role": role});
        let user = bed.write(ADMIN, "POST", "/users/", &new).await.ok(201);
        let profile = json!({"address": "", "gender": gender, "course_id": null, "session_year_id": null});
        assert_eq!(user["profile"], profile, "{role}");
    }
    let wrong = json!({"username": "t2", "password": "x", "role": "staff", "course_id": 3});
    let answer = bed.write(ADMIN, "POST", "/users/", &wrong).await.refused(400);
    assert!(answer["fields"]["course_id"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_new_user_that_is_not_valid() {
    let bed = Bed::start().await;
    let wrong = json!({"username": "a b", "role": "king", "email": "x", "first_name": "x".repeat(151), "course_id": "3", "x": 1});
    let answer = bed.write(ADMIN, "POST", "/users/", &wrong).await.refused(400);
    let fields: Vec<_> = answer["fields"].as_object().expect("fields").keys().map(String::as_str).collect();
    assert_eq!(fields, ["course_id", "email", "first_name", "password", "role", "username", "x"]);

    let taken = json!({"username": "student42", "password": "x", "role": "student"});
    bed.write(ADMIN, "POST", "/users/", &taken).await.refused(409);
    let next = json!({"username": "student43", "password": "x", "role": "student"});
    assert_eq!(bed.write(ADMIN, "POST", "/users/", &next).await.ok(201)["id"], 43);
}

#[tokio::test]
async fn changes() {
    let bed = Bed::start().await;
    let change = json!({"email": "", "first_name": "Augusta", "last_name": "King", "address": "3 Mid St", "gender": "f"});
    let user = bed.write(STUDENT, "PATCH", "/users/42/", &change).await.ok(200);
    assert_eq!((&user["email"], &user["first_name"], &user["last_name"]), (&json!(""), &json!("Augusta"), &json!("King")));
    let profile = json!({"address": "3 Mid St", "gender": "f", "course_id": 3, "session_year_id": 1});
    assert_eq!(user["profile"], profile);
    assert_eq!(bed.number("SELECT count(*) FROM profiles WHERE updated_at > created_at").await, 1);
    assert_eq!(bed.write(STUDENT, "PATCH", "/users/42/", &json!({})).await.ok(200), user);

    for (name, value) in [("username", json!("x")), ("email", json!(7)), ("gender", json!(null)), ("first_name", json!("\0"))] {
        let answer = bed.write(STUDENT, "PATCH", "/users/42/", &json!({name: value})).await.refused(400);
        assert!(answer["fields"][name].is_string(), "{answer}");
    }
    bed.write(STUDENT, "PATCH", "/users/42/", &json!({"is_active": true})).await.refused(403);
    bed.write(ADMIN, "PATCH", "/users/42/", &json!({"is_active": 1})).await.refused(400);
    bed.write(ADMIN, "PATCH", "/users/1/", &json!({"address": "x"})).await.refused(400);
    bed.write(ADMIN, "PATCH", "/users/77/", &json!({})).await.refused(404);
}

#[tokio::test]
async fn deletion_takes_everything_along() {
    let bed = Bed::start().await;
    bed.write(STUDENT, "POST", "/users/42/notes/", &json!({"text": "x"})).await.ok(201);
    bed.run("INSERT INTO photos VALUES ('13658362-b65a-5a64-83c2-c1c8a0e55d46', 42, 'image/png', 'x', x'00', '2026-01-02 03:04:05')").await;
    let answer = bed.write(ADMIN, "DELETE", "/users/42/", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    for count in [
        "SELECT count(*) FROM users WHERE legacy_id = 42",
        "SELECT count(*) FROM profiles WHERE kind = 'student'",
        "SELECT count(*) FROM notes",
        "SELECT count(*) FROM photos",
    ] {
        assert_eq!(bed.number(count).await, 0, "{count}");
    }
    bed.write(ADMIN, "DELETE", "/users/42/", &json!({})).await.refused(404);
    bed.get(STUDENT, "/users/me/").await.refused(401);
}
