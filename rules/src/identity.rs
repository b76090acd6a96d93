//! Formats by which legacy frameworks say who a caller is, and the rules of their CSRF protection. Pure: bytes and a
//! clock come in. Does not look a session up: the gateway does.

pub mod csrf;
pub mod django;
pub mod flask;
pub mod itsdangerous;
pub mod signing;
