//! The witness: every committed value of one answer, the remainders that follow from them, and the raw accumulators that
//! sums run over.
//!
//! | file | what |
//! |---|---|
//! | `store.rs` | values in the layout of the statement |
//! | `trace.rs` | the layers, by the scalar twins of the integer model |
//! | `logits.rs` | last norm, logits and selection |
//! | `count.rs` | multiplicities of all lookups |
//! | `check.rs` | the clear-text twin of all relations |

mod check;
mod count;
mod logits;
mod store;
mod trace;

pub use check::{Constraint, broken};
pub use store::{Raw, Witness};
pub use trace::{trace, trace_watched};
