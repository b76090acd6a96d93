//! Moves a state by what was observed or wished.
