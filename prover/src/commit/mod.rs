//! The prover's half of the commitment: setup, commitments and openings.
mod field;
mod msm;
