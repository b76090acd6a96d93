//! The HTML pages.

use crate::bed::{ADMIN, Bed, STUDENT, bearer};

const STUDENT_PROFILE: [(&str, &str); 4] =
    [("first_name", "Augusta"), ("last_name", "King"), ("email", "a@example.test"), ("address", "4 New St")];

#[tokio::test]
async fn a_form_has_the_token_of_the_cookie() {
    let bed = Bed::start().await;
    let token = "Zz9".repeat(10) + "ab";
    let headers = [("authorization", bearer(STUDENT)), ("cookie", format!("a=b; csrftoken={token}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = bed.send("GET", "/accounts/profile/", &headers, "").await;
    assert!(page.text().contains(&format!("name=\"csrfmiddlewaretoken\" value=\"{token}\"")));
    assert_eq!(page.header("set-cookie"), "");
    for name in ["first_name", "last_name", "email", "address"] {
        assert!(page.text().contains(&format!("name=\"{name}\"")), "{name}");
    }
    assert!(page.text().contains("value=\"Ada\"") && page.text().contains("1 High St"));
}

#[tokio::test]
async fn without_a_cookie_one_is_set() {
    let bed = Bed::start().await;
    let page = bed.get(STUDENT, "/accounts/profile/").await;
    let cookie = page.header("set-cookie").to_owned();
    let (token, attributes) = cookie["csrftoken=".len()..].split_once(';').expect("attributes");
    assert_eq!((token.len(), attributes), (32, " Path=/; SameSite=Lax; Max-Age=31449600"));
    assert!(page.text().contains(&format!("value=\"{token}\"")));
}

#[tokio::test]
async fn the_own_profile_is_saved() {
    let bed = Bed::start().await;
    let answer = bed.form(STUDENT, "/accounts/profile/", &STUDENT_PROFILE).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "/accounts/profile/"));
    let user = bed.get(STUDENT, "/users/me/").await.ok(200);
    assert_eq!((user["first_name"].as_str(), user["profile"]["address"].as_str()), (Some("Augusta"), Some("4 New St")));
    assert_eq!(user["profile"]["gender"], "female");
    assert_eq!(bed.form(ADMIN, "/accounts/profile/", &STUDENT_PROFILE).await.status, 302);
}

#[tokio::test]
async fn errors_stand_in_the_form_and_everything_is_escaped() {
    let bed = Bed::start().await;
    let fields = [("first_name", "<script>\"'&"), ("email", "not one")];
    let page = bed.form(STUDENT, "/accounts/profile/", &fields).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("This is not an e-mail address."));
    assert!(page.text().contains("value=\"&lt;script&gt;&quot;&#x27;&amp;\"") && !page.text().contains("<script>"));
    assert_eq!(bed.get(STUDENT, "/users/me/").await.ok(200)["first_name"], "Ada");
}

#[tokio::test]
async fn the_table_of_users_has_fifty_a_page() {
    let bed = Bed::start().await;
    bed.run(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 150) INSERT INTO users \
         SELECT 'u' || i, i, 'x<' || i, '', 'x', '', '', 'student', 1, 0, 0, '2026-01-02 03:04:05' FROM n",
    )
    .await;
    let first = bed.get(ADMIN, "/manage/users/").await.text();
    assert_eq!(first.matches("<tr><td>").count(), 50);
    assert!(first.contains("<td>student42</td>") && first.contains("<td>x&lt;100</td>") && first.contains("?page=2"));
    let second = bed.get(ADMIN, "/manage/users/?page=2").await.text();
    assert_eq!(second.matches("<tr><td>").count(), 4);
}

#[tokio::test]
async fn a_user_is_added() {
    let bed = Bed::start().await;
    let mut fields = [
        ("username", "new1"),
        ("email", "n@example.test"),
        ("first_name", "N"),
        ("last_name", "Ew"),
        ("role", "staff"),
        ("password", " secret "),
    ];
    let page = bed.get(ADMIN, "/manage/users/add/").await.text();
    for (name, _) in fields {
        assert!(page.contains(&format!("name=\"{name}\"")), "{name}");
    }
    let answer = bed.form(ADMIN, "/manage/users/add/", &fields).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "/manage/users/"));
    assert_eq!(bed.get(ADMIN, "/users/43/").await.ok(200)["role"], "staff");
    assert_eq!(bed.number("SELECT count(*) FROM profiles WHERE kind = 'staff'").await, 1);

    let again = bed.form(ADMIN, "/manage/users/add/", &fields).await;
    assert_eq!(again.status, 200);
    assert!(again.text().contains("The user name is taken.") && !again.text().contains("secret"));
    fields[5].1 = "";
    fields[0].1 = "new2";
    assert!(bed.form(ADMIN, "/manage/users/add/", &fields).await.text().contains("This field is required."));
}
