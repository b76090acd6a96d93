//! `/users/{id}/photo/`.

use serde_json::json;

use crate::bed::{ADMIN, Answer, Bed, STAFF, STUDENT, bearer};

async fn upload(bed: &Bed, as_user: i64, field: &str, content_type: &str, data: &[u8]) -> Answer {
    let mut body = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"me.png\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(data);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    let headers = [("authorization", bearer(as_user)), ("content-type", "multipart/form-data; boundary=frontier".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bed.send("POST", "/users/42/photo/", &headers, body).await
}

#[tokio::test]
async fn a_photo_comes_back_as_it_was() {
    let bed = Bed::start().await;
    bed.get(STAFF, "/users/42/photo/").await.refused(404);
    // Python: hashlib.sha256(b"picture").hexdigest().
    let sha256 = "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97";
    let uploaded = upload(&bed, STUDENT, "photo", "image/png", b"picture").await.ok(201);
    assert_eq!(uploaded, json!({"content_type": "image/png", "size": 7, "sha256": sha256}));
    let photo = bed.get(STAFF, "/users/42/photo/").await;
    assert_eq!((photo.status.as_u16(), &photo.body[..]), (200, &b"picture"[..]));
    assert_eq!(photo.header("content-type"), "image/png");
    assert_eq!(photo.header("etag"), format!("\"{sha256}\""));
    let known = [("authorization", bearer(STAFF)), ("if-none-match", format!("W/\"x\", \"{sha256}\""))];
    let known: Vec<_> = known.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(bed.send("GET", "/users/42/photo/", &known, "").await.status, 304);
}

#[tokio::test]
async fn a_new_photo_takes_the_place_of_the_old() {
    let bed = Bed::start().await;
    upload(&bed, STUDENT, "photo", "image/png", b"one").await.ok(201);
    upload(&bed, ADMIN, "photo", "image/jpeg", b"two").await.ok(201);
    let photo = bed.get(STAFF, "/users/42/photo/").await;
    assert_eq!((photo.header("content-type"), &photo.body[..]), ("image/jpeg", &b"two"[..]));
    assert_eq!(bed.number("SELECT legacy_id FROM photos").await, 42);
}

#[tokio::test]
async fn photos_that_are_not_taken() {
    let bed = Bed::start().await;
    upload(&bed, STAFF, "photo", "image/png", b"x").await.refused(403);
    upload(&bed, STUDENT, "other", "image/png", b"x").await.refused(400);
    upload(&bed, STUDENT, "photo", "text/html", b"x").await.refused(400);
    bed.write(STUDENT, "POST", "/users/42/photo/", &json!({})).await.refused(400);
    let limit = 8 * 1024 * 1024;
    upload(&bed, STUDENT, "photo", "image/png", &vec![1; limit + 1]).await.refused(413);
    assert_eq!(upload(&bed, STUDENT, "photo", "image/png", &vec![1; limit]).await.ok(201)["size"], limit);
}
