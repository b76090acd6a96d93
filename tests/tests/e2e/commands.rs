//! The commands of a day on which something is wrong: a row differs, an answer differs. Typed as an operator types them,
//! with what they print and how they end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::operator::Printed;
use ficus_tests::process::Process;
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Row as _};

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);
/// Who types.
const OPERATOR: &str = "registrar";
const EXAMS: &str = "exam week";

/// Somebody with a name at the command line of a world.
struct Desk<'a>(&'a World);

impl Desk<'_> {
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(school::binary("ficus")?);
        command.args(["--config", "ficus.toml"]).args(arguments).current_dir(&self.0.directory).env("USER", OPERATOR);
        Ok(command)
    }

    /// What is printed, if it ends with this code.
    async fn ends(&self, code: i32, arguments: &[&str]) -> Result<Printed> {
        let mut command = tokio::process::Command::from(self.command(arguments)?);
        let output = command.stdin(Stdio::null()).output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let printed = Printed { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        ensure!(printed.code == code, "`ficus {}` ends with {}, not {code}:\n{printed:#?}", arguments.join(" "), printed.code);
        Ok(printed)
    }
}

/// A world whose users are copied, compared and mirrored, and stay there.
async fn shadowing(directory: &Directory) -> Result<World> {
    let world = World::start(directory.path(), Plan::default()).await?;
    let desk = Desk(&world);
    desk.ends(0, &["advance", "users", "--reason", "the term is over"]).await?;
    world.operator()?.until_phase("users", "shadowing", PATIENCE).await?;
    desk.ends(0, &["hold", "users", "--reason", EXAMS]).await?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_differs_is_found_shown_and_repaired() -> Result<()> {
    let directory = Directory::new();
    let mut world = shadowing(&directory).await?;
    let desk = Desk(&world);
    let mut caller = Caller::log_in(world.http(), "student5", PASSWORD).await?;
    let me = format!("/api/v1/users/{}/", caller.id);
    desk.ends(0, &["verify", "users", "--wait", "60s"]).await?;
    let printed = desk.ends(0, &["diffs", "users"]).await?;
    ensure!(printed.out == "no differences were seen\n", "before anything differs: {printed:?}");

    plant(&world, caller.id).await?;
    let field = until_shown(&desk, &mut caller, &me).await?;
    ensure!(field.contains("first_name"), "the field that differs: {field}");
    let shown = desk.ends(0, &["diffs", "users"]).await?.out;
    world.ficus.kill()?;
    world.restart_ficus(&[]).await?;
    let desk = Desk(&world);
    ensure!(desk.ends(0, &["diffs", "users"]).await?.out.starts_with(&shown), "samples are gone after a restart");
    let agent = |status: &Value| status["agent"]["forward"]["live"] == true;
    world.operator()?.until("users", "the agent", Duration::from_secs(20), agent).await?;

    let printed = desk.ends(1, &["verify", "users", "--wait", "60s"]).await?;
    let row = format!("accounts_customuser: id={}: given_name", caller.id);
    ensure!(printed.out.contains("drift 1 row at") && printed.out.contains(&row), "which row differs, and where: {printed:#?}");
    let printed = desk.ends(1, &["verify", "users", "--json"]).await?;
    let status: Value = serde_json::from_str(&printed.out)?;
    ensure!(status["drift_rows"] == 1, "{status:#}");

    desk.ends(0, &["repair", "users", "--reason", "planted"]).await?;
    let printed = desk.ends(0, &["verify", "users", "--wait", "60s"]).await?;
    ensure!(printed.out.contains("drift 0 rows") && !printed.out.contains("id="), "after the repair: {printed:#?}");
    ensure!(given_name(&world, caller.id).await? != PLANTED, "the owner's value is not back");

    let journal = desk.ends(0, &["journal", "users"]).await?.out;
    for (what, why) in [("advance", "the term is over"), ("hold", EXAMS), ("repair", "planted")] {
        let told = journal.lines().any(|line| line.contains(why) && line.ends_with(&format!("[{OPERATOR}]")));
        ensure!(told, "nobody has typed `{what}` because of `{why}`:\n{journal}");
    }
    let latest = desk.ends(0, &["journal", "users", "--limit", "2"]).await?.out;
    ensure!(latest.lines().count() == 2 && journal.ends_with(&latest), "the latest two lines:\n{latest}of\n{journal}");
    a_forged_journal_is_told(&desk).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// Whoever may write the state's file and does not know of the chain.
async fn a_forged_journal_is_told(desk: &Desk<'_>) -> Result<()> {
    let verify = ["journal", "--verify"];
    ensure!(desk.ends(0, &verify).await?.out.contains("entries fit together"), "it is whole");
    let state = format!("sqlite://{}", desk.0.directory.join("state/orchestrator.sqlite3").display());
    let mut state = AnyConnectOptions::from_str(&state)?.connect().await.context("the state")?;
    let nobodys = sqlx::query("SELECT max(id) FROM journal WHERE actor IS NULL").fetch_one(&mut state).await?.get::<i64, _>(0);
    for (forge, undo, says) in [
        (
            format!("UPDATE journal SET actor = 'nobody' WHERE id = {nobodys}"),
            format!("UPDATE journal SET actor = NULL WHERE id = {nobodys}"),
            format!("entry {nobodys} is not what was written"),
        ),
        (
            "INSERT INTO journal SELECT id + 500, at, capability, actor, line, hash FROM journal WHERE id = 1".to_owned(),
            "DELETE FROM journal WHERE id > 500".to_owned(),
            "entry 501 follows entry".to_owned(),
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(forge.clone())).execute(&mut state).await?;
        let told = desk.ends(1, &verify).await?;
        ensure!(told.err.contains(&says), "{forge}: {told:#?}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(undo)).execute(&mut state).await?;
    }
    desk.ends(0, &verify).await.map(drop)
}

const PLANTED: &str = "Planted";

/// Writes past the fence and the log, as no application does: the stream will not mend it.
pub(super) async fn plant(world: &World, user: i64) -> Result<()> {
    let mut modern = modern(world).await?;
    let refused = sqlx::query("UPDATE users SET given_name = ? WHERE legacy_id = ?").bind(PLANTED).bind(user).execute(&mut modern).await;
    ensure!(refused.is_err_and(|why| why.to_string().contains("is fenced")), "the fence lets an application write");
    let statements = format!(
        "BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'planted';
         UPDATE users SET given_name = '{PLANTED}' WHERE legacy_id = {user};
         UPDATE _ficus_context SET writer = NULL; COMMIT"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut modern).await?;
    Ok(())
}

async fn given_name(world: &World, user: i64) -> Result<String> {
    let query = sqlx::query("SELECT given_name FROM users WHERE legacy_id = ?").bind(user);
    Ok(query.fetch_one(&mut modern(world).await?).await?.get(0))
}

pub(super) async fn modern(world: &World) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    AnyConnectOptions::from_str(world.service_database())?.connect().await.context("the service's database")
}

/// Reads until the mirrored answers' difference is shown; the line of the sample that names the field.
async fn until_shown(desk: &Desk<'_>, caller: &mut Caller, path: &str) -> Result<String> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        caller.get(path).await?;
        let shown = desk.ends(0, &["diffs", "users"]).await?.out;
        let sample = format!("users GET {path} legacy 200 modern 200");
        if let Some((_, after)) = shown.split_once(&sample) {
            return Ok(after.trim_start().lines().next().unwrap_or_default().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no difference of {path} is shown within 20 s: {}", desk.ends(0, &["diffs", "users"]).await?.out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_of_a_command_has_its_code() -> Result<()> {
    let directory = Directory::new();
    let world = shadowing(&directory).await?;
    let desk = Desk(&world);
    for refused in [["abort", "users"], ["retire", "users"]] {
        let printed = desk.ends(3, &refused).await?;
        ensure!(printed.err.starts_with("ficus: refused: ") && printed.err.len() > 20, "{refused:?} without a reason: {printed:?}");
    }
    let wrong: [&[&str]; 6] = [
        &["advance"],
        &["pin", "users"],
        &["verify", "users", "--wait", "soon"],
        &["flag", "x", "on", "--for", "ever"],
        &["cutover", "users", "now"],
        &["begin"],
    ];
    for wrong in wrong {
        let printed = desk.ends(2, wrong).await?;
        ensure!(printed.err.starts_with("error: ") && printed.out.is_empty(), "{wrong:?}: {printed:?}");
    }
    let printed = desk.ends(1, &["advance", "nobody"]).await?;
    ensure!(printed.err.contains("no capability is called `nobody` (there are: users)"), "{printed:?}");
    let printed = desk.ends(0, &["--help"]).await?;
    for code in ["0 done", "1 failed", "2 wrong command line", "3 refused", "64 bad configuration", "130 interrupted"] {
        ensure!(printed.out.contains(code), "`{code}` is not in the help:\n{}", printed.out);
    }
    let status: Value = serde_json::from_str(&desk.ends(0, &["status", "--json"]).await?.out)?;
    let reloaded: Value = serde_json::from_str(&desk.ends(0, &["reload", "--json"]).await?.out)?;
    let serves = &status["rules"]["generation"];
    ensure!(serves.is_u64() && reloaded["rules_generation"] == *serves, "{reloaded} of {serves}");
    watched(&desk).await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// `status --watch` prints again and again until Ctrl-C, which is 130 in a shell: the signal itself ends it.
async fn watched(desk: &Desk<'_>) -> Result<()> {
    let log = desk.0.directory.join("logs/watch.log");
    // Whoever started the tests in the background may have ignored the signal for all that comes of them.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(school::binary("ficus")?).args(["--config", "ficus.toml", "status", "users", "--watch"]);
    let mut watching = Process::start("ficus status --watch", command.current_dir(&desk.0.directory).env("USER", OPERATOR), &log)?;
    let started = Instant::now();
    while watching.log().matches("users: shadowing, step 1 of ").count() < 3 {
        ensure!(started.elapsed() < PATIENCE && watching.ended().is_none(), "it does not go on:\n{}", watching.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(watching.log().contains(EXAMS), "what is it waiting for?\n{}", watching.log());
    watching.signal(Signal::INT);
    let ended = tokio::task::spawn_blocking(move || watching.wait(Duration::from_secs(5))).await??;
    let in_a_shell = ended.code().or(ended.signal().map(|signal| 128 + signal));
    ensure!(in_a_shell == Some(130), "Ctrl-C ended it with {ended}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_that_somebody_gives_is_read_in_the_journal() -> Result<()> {
    let directory = Directory::new();
    let rules = directory.path().join("rules");
    std::fs::create_dir_all(&rules)?;
    let demo = std::fs::read_to_string(school::folder().join("rules/users.toml"))?;
    std::fs::write(rules.join("users.toml"), demo.replacen("[[step]]\n", "[[step]]\napprove = true\n", 1))?;
    std::fs::write(rules.join("flags.toml"), "[flag.new-profile]\ndefault = true\n")?;
    let world = World::start(&directory.path().join("world"), Plan { users: 30, rules, ..Plan::default() }).await?;
    let desk = Desk(&world);
    let typed: [&[&str]; 10] = [
        &["hold", "users", "--reason", "reason 1"],
        &["release", "users", "--hold", "reason 1", "--reason", "reason 2"],
        &["advance", "users", "--reason", "reason 3"],
        &["pin", "users", "legacy", "--user", "7", "--reason", "reason 4"],
        &["pin", "users", "--user", "7", "--clear", "--reason", "reason 5"],
        &["flag", "new-profile", "off", "--reason", "reason 6"],
        &["flag", "new-profile", "clear", "--reason", "reason 7"],
        &["reload", "--reason", "reason 8"],
        &["hold", "users", "--reason", "reason 9"],
        &["approve", "users", "--reason", "reason 10"],
    ];
    for arguments in typed {
        if arguments[0] == "approve" {
            world.operator()?.until_phase("users", "streaming", PATIENCE).await?;
        }
        desk.ends(0, arguments).await?;
    }
    let journal = desk.ends(0, &["journal", "--limit", "100"]).await?.out;
    for arguments in typed {
        let reason = arguments[arguments.len() - 1];
        let kind = match arguments[0] {
            "advance" => "phase",
            "reload" => "rules",
            kind => kind,
        };
        let line = |line: &&str| {
            line.contains(&format!(" {kind}: ")) && line.contains(&format!("{reason} ")) || line.contains(&format!("{reason})"))
        };
        ensure!(journal.lines().any(|said| line(&said)), "`{reason}` of {arguments:?} is not in\n{journal}");
    }
    // What was approved waits for what is held, and releasing it approves no more than that.
    let printed = desk.ends(3, &["approve", "users"]).await?;
    ensure!(printed.err.contains("no step waits for approval"), "{printed:?}");
    ensure!(world.operator()?.status("users").await?["holds"] == serde_json::json!(["reason 9"]), "the approval lifted a hold");
    drop(world);
    directory.passed();
    Ok(())
}
