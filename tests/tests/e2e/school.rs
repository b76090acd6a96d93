//! What the people of the school do keeps working through the gateway, whoever owns the users.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::Directory;
use super::kills::{objects_of_ficus, soak_no_longer, until_accepted, until_nothing_is_left};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_school_works_on_both_sides_and_back() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan::default()).await?;
    let operator = world.operator()?;
    let mut staff = Caller::log_in(world.http(), "staff1", PASSWORD).await?;
    let mut admin = Caller::log_in(world.http(), "admin1", PASSWORD).await?;

    a_day(&world, &mut staff, &mut admin, "legacy", 1).await.context("on the monolith")?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", PATIENCE).await?;
    a_broken_rule_file(&world).await.context("while shadowing")?;
    until_accepted(&operator, "cutover").await?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    a_day(&world, &mut staff, &mut admin, "modern", 2).await.context("on the service")?;
    a_broken_rule_file(&world).await.context("while soaking")?;
    operator.type_in(&["revert", "users"]).await?;
    operator.until_phase("users", "reverted", PATIENCE).await?;
    a_day(&world, &mut staff, &mut admin, "legacy", 3).await.context("back on the monolith")?;
    a_log_out_is_one_on_both_sides(&world, &mut staff).await?;
    the_monolith_part_ends(&world).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Log-in, HTML form with CSRF, JSON, upload, redirect, admin.
async fn a_day(world: &World, staff: &mut Caller, admin: &mut Caller, side: &str, day: u32) -> Result<()> {
    let me = format!("/api/v1/users/{}/", staff.id);

    let page = staff.get("/accounts/profile/").await?;
    ensure!(
        page.status == StatusCode::OK && page.header("x-ficus-side") == Some(side),
        "the profile page: {} {:?}",
        page.status,
        page.headers
    );
    let address = format!("{day} Form Street");
    let fields = [("first_name", "Ada"), ("last_name", "Ray"), ("email", "ada@example.test"), ("address", address.as_str())];
    let posted = staff.submit("/accounts/profile/", &page, &fields).await?;
    ensure!(posted.status == StatusCode::FOUND, "the form: {} {}", posted.status, posted.text());
    ensure!(posted.header("x-ficus-side") == Some(side), "the form was answered by {:?}", posted.header("x-ficus-side"));
    ensure!(posted.header("location") == Some("/accounts/profile/"), "redirected to {:?}", posted.header("location"));
    let seen = staff.get(&me).await?.json()?;
    ensure!(seen["profile"]["address"] == json!(address), "{seen}");

    let forged = staff.send(Method::PATCH, &me, &[("content-type", "application/json")], r#"{"address": "forged"}"#.into()).await?;
    ensure!(forged.status == StatusCode::FORBIDDEN, "a write without a CSRF token: {} {}", forged.status, forged.text());
    let foreign = [("content-type", "application/json"), ("x-csrftoken", "x"), ("origin", "https://evil.example")];
    let forged = staff.send(Method::PATCH, &me, &foreign, r#"{"address": "forged"}"#.into()).await?;
    ensure!(forged.status == StatusCode::FORBIDDEN, "a write from elsewhere: {} {}", forged.status, forged.text());
    let patched = staff.send_json(Method::PATCH, &me, &json!({ "address": format!("{day} Json Street") })).await?;
    ensure!(patched.status == StatusCode::OK, "{} {}", patched.status, patched.text());

    let photo: Vec<u8> = (0..3_000_000u32).map(|byte| (byte.wrapping_mul(day + 7) >> 3) as u8).collect();
    let path = format!("/api/v1/users/{}/photo/", staff.id);
    let uploaded = staff.upload(&path, "photo", "image/png", &photo).await?;
    ensure!(uploaded.status == StatusCode::CREATED, "the upload: {} {}", uploaded.status, uploaded.text());
    let back = staff.get(&path).await?;
    ensure!(back.body == photo, "the photo came back as {} bytes, {}", back.body.len(), back.status);

    let refused = staff.get("/manage/users/").await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "staff at the admins' page: {}", refused.status);
    let form = admin.get("/manage/users/add/").await?;
    let name = format!("newcomer{day}");
    let fields = [
        ("username", name.as_str()),
        ("email", "n@example.test"),
        ("first_name", "N"),
        ("last_name", "C"),
        ("role", "student"),
        ("password", PASSWORD),
    ];
    let added = admin.submit("/manage/users/add/", &form, &fields).await?;
    ensure!(added.status == StatusCode::FOUND, "adding a user: {} {}", added.status, added.text());
    log_in_soon(world, &name).await.context("whoever was just added logs in at the monolith")?;

    let anonymous = Caller::new(world.http()).get("/accounts/profile/").await?;
    ensure!(anonymous.status == StatusCode::FOUND, "nobody's profile: {}", anonymous.status);
    ensure!(anonymous.header("location").is_some_and(|to| to.starts_with("/accounts/login/?next=")), "{:?}", anonymous.header("location"));
    let anonymous = Caller::new(world.http()).get(&me).await?;
    ensure!(anonymous.status == StatusCode::UNAUTHORIZED, "nobody's JSON: {}", anonymous.status);

    let index = admin.get("/admin/").await?;
    ensure!(index.status == StatusCode::OK && index.text().contains("Site administration"), "the admin: {}", index.status);
    djangos_admin(world, side, day).await.context("in Django's admin")?;
    let style = admin.get("/static/admin/css/base.css").await?;
    ensure!(style.status == StatusCode::OK, "the admin's style: {}", style.status);
    let report = staff.get("/api/v1/reports/attendance.csv").await?;
    ensure!(report.status == StatusCode::OK, "the report: {}", report.status);
    Ok(())
}

/// A user that the service made reaches the monolith's log-in by reverse sync, a moment later.
async fn log_in_soon(world: &World, name: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..50 {
        match Caller::log_in(world.http(), name, PASSWORD).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last.context("never tried")?)
}

/// Whoever logs in at Django's own admin works there while legacy owns. Afterwards its writes are refused at the gateway, in
/// words, instead of failing at the fenced database: the password page too, which lies outside of `/admin/accounts/`.
async fn djangos_admin(world: &World, side: &str, day: u32) -> Result<()> {
    let mut admin = Caller::new(world.http());
    let page = admin.get("/admin/login/").await?;
    let fields = [("username", "admin2"), ("password", PASSWORD), ("next", "/admin/")];
    let entered = admin.submit("/admin/login/", &page, &fields).await?;
    ensure!(entered.status == StatusCode::FOUND, "the log-in: {} {}", entered.status, entered.text());
    let index = admin.get("/admin/").await?;
    ensure!(index.status == StatusCode::OK && index.text().contains("Site administration"), "{} {}", index.status, index.text());

    let expected = if side == "legacy" { StatusCode::FOUND } else { StatusCode::CONFLICT };
    let text = format!("by the admin on day {day}");
    let note = [("user", "1"), ("text", text.as_str())];
    let password = [("old_password", PASSWORD), ("new_password1", PASSWORD), ("new_password2", PASSWORD)];
    for (path, fields) in [("/admin/accounts/usernote/add/", &note[..]), ("/admin/password_change/", &password[..])] {
        let form = admin.get(path).await?;
        ensure!(form.status == StatusCode::OK, "the form at {path}: {} {}", form.status, form.text());
        let posted = admin.submit(path, &form, fields).await?;
        ensure!(posted.status == expected, "POST {path}: {} {}", posted.status, posted.text());
    }
    let notes = admin.get("/admin/accounts/usernote/").await?;
    ensure!(notes.text().contains(&text) == (side == "legacy"), "the list of notes: {} {}", notes.status, notes.text());
    Ok(())
}

async fn a_broken_rule_file(world: &World) -> Result<()> {
    let file = world.directory.join("rules/users.toml");
    let good = std::fs::read_to_string(&file)?;
    std::fs::write(&file, good.replace("users-service", "nowhere"))?;
    let operator = world.operator()?;
    let printed = operator.try_type(&["reload"]).await?;
    ensure!(printed.code == 64 && printed.err.contains("users.toml:"), "{printed:?}");
    let mut staff = Caller::log_in(world.http(), "staff2", PASSWORD).await?;
    let note = staff.send_json(Method::POST, &format!("/api/v1/users/{}/notes/", staff.id), &json!({ "text": "meanwhile" })).await?;
    ensure!(note.status == StatusCode::CREATED, "a write under the last good rules: {} {}", note.status, note.text());
    std::fs::write(&file, good)?;
    operator.type_in(&["reload"]).await?;
    Ok(())
}

async fn a_log_out_is_one_on_both_sides(world: &World, staff: &mut Caller) -> Result<()> {
    let operator = world.operator()?;
    until_accepted(&operator, "cutover").await?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    let me = format!("/api/v1/users/{}/", staff.id);
    let before = staff.get(&me).await?;
    ensure!(before.status == StatusCode::OK && before.header("x-ficus-side") == Some("modern"), "{} {:?}", before.status, before.headers);
    let mut thief = staff.clone();
    let page = staff.get("/accounts/profile/").await?;
    let out = staff.submit("/accounts/logout/", &page, &[]).await?;
    ensure!(out.status == StatusCode::FOUND, "logging out: {} {}", out.status, out.text());
    let after = thief.get(&me).await?;
    ensure!(after.status == StatusCode::UNAUTHORIZED, "the session lives on at the service after the log-out: {}", after.status);
    Ok(())
}

/// After `ficus retire` nothing of Ficus is left in the databases, the service goes on serving, and there is no way back.
async fn the_monolith_part_ends(world: &World) -> Result<()> {
    let operator = world.operator()?;
    let early = operator.try_type(&["retire", "users"]).await?;
    ensure!(early.code == 3 && early.err.contains("soak of 7d"), "{early:?}");
    let before = objects_of_ficus(&world.school_database().url()).await?;
    ensure!(before.iter().any(|name| name == "_ficus_log"), "what is to go was never there: {before:?}");
    soak_no_longer(world)?;
    operator.type_in(&["reload"]).await?;
    // The soak began with the cutover.
    tokio::time::sleep(Duration::from_secs(1)).await;
    operator.type_in(&["retire", "users", "--wait", "30s"]).await?;
    ensure!(operator.phase("users").await? == "retired", "{:#}", operator.status("users").await?);
    until_nothing_is_left(world).await?;
    let mut staff = Caller::log_in(world.http(), "staff3", PASSWORD).await?;
    let me = format!("/api/v1/users/{}/", staff.id);
    let written = staff.send_json(Method::PATCH, &me, &json!({ "address": "after the end" })).await?;
    ensure!(written.status == StatusCode::OK, "a write after the end: {} {}", written.status, written.text());
    ensure!(written.header("x-ficus-side") == Some("modern"), "{:?}", written.headers);
    let read = staff.get(&me).await?;
    ensure!(read.status == StatusCode::OK && read.header("x-ficus-side") == Some("modern"), "{} {:?}", read.status, read.headers);
    ensure!(read.json()?["profile"]["address"] == "after the end", "{}", read.text());
    let back = operator.try_type(&["revert", "users"]).await?;
    ensure!(back.code == 3 && back.err.contains("it is retired"), "{back:?}");
    Ok(())
}
