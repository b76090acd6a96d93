//! Users of a school: their accounts, profiles, notes and photos, at the public URLs that the monolith had.
//!
//! Never logs anybody in, never sees a session cookie, and never touches tables that are not in `schema.sql`.
//!
//! The life of a request:
//!
//! 1. [`router`]: finds the handler; a panic below it becomes a 500.
//! 2. [`identity`]: the bearer token becomes a [`Caller`](identity::Caller), or a 401 (a page: a redirect to log-in).
//! 3. [`api`] or [`pages`]: the role is checked, then the input ([`fields`]), all its faults at once.
//! 4. [`store`]: one read, or one write transaction that began `IMMEDIATE`.
//! 5. [`error`]: whatever went wrong becomes an answer, at this edge only.
//!
//! Read `schema.sql` next, then [`router`].

pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod error;
pub mod fields;
pub mod identity;
pub mod ids;
pub mod pages;
pub mod passwords;
pub mod paths;
pub mod role;
pub mod router;
pub mod schema;
pub mod server;
pub mod store;
