//! What `--wait` shows while rows are copied: a bar on a terminal, lines at the end into a pipe.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use ficus_tests::process::Process;
use ficus_tests::school;
use ficus_tests::world::{Plan, World};

use super::Directory;

const COMMAND: [&str; 4] = ["advance", "users", "--wait", "60s"];

/// A school whose copy takes some seconds on whatever machine.
async fn world(directory: &Directory) -> Result<World> {
    let mut world = World::start(directory.path(), Plan { users: 3_000, ..Plan::default() }).await?;
    let file = world.directory.join("ficus.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(file, text.replacen("[agent]\n", "[agent]\ncopy_rows_per_second = 1500\n", 1))?;
    world.ficus.kill()?;
    world.restart_ficus(&[]).await?;
    Ok(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_waited_for_draws_a_bar_on_a_terminal() -> Result<()> {
    let directory = Directory::new();
    let world = world(&directory).await?;
    let terminal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/demo/terminal.py");
    let mut command = Command::new(school::python()?);
    // Nothing is typed there.
    command.arg(terminal).arg("never said").arg(school::binary("ficus")?).args(["--config", "ficus.toml"]).args(COMMAND);
    command.current_dir(&world.directory).env("TERM", "xterm").env_remove("NO_COLOR");
    let mut process = Process::start("ficus on a terminal", &mut command, &directory.path().join("terminal.log"))?;
    let drawn = tokio::task::spawn_blocking(move || process.wait(Duration::from_secs(90)).map(|_| process.log())).await??;
    // The bar is drawn over itself, with the rows, the rate and the time that is left; then it is taken away.
    let bars: Vec<&str> = drawn.split(['\r', '\n']).filter(|line| line.contains("copying ") && line.contains(" rows, ")).collect();
    ensure!(bars.len() >= 2 && bars.iter().all(|bar| bar.contains("/s, ") && bar.contains(" left")), "{bars:?} of {drawn:?}");
    ensure!(bars.iter().any(|bar| bar.contains('█')), "no bar: {bars:?}");
    let (_, end) = drawn.rsplit_once("\u{1b}[2K").unwrap_or_default();
    ensure!(end.contains("users: ") && !end.contains("copying") && end.contains("ended with 0"), "{end:?} of {drawn:?}");
    drop(world);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_waited_for_prints_plain_lines_into_a_pipe() -> Result<()> {
    let directory = Directory::new();
    let world = world(&directory).await?;
    let printed = world.operator()?.try_type(&COMMAND).await?;
    ensure!(printed.code == 0 && printed.err.is_empty(), "{printed:?}");
    ensure!(printed.out.starts_with("users: ") && !printed.out.contains(['\r', '\u{1b}']), "{printed:?}");
    drop(world);
    directory.passed();
    Ok(())
}
