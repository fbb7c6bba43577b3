//! monai-inference
