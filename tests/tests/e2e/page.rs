//! `ficus status` as people look at it: drawn anew on a terminal, within a hundred columns; plain text into a pipe.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::process::Process;
use ficus_tests::school;
use ficus_tests::world::{Plan, World};

use super::Directory;

const LONG: &str = "a-capability-with-a-name-of-forty-letter";
const OTHER: &str = r#"
[capability]
name = "a-capability-with-a-name-of-forty-letter"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/elsewhere/{*rest}"

[[step]]
cutover = true

[[step]]
soak = "1h"
"#;
const REASON: &str = "exam-week";
/// What a person writes who has a lot to say: longer than a line.
const LONG_REASON: &str =
    "the exams of the third and of the fourth year are written in this week and nothing may change before they are all marked";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_that_is_watched_is_drawn_on_a_terminal_and_fits_a_hundred_columns() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan { users: 30, ..Plan::default() }).await?;
    let operator = world.operator()?;
    std::fs::write(world.directory.join("rules/other.toml"), OTHER)?;
    operator.type_in(&["reload"]).await?;
    operator.type_in(&["hold", "users", "--reason", LONG_REASON]).await?;
    // WHEN somebody watches, and something happens meanwhile
    let terminal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/demo/terminal.py");
    let mut command = Command::new(school::python()?);
    // Ctrl-C is typed once the reason is seen.
    command.arg(terminal).arg(REASON).arg(school::binary("ficus")?).args(["--config", "ficus.toml", "status", "--watch"]);
    command.current_dir(&world.directory).env("TERM", "xterm").env_remove("NO_COLOR");
    let mut watching = Process::start("ficus status --watch", &mut command, &directory.path().join("terminal.log"))?;
    let started = Instant::now();
    while !watching.log().contains("CAPABILITY") {
        ensure!(started.elapsed() < Duration::from_secs(120) && watching.ended().is_none(), "nothing is drawn:\n{}", watching.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    operator.type_in(&["hold", LONG, "--reason", REASON]).await?;
    let drawn = tokio::task::spawn_blocking(move || watching.wait(Duration::from_secs(120)).map(|_| watching.log())).await??;
    // THEN it was drawn over itself, no line is too long, nothing was cut off, and Ctrl-C ended it
    ensure!(drawn.contains("ended with -2"), "{drawn:?}");
    ensure!(drawn.matches("\u{1b}[1;1H").count() >= 3 && drawn.contains("\u{1b}[J"), "it is not drawn over itself: {drawn:?}");
    let lines: Vec<String> = drawn.lines().map(plain).collect();
    let table = lines.iter().rev().find(|line| line.starts_with("CAPABILITY")).map(String::as_str).unwrap_or_default();
    for heading in ["PHASE", "STEP", "OWNER", "READS", "LAG", "DRIFT", "ASIDE", "GATES"] {
        ensure!(table.contains(heading), "{heading} is not in {table:?}");
    }
    ensure!(lines.iter().any(|line| line.starts_with("a-capability-with")), "{lines:?}");
    let long: Vec<&String> = lines.iter().filter(|line| line.chars().count() > 100).collect();
    ensure!(long.is_empty(), "longer than 100 columns: {long:?}");
    let words: String = lines.concat().split_whitespace().collect();
    ensure!(words.contains(&LONG_REASON.replace(' ', "")), "the end of a long line is lost: {lines:?}");
    drop(world);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_into_a_pipe_is_plain() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan { users: 30, ..Plan::default() }).await?;
    let operator = world.operator()?;
    operator.type_in(&["hold", "users", "--reason", LONG_REASON]).await?;
    let page = operator.type_in(&["status"]).await?;
    ensure!(!page.contains(['\u{1b}', '\r']), "{page:?}");
    // A sentence stays on its line, for whoever searches for it; the table is as narrow as on a terminal.
    ensure!(page.lines().any(|line| line.contains(LONG_REASON)), "{page}");
    ensure!(page.starts_with("CAPABILITY") && page.lines().take(2).all(|line| line.chars().count() <= 100), "{page}");
    ensure!(!operator.type_in(&["status", "users"]).await?.contains("CAPABILITY"), "one capability needs no table");
    drop(world);
    directory.passed();
    Ok(())
}

/// A line without what moves the cursor.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => drop(letters.by_ref().skip_while(|c| *c == '[').find(|c| c.is_ascii_alphabetic())),
            '\r' => {}
            _ => plain.push(letter),
        }
    }
    plain
}
