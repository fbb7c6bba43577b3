//! Inner loops over small integers and field elements, each with a reference twin; and eight field elements at once
//! (`lanes`), for processors with 52-bit multiply-adds.

mod dot;
mod fold;
#[cfg(target_arch = "x86_64")]
mod fold_lanes;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lanes;
mod values;
mod wide;

pub use dot::{Accumulator, Unsigned, dot, dot_reference};
pub use fold::{fold_low, fold_rows, fold_units, fold_units_reference};
pub use values::{Scaled, Small, Values};
pub use wide::WideSum;
