//! Says what gateways and agents should be doing in a state.
