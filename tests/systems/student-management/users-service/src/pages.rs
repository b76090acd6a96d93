//! The HTML pages. Each module is one page or two that belong together; [`layout`] is what surrounds them.

pub mod form;
pub mod layout;
pub mod manage;
pub mod profile;
