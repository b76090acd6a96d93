//! What every bench of the agent begins with: which parts were named, and how large they are.

use std::process::ExitCode;

use crate::agent;

/// Anything may go wrong, and ends the bench.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Failed>;

/// The parts that were named on the command line; all, when none was.
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == part)
    }
}

/// Measures, and says whether all bars were met; or is the agent, as which the bench starts this program again.
pub(crate) fn main(parts: &[&str], measure: impl AsyncFnOnce(Wanted) -> Result<bool>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == agent::ROLE
    {
        return runtime.block_on(agent::run(rest)).map(|()| ExitCode::SUCCESS);
    }
    if let Some(unknown) = arguments.iter().find(|argument| !parts.contains(&argument.as_str())) {
        return Err(format!("{unknown} is not measured here; name some of {}", parts.join(", ")).into());
    }
    let met = runtime.block_on(measure(Wanted(arguments)))?;
    Ok(if met || size("REPORT", 0)? == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A size from the environment.
pub(crate) fn size(name: &str, default: u64) -> Result<u64> {
    match std::env::var(format!("FICUS_BENCH_{name}")) {
        Ok(text) => text.parse().map_err(|_| format!("FICUS_BENCH_{name} is no number").into()),
        Err(_) => Ok(default),
    }
}

/// How often each figure is taken.
pub(crate) fn rounds() -> Result<usize> {
    Ok(usize::try_from(size("ROUNDS", 3)?)?.clamp(1, 20))
}

/// Whether the agent's turn is now, for both turns of a round.
pub(crate) fn order(round: usize) -> [bool; 2] {
    [round % 2 == 1, round.is_multiple_of(2)]
}
