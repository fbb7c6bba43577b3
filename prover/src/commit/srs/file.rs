//! This program's own setup file: the verifier's key, a digest, and the points as raw limbs.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `MNSRS` and the version, zero-padded |
//! | 136 | the verifier's key, which names the kind of setup |
//! | 32 | BLAKE3 of the key and of all points |
//! | 64 each | points: `x`, `y`, Montgomery limbs, little-endian |
//!
//! Writing is atomic: a file under its final name is whole.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use halo2curves::CurveAffine;
use halo2curves::bn256;
use halo2curves::serde::SerdeObject;
use monai_inference::commitment::VerifierKey;
use rayon::prelude::*;

use super::Srs;
use crate::commit::error::CommitError;
use crate::commit::field::{Base, Point, RAW_POINT};

const MAGIC: [u8; 8] = *b"MNSRS\0\0\x01";

/// Bytes read or written at a time; a whole number of points.
const PIECE: usize = 1 << 20;

pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> CommitError + '_ {
    |source| CommitError::Io { path: path.to_owned(), source }
}

pub(super) fn malformed(path: &Path, reason: &'static str) -> CommitError {
    CommitError::Setup { path: path.to_owned(), reason }
}

impl Srs {
    /// Writes the setup to a file, atomically.
    ///
    /// # Errors
    /// [`CommitError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), CommitError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io(path))?;
        }
        let key = self.key.to_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key);
        let mut piece = Vec::with_capacity(PIECE);
        let mut pieces = |each: &mut dyn FnMut(&[u8]) -> std::io::Result<()>| -> std::io::Result<()> {
            for points in self.points.chunks(PIECE / RAW_POINT) {
                piece.clear();
                for p in points {
                    p.affine().write_raw(&mut piece)?;
                }
                each(&piece)?;
            }
            Ok(())
        };
        pieces(&mut |bytes| {
            hasher.update(bytes);
            Ok(())
        })
        .map_err(io(path))?;
        let temporary = path.with_extension(format!("partial.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut out = BufWriter::new(File::create(&temporary)?);
            out.write_all(&MAGIC)?;
            out.write_all(&key)?;
            out.write_all(hasher.finalize().as_bytes())?;
            pieces(&mut |bytes| out.write_all(bytes))?;
            out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        let mut write = write;
        write().inspect_err(|_| drop(std::fs::remove_file(&temporary))).map_err(io(path))
    }

    /// Reads a file that [`Self::save`] wrote and checks its digest.
    ///
    /// The digest shows that the file is what was written; it does not show where the setup came from.
    /// A prover with a wrong setup makes proofs that nobody accepts; a verifier uses its own key.
    ///
    /// # Errors
    /// [`CommitError::Io`], [`CommitError::Setup`], [`CommitError::Digest`].
    pub fn load(path: &Path) -> Result<Self, CommitError> {
        let mut file = File::open(path).map_err(io(path))?;
        let mut magic = [0u8; 8];
        let mut key = [0u8; VerifierKey::BYTES];
        let mut digest = [0u8; 32];
        for part in [&mut magic[..], &mut key[..], &mut digest[..]] {
            file.read_exact(part).map_err(io(path))?;
        }
        if magic != MAGIC {
            return Err(malformed(path, "not a setup file of this version"));
        }
        let verifier_key = VerifierKey::from_bytes(&key)?;
        let n = 1usize << verifier_key.variables();
        let length = file.metadata().map_err(io(path))?.len();
        if length != (8 + VerifierKey::BYTES + 32 + n * RAW_POINT) as u64 {
            return Err(malformed(path, "the length does not fit the number of points"));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key);
        let mut points = Vec::with_capacity(n);
        let mut piece = vec![0u8; PIECE.min(n * RAW_POINT)];
        for _ in 0..(n * RAW_POINT).div_ceil(PIECE) {
            file.read_exact(&mut piece).map_err(io(path))?;
            hasher.update(&piece);
            points.extend(
                piece
                    .chunks_exact(RAW_POINT)
                    .map(|raw| Point::from(bn256::G1Affine::from_raw_bytes_unchecked(raw))),
            );
        }
        let got = hasher.finalize();
        if *got.as_bytes() != digest {
            return Err(CommitError::Digest {
                path: path.to_owned(),
                got: got.to_hex().to_string(),
                expected: blake3::Hash::from_bytes(digest).to_hex().to_string(),
            });
        }
        Ok(Self { points, key: verifier_key })
    }
}

/// Points from raw Montgomery limbs, each checked: limbs below the modulus, on the curve, not the identity.
pub(super) fn checked_points(path: &Path, bytes: &[u8], out: &mut Vec<Point>) -> Result<(), CommitError> {
    let points: Option<Vec<Point>> = bytes
        .par_chunks_exact(RAW_POINT)
        .with_min_len(1 << 10)
        .map(|raw| {
            let point = Point { x: base(raw.get(..32)?)?, y: base(raw.get(32..)?)? };
            // The identity counts as on the curve.
            (bool::from(point.affine().is_on_curve()) && !point.is_identity()).then_some(point)
        })
        .collect();
    out.extend(points.ok_or_else(|| malformed(path, "a power is not a point of the group"))?);
    Ok(())
}

/// A base-field element from canonical Montgomery limbs.
pub(super) fn base(raw: &[u8]) -> Option<Base> {
    Base::from_raw_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_setup_loads_and_any_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/setup");
        let srs = Srs::insecure_dev_cached(6, b"x", &path).unwrap();
        let loaded = Srs::load(&path).unwrap();
        assert_eq!(loaded.points, srs.points);
        assert_eq!(loaded.key, srs.key);
        let bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(41).chain(0..8 + VerifierKey::BYTES + 32) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Srs::load(&path).is_err(), "byte {at}");
        }
        for length in [0, 7, 100, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(Srs::load(&path).is_err());
        }
        // A damaged cache is made again; so is one of another seed or size.
        assert_eq!(Srs::insecure_dev_cached(6, b"x", &path).unwrap().points, srs.points);
        assert_ne!(Srs::insecure_dev_cached(6, b"y", &path).unwrap().points, srs.points);
        assert_eq!(Srs::insecure_dev_cached(5, b"y", &path).unwrap().variables(), 5);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
