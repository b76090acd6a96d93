//! ficus
fn main() {}
