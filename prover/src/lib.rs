//! monai-prover
pub mod commit;
