//! How gateway and agent talk to the orchestrator: over its admin API, also when they share a process. They ask for the
//! newest state with a long poll and report what they do; both go on for ever, whatever fails.

pub(crate) mod agent;
pub(crate) mod gateway;

use std::time::Duration;

/// How long a long poll may stay open at the server.
const POLL: Duration = Duration::from_secs(20);
/// Longer than [`POLL`]: the answer was lost.
const POLL_LIMIT: Duration = Duration::from_secs(25);
/// A report that is not answered by then is sent again.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// Pause after a failure.
const AGAIN: Duration = Duration::from_millis(200);
