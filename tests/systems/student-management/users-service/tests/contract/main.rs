//! The contract of the capability, checked through the socket: a real server on a temporary database, with tokens
//! of a key that a small JWKS server publishes.

mod access;
mod bed;
mod notes;
mod pages;
mod photos;
mod rehearsals;
mod storage;
mod users;
