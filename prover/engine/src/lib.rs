//! monai-engine
