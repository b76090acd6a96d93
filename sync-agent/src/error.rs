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
    /// Another agent has taken the capability over.
    #[error("another agent has taken over this capability; stop one of the two, or restart this one to take it back")]
    Superseded,
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
    /// A task of the agent ended in a panic.
    #[error("a task of the agent ended unexpectedly: {0}")]
    Task(String),
}
