//! The binary: configuration, database, server, until a signal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use users_service::app::App;
use users_service::config::{self, Command, Serve};
use users_service::store::Database;
use users_service::{schema, server};

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong, a restart does not help.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    start_logging();
    let command = match config::read() {
        Ok(command) => command,
        Err(refusal) => return refuse(&refusal),
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Migrate { database } => {
            let database = Database::open(&database).await?;
            schema::apply(&database).await?;
            database.close().await;
            Ok(())
        }
        Command::Serve(serve) => serve_until_signal(serve).await,
    }
}

async fn serve_until_signal(serve: Serve) -> anyhow::Result<()> {
    let database = Database::open(&serve.database).await?;
    schema::apply(&database).await?;
    let app = App::new(database.clone(), &serve);
    let listener = tokio::net::TcpListener::bind(serve.listen).await?;
    let stop = server::termination()?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    server::serve(listener, app, stop).await?;
    database.close().await;
    Ok(())
}

/// Logs go to standard error: standard output carries only the address.
fn start_logging() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}

fn refuse(refusal: &clap::Error) -> ExitCode {
    // Nothing is left to do when the terminal is gone.
    let _ = refusal.print();
    if refusal.use_stderr() { ExitCode::from(BAD_CONFIGURATION) } else { ExitCode::SUCCESS }
}
