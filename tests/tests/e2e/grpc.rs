//! gRPC through the gateway: the usual Python client and server, with all four kinds of calls, trailers and errors.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;

use super::Directory;

const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/grpc/echo.py");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_of_calls_pass_with_their_trailers() -> Result<()> {
    let directory = Directory::new();
    let (gateway, admin, server) = (free_port()?, free_port()?, free_port()?);
    let mut serving = Command::new(school::python()?);
    serving.args([ECHO, "serve", &format!("127.0.0.1:{server}")]);
    let serving = Process::start("echo", &mut serving, &directory.path().join("echo.log"))?;
    std::fs::create_dir_all(directory.path().join("rules"))?;
    std::fs::write(
        directory.path().join("ficus.toml"),
        format!(
            "[gateway]\ndefault = \"echo\"\n[[gateway.listener]]\naddress = \"127.0.0.1:{gateway}\"\nhttp2 = true\n\
             [gateway.limits]\nbody_patience = \"1s\"\n\
             [orchestrator]\nlisten = \"127.0.0.1:{admin}\"\n[upstream.echo]\naddress = \"h2c://127.0.0.1:{server}\"\n"
        ),
    )?;
    let mut command = Command::new(school::binary("ficus")?);
    command.arg("--config").arg(directory.path().join("ficus.toml")).arg("run");
    let ficus = Process::start("ficus", &mut command, &directory.path().join("ficus.log"))?;
    school::until_up(&format!("http://127.0.0.1:{admin}"), "/ready").await?;
    let began = Instant::now();
    while !serving.log().contains("serving") || std::net::TcpStream::connect(("127.0.0.1", gateway)).is_err() {
        ensure!(began.elapsed() < Duration::from_secs(120), "they do not come up:\n{}\n{}", serving.log(), ficus.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut call = Command::new(school::python()?);
    call.args([ECHO, "call", &format!("127.0.0.1:{gateway}")]);
    let mut call = Process::start("call", &mut call, &directory.path().join("call.log"))?;
    let status = call.wait(Duration::from_secs(60))?;
    ensure!(status.success() && call.log().contains("all well"), "{status}:\n{}\n{}", call.log(), ficus.log());
    drop((ficus, serving));
    directory.passed();
    Ok(())
}
