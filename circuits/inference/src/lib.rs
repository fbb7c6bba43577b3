//! monai-inference
pub mod commitment;
