//! Inner loops over small integers and field elements, each with a reference twin.

mod dot;
mod fold;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lanes;
mod values;
mod wide;

pub use dot::{Accumulator, Unsigned, dot, dot_reference};
pub use fold::{fold_low, fold_rows, fold_units, fold_units_reference};
pub use values::{Scaled, Small, Values};
pub use wide::WideSum;
