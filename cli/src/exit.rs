//! Exit codes, in one place.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: an unreachable orchestrator, a broken promise, drift found by `verify`, requests that `explain --diff` moves |
//! | 2 | the command line was wrong (by clap) |
//! | 3 | refused: the orchestrator says why not |
//! | 64 | a bad configuration or rule file |
//! | 130 | interrupted: Ctrl-C ended a command (as shells have it), or a second signal cut the end of a part short |
//! | 141 | nobody reads the output any more (`ficus journal \| head`): as shells name the end by SIGPIPE |

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A second signal came while requests were finishing.
pub(crate) const CUT_OFF: i32 = 130;

/// Nobody reads what is printed.
const UNREAD: i32 = 141;

/// A bad configuration or rule file. Its text names file, line and remedy.
#[derive(Debug)]
pub(crate) struct BadConfiguration(pub(crate) String);

/// The orchestrator understood, and says no.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

/// Something was looked for and found, and was already printed: exit 1 without another word.
#[derive(Debug)]
pub(crate) struct Found;

impl fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for BadConfiguration {}
impl std::error::Error for Refused {}
impl std::error::Error for Found {}

/// Prints. A reader that has gone had enough: the process ends, and says no more.
pub(crate) fn print(mut to: impl Write, text: fmt::Arguments<'_>) {
    // What cannot be printed for another reason (a full disk) cannot be said either: a failure, all the same.
    if let Err(error) = to.write_fmt(text).and_then(|()| to.flush()) {
        std::process::exit(if error.kind() == std::io::ErrorKind::BrokenPipe { UNREAD } else { 1 });
    }
}

/// Prints what went wrong, if anything, and turns it into the exit code.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.is::<Found>() {
        return ExitCode::from(1);
    }
    eprintln!("ficus: {error:#}");
    if error.is::<BadConfiguration>() {
        ExitCode::from(64)
    } else if error.is::<Refused>() {
        ExitCode::from(3)
    } else {
        ExitCode::from(1)
    }
}
