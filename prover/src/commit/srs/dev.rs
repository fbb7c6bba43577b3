//! A setup whose secret is known: for development only.

use std::path::Path;

use ark_bn254::{Fr, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, One, PrimeField};
use halo2curves::bn256;
use halo2curves::group::{Curve, Group};
use monai_inference::commitment::{MAX_VARIABLES, SetupKind, VerifierKey};
use rayon::prelude::*;

use super::Srs;
use crate::commit::error::CommitError;
use crate::commit::field::{Point, Sum, scalar_limbs};
use crate::commit::msm::{Digits, Scratch, add_into};

/// Window of the fixed-base tables: 4096 points each, 22 tables, 5.5 MiB.
const WINDOW: u32 = 13;

/// Points that are made together, sharing inversions.
const BLOCK: usize = 2048;

impl Srs {
    /// Makes a setup from a seed.
    ///
    /// **Insecure**: `tau` follows from the seed, and whoever knows `tau` can open any commitment to any
    /// value. The key, the files and what programs print carry the mark.
    ///
    /// # Errors
    /// [`CommitError::Variables`] outside `1..=28`.
    pub fn insecure_dev(variables: usize, seed: &[u8]) -> Result<Self, CommitError> {
        if variables == 0 || variables > MAX_VARIABLES {
            return Err(CommitError::Variables { got: variables, most: MAX_VARIABLES });
        }
        let tau = insecure_tau(seed);
        let tau_g2 = (G2Affine::generator() * tau).into_affine();
        let key = VerifierKey::new(SetupKind::InsecureDevelopment, variables, tau_g2)?;
        let tables = FixedBase::new(bn256::G1Affine::generator());
        let mut points = vec![Point::IDENTITY; 1 << variables];
        points.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
            let mut power = tau.pow([(block * BLOCK) as u64]);
            let scalars: Vec<[u64; 4]> = out
                .iter()
                .map(|_| {
                    let limbs = scalar_limbs(&power);
                    power *= tau;
                    limbs
                })
                .collect();
            tables.multiply(&scalars, out);
        });
        Ok(Self { points, key })
    }

    /// The setup of [`Self::insecure_dev`], from a file that a former call left, or made and left there.
    ///
    /// # Errors
    /// As [`Self::insecure_dev`], and [`CommitError::Io`] where the file can't be written. A file that is
    /// damaged, smaller, or of another seed is replaced.
    pub fn insecure_dev_cached(variables: usize, seed: &[u8], path: &Path) -> Result<Self, CommitError> {
        if let Ok(found) = Self::load(path) {
            let tau_g2 = (G2Affine::generator() * insecure_tau(seed)).into_affine();
            if found.kind() == SetupKind::InsecureDevelopment
                && found.variables() == variables
                && found.key().tau_g2() == tau_g2
            {
                return Ok(found);
            }
        }
        let made = Self::insecure_dev(variables, seed)?;
        made.save(path)?;
        Ok(made)
    }
}

/// The secret that a seed stands for; neither 0 nor 1.
fn insecure_tau(seed: &[u8]) -> Fr {
    let mut bytes = [0u8; 64];
    let mut hasher = blake3::Hasher::new_derive_key("MonAI insecure development powers of tau, version 1");
    hasher.update(seed);
    hasher.finalize_xof().fill(&mut bytes);
    let tau = Fr::from_le_bytes_mod_order(&bytes);
    if tau.is_one() || tau == Fr::default() { Fr::from(2) } else { tau }
}

/// Multiples of one point, for every digit of every window.
struct FixedBase {
    tables: Vec<Vec<Point>>,
}

impl FixedBase {
    fn new(base: bn256::G1Affine) -> Self {
        let windows = 254u32.div_ceil(WINDOW) + u32::from(254 % WINDOW == 0);
        let mut starts = Vec::new();
        let mut start = Sum::from(base);
        for _ in 0..windows {
            starts.push(start);
            for _ in 0..WINDOW {
                start = start.double();
            }
        }
        let tables = starts
            .into_par_iter()
            .map(|start| {
                let step = start.to_affine();
                let mut multiple = start;
                let multiples: Vec<Sum> = (0..1usize << (WINDOW - 1))
                    .map(|_| {
                        let this = multiple;
                        multiple += step;
                        this
                    })
                    .collect();
                let mut affine = vec![step; multiples.len()];
                Sum::batch_normalize(&multiples, &mut affine);
                affine.into_iter().map(Point::from).collect()
            })
            .collect();
        Self { tables }
    }

    /// `out[i] = scalars[i] * base`.
    fn multiply(&self, scalars: &[[u64; 4]], out: &mut [Point]) {
        let mut scratch = Scratch::default();
        let mut source = Vec::with_capacity(out.len());
        let mut pairs = Vec::with_capacity(out.len());
        out.fill(Point::IDENTITY);
        for (w, table) in self.tables.iter().enumerate() {
            source.clear();
            pairs.clear();
            for (i, s) in scalars.iter().enumerate() {
                let digit = s.digit(w as u32, WINDOW);
                if digit == 0 {
                    continue;
                }
                let mut p = table[digit.unsigned_abs() as usize - 1];
                if digit < 0 {
                    p.y = -p.y;
                }
                pairs.push((i as u32, source.len() as u32));
                source.push(p);
            }
            add_into(out, &source, &pairs, &mut scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::field::to_ark;

    #[test]
    fn points_are_the_powers_of_the_secret() {
        let srs = Srs::insecure_dev(12, b"a test").unwrap();
        let tau = insecure_tau(b"a test");
        let mut power = Fr::one();
        for (i, p) in srs.points.iter().enumerate() {
            if i % 97 == 0 || i < 4 {
                assert_eq!(to_ark(p), (ark_bn254::G1Affine::generator() * power).into_affine());
            }
            power *= tau;
        }
        assert_eq!(srs.kind(), SetupKind::InsecureDevelopment);
        assert_ne!(insecure_tau(b"a test"), insecure_tau(b"another"));
    }
}
