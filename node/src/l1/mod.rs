//! Acting on L1: stake, delegations, sessions, proposals. Every command first runs its transactions on the endpoint
//! without sending them, so that it can say what will happen, what it costs, and why it would fail.
//!
//! | module | what it is |
//! |---|---|
//! | [`place`], [`desk`] | which chain, which contracts, which key; what every command has at hand |
//! | [`plan`] | transactions that belong together: tried, shown, sent |
//! | [`fault`] | errors of the contracts as sentences |
//! | [`amount`], [`params`], [`model`], [`typed`] | amounts, parameters, models; messages that are signed |
//! | [`enrol`] | registering an operator |
//! | [`rows`] | what a proved epoch says about a node |
//! | [`watch`] | what L1 says about this node |
//! | [`stake`], [`pay`], [`govern`] | the commands |

pub(crate) mod amount;
mod desk;
pub(crate) mod enrol;
pub(crate) mod fault;
mod govern;
pub(crate) mod model;
mod params;
mod pay;
pub(crate) mod place;
pub(crate) mod plan;
mod rows;
mod stake;
pub(crate) mod typed;
pub(crate) mod watch;

pub(crate) use govern::gov;
pub(crate) use pay::{session, subscribe};
pub(crate) use stake::{claim, delegate, redelegate, stake, unbond, undelegate, withdraw};
