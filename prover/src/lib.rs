//! monai-prover
