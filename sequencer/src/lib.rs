//! monai-sequencer
