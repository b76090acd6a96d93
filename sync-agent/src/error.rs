//! What can go wrong between an agent and its databases, each with what to do about it. What follows from it (try again,
//! start over, stand still) is decided in [`crate::capability`].

use ficus_rules::mapping::MapError;

/// Why a capability does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule files do not fit the databases.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mapping(Vec<MapError>),
    /// The rule files could not be resolved.
    #[error("rules: {0}")]
    Rules(String),
    /// A database is not as it has to be. The text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The first copy would have to remove rows that no copy has brought.
    #[error(
        "{database}: table {table} has rows already, and the first copy would remove them; empty it ({statement}) if they are not needed"
    )]
    Inhabited {
        /// Which, in words.
        database: String,
        /// The table.
        table: String,
        /// What empties it.
        statement: String,
    },
    /// There is nothing of the capability left where this agent has worked before.
    #[error(
        "what Ficus keeps of this capability in {database} is gone (retired by another agent, or the database was emptied or replaced); the newest orders are waited for"
    )]
    TakenOut {
        /// Which, in words.
        database: String,
    },
    /// Another agent has taken the capability over.
    #[error("another agent has taken over this capability; stop one of the two, or restart this one to take it back")]
    Superseded,
    /// The orders that arrived are older than what has been carried out: whoever gave them is behind, or forgot.
    #[error(
        "{database}: orders of epoch {ordered} arrived, and orders of epoch {known} have been carried out here; nothing is done until newer ones arrive. An orchestrator that was cut off answers so for a moment; one whose state was put back from an old copy for ever: give it the newest copy"
    )]
    Outdated {
        /// Which, in words.
        database: String,
        /// The epoch of the orders.
        ordered: u64,
        /// The newest that was carried out.
        known: u64,
    },
    /// Tables or triggers are not as they were; the session starts over and looks again.
    #[error("the schema changed under the agent")]
    SchemaChanged,
    /// The database said no.
    #[error("{database}: {source}")]
    Database {
        /// Which, in words.
        database: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database does not answer any more, and says nothing of why.
    #[error(
        "{database}: no answer for {seconds:.0} s, not even to the smallest question; the network between is cut, or the server stands still; it is tried again until it answers"
    )]
    Silent {
        /// Which, in words.
        database: String,
        /// How long that question had waited.
        seconds: f64,
    },
    /// A task of the agent ended in a panic.
    #[error("a task of the agent ended unexpectedly: {0}")]
    Task(String),
}

impl Error {
    /// An agent that had a turn follows it with the next one.
    pub(crate) fn unless_next(database: &str, held: i64, turn: i64, first: bool) -> Result<(), Error> {
        match turn {
            _ if first => Err(Error::TakenOut { database: database.to_owned() }),
            turn if turn == held + 1 => Ok(()),
            _ => Err(Error::Superseded),
        }
    }

    /// Orders of an epoch, where the newest that was carried out is known.
    pub(crate) fn unless_newest(database: &str, ordered: u64, known: u64) -> Result<(), Error> {
        if ordered < known { Err(Error::Outdated { database: database.to_owned(), ordered, known }) } else { Ok(()) }
    }
}

/// What a task came to; its panic is ours.
pub(crate) fn finished<T>(task: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    task.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
