//! Files of public ceremonies: snarkjs `.ptau` (perpetual powers of tau) and halo2's raw parameters.
//!
//! Both keep coordinates as little-endian Montgomery limbs with `R = 2^256`, as this program does. Only
//! the first `2^variables` powers are read; the digest covers the whole file. A file is trusted because
//! of the digest that its ceremony published, which the caller pins; what is checked here beyond it
//! (points on the curve, powers of one secret) guards against a damaged or mistaken file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use ark_bn254::{Fq, Fq2, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{BigInt, PrimeField};
use blake2::{Blake2b512, Digest};
use monai_inference::commitment::{MAX_VARIABLES, SetupKind, VerifierKey};

use super::Srs;
use super::file::{base, checked_points, io, malformed};
use crate::commit::error::CommitError;
use crate::commit::field::{Point, RAW_POINT, base_limbs};

/// Bytes of a point of G2.
const RAW_G2: usize = 128;

/// Bytes read at a time; a whole number of points.
const PIECE: usize = 1 << 22;

/// Most sections of a `.ptau` file; real ones have 7 or 11.
const MAX_SECTIONS: u32 = 64;

impl Srs {
    /// Loads the first `2^variables` powers of a snarkjs `.ptau` file.
    ///
    /// `blake2b` is the file's published BLAKE2b-512 digest in hex.
    ///
    /// # Errors
    /// [`CommitError::Digest`] for another file, [`CommitError::Setup`] for a malformed one,
    /// [`CommitError::Variables`] where it has too few powers, [`CommitError::Io`].
    pub fn from_ptau(path: &Path, variables: usize, blake2b: &str) -> Result<Self, CommitError> {
        let mut file = open(path, variables)?;
        check_digest(path, &mut file, blake2b)?;
        let sections = sections(path, &mut file)?;
        let most = header(path, &mut file, &sections)?;
        if variables > most {
            return Err(CommitError::Variables { got: variables, most });
        }
        let n = 1usize << variables;
        let (g1, g1_length) = find(path, &sections, 2)?;
        let (g2, g2_length) = find(path, &sections, 3)?;
        if g1_length < (n * RAW_POINT) as u64 || g2_length < 2 * RAW_G2 as u64 {
            return Err(malformed(path, "a section is shorter than its powers"));
        }
        let points = points(path, &mut file, g1, n)?;
        let [one, tau_g2] = g2_points(path, &mut file, g2)?;
        if one != G2Affine::generator() {
            return Err(malformed(path, "power 0 of G2 is not the generator"));
        }
        finish(path, points, variables, tau_g2)
    }

    /// Loads the first `2^variables` powers of a halo2 parameter file in its raw format: `k`, `2^k` powers,
    /// `2^k` Lagrange points, `[1]_2`, `[tau]_2`.
    ///
    /// `blake2b` is the BLAKE2b-512 digest of the file in hex, pinned by the caller.
    ///
    /// # Errors
    /// As [`Self::from_ptau`].
    pub fn from_halo2(path: &Path, variables: usize, blake2b: &str) -> Result<Self, CommitError> {
        let mut file = open(path, variables)?;
        check_digest(path, &mut file, blake2b)?;
        let k = u32::from_le_bytes(read(path, &mut file, 0)?);
        let most = usize::try_from(k).unwrap_or(usize::MAX);
        if most == 0 || most > MAX_VARIABLES {
            return Err(malformed(path, "the size is not between 1 and 28"));
        }
        if variables > most {
            return Err(CommitError::Variables { got: variables, most });
        }
        let length = file.metadata().map_err(io(path))?.len();
        let g2 = 4 + 2 * ((RAW_POINT as u64) << most);
        if length != g2 + 2 * RAW_G2 as u64 {
            return Err(malformed(path, "the length does not fit the size"));
        }
        let points = points(path, &mut file, 4, 1 << variables)?;
        let [one, tau_g2] = g2_points(path, &mut file, g2)?;
        if one != G2Affine::generator() {
            return Err(malformed(path, "the generator of G2 is another"));
        }
        finish(path, points, variables, tau_g2)
    }
}

fn open(path: &Path, variables: usize) -> Result<File, CommitError> {
    if variables == 0 || variables > MAX_VARIABLES {
        return Err(CommitError::Variables { got: variables, most: MAX_VARIABLES });
    }
    File::open(path).map_err(io(path))
}

fn finish(path: &Path, points: Vec<Point>, variables: usize, tau_g2: G2Affine) -> Result<Srs, CommitError> {
    let key = VerifierKey::new(SetupKind::Ceremony, variables, tau_g2)?;
    let srs = Srs { points, key };
    if srs.is_consistent() {
        Ok(srs)
    } else {
        Err(malformed(path, "the points are not powers of one secret"))
    }
}

fn check_digest(path: &Path, file: &mut File, expected: &str) -> Result<(), CommitError> {
    file.seek(SeekFrom::Start(0)).map_err(io(path))?;
    let mut hasher = Blake2b512::new();
    let mut piece = vec![0u8; PIECE];
    loop {
        let n = file.read(&mut piece).map_err(io(path))?;
        if n == 0 {
            break;
        }
        hasher.update(&piece[..n]);
    }
    let got: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let wanted: String = expected.trim().trim_start_matches("0x").to_ascii_lowercase();
    if got == wanted {
        Ok(())
    } else {
        Err(CommitError::Digest { path: path.to_owned(), got, expected: wanted })
    }
}

/// `(type, offset, length)` of every section.
fn sections(path: &Path, file: &mut File) -> Result<Vec<(u32, u64, u64)>, CommitError> {
    let length = file.metadata().map_err(io(path))?.len();
    if read::<4>(path, file, 0)? != *b"ptau" {
        return Err(malformed(path, "not a .ptau file"));
    }
    if u32::from_le_bytes(read(path, file, 4)?) != 1 {
        return Err(malformed(path, "an unknown version of .ptau"));
    }
    let count = u32::from_le_bytes(read(path, file, 8)?);
    if count > MAX_SECTIONS {
        return Err(malformed(path, "too many sections"));
    }
    let mut found = Vec::new();
    let mut at = 12u64;
    for _ in 0..count {
        let kind = u32::from_le_bytes(read(path, file, at)?);
        let size = u64::from_le_bytes(read(path, file, at + 4)?);
        let start = at + 12;
        at = start
            .checked_add(size)
            .filter(|end| *end <= length)
            .ok_or_else(|| malformed(path, "a section reaches beyond the end"))?;
        found.push((kind, start, size));
    }
    Ok(found)
}

fn find(path: &Path, sections: &[(u32, u64, u64)], kind: u32) -> Result<(u64, u64), CommitError> {
    let mut of_kind = sections.iter().filter(|s| s.0 == kind);
    match (of_kind.next(), of_kind.next()) {
        (Some(s), None) => Ok((s.1, s.2)),
        (None, _) => Err(malformed(path, "a section is missing")),
        (Some(_), Some(_)) => Err(malformed(path, "a section occurs twice")),
    }
}

/// Checks the header (field size, modulus) and returns its power.
fn header(path: &Path, file: &mut File, sections: &[(u32, u64, u64)]) -> Result<usize, CommitError> {
    let (at, length) = find(path, sections, 1)?;
    if length < 4 + 32 + 4 {
        return Err(malformed(path, "the header is too short"));
    }
    if u32::from_le_bytes(read(path, file, at)?) != 32 {
        return Err(malformed(path, "field elements are not 32 bytes"));
    }
    let modulus: [u8; 32] = read(path, file, at + 4)?;
    let expected: Vec<u8> = Fq::MODULUS.0.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    if modulus[..] != expected[..] {
        return Err(malformed(path, "another curve"));
    }
    let power = u32::from_le_bytes(read(path, file, at + 36)?);
    usize::try_from(power)
        .ok()
        .filter(|p| (1..=MAX_VARIABLES).contains(p))
        .ok_or_else(|| malformed(path, "the power is not between 1 and 28"))
}

fn read<const N: usize>(path: &Path, file: &mut File, at: u64) -> Result<[u8; N], CommitError> {
    let mut bytes = [0u8; N];
    file.seek(SeekFrom::Start(at)).map_err(io(path))?;
    file.read_exact(&mut bytes).map_err(io(path))?;
    Ok(bytes)
}

fn points(path: &Path, file: &mut File, at: u64, n: usize) -> Result<Vec<Point>, CommitError> {
    file.seek(SeekFrom::Start(at)).map_err(io(path))?;
    let mut points = Vec::new();
    let mut piece = vec![0u8; PIECE.min(n * RAW_POINT)];
    while points.len() < n {
        file.read_exact(&mut piece).map_err(io(path))?;
        checked_points(path, &piece, &mut points)?;
    }
    Ok(points)
}

/// Two points of G2, each `x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1`. The key's constructor checks the one that is kept.
fn g2_points(path: &Path, file: &mut File, at: u64) -> Result<[G2Affine; 2], CommitError> {
    let bytes: [u8; 2 * RAW_G2] = read(path, file, at)?;
    let mut coordinates = bytes.chunks_exact(32).map(|raw| {
        let x = base(raw).ok_or_else(|| malformed(path, "a coordinate is not canonical"))?;
        Ok(Fq::new_unchecked(BigInt(base_limbs(&x))))
    });
    let mut next = || coordinates.next().unwrap_or_else(|| Err(malformed(path, "too short")));
    let mut point = || -> Result<G2Affine, CommitError> {
        let (x, y) = (Fq2::new(next()?, next()?), Fq2::new(next()?, next()?));
        Ok(G2Affine::new_unchecked(x, y))
    };
    Ok([point()?, point()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use halo2curves::serde::SerdeObject;

    fn raw_g2(p: &G2Affine) -> Vec<u8> {
        let (x, y) = p.xy().unwrap();
        [x.c0, x.c1, y.c0, y.c1].iter().flat_map(|c| c.0.0).flat_map(u64::to_le_bytes).collect()
    }

    fn ptau(srs: &Srs) -> Vec<u8> {
        let mut header = 32u32.to_le_bytes().to_vec();
        header.extend(Fq::MODULUS.0.iter().flat_map(|l| l.to_le_bytes()));
        header.extend((srs.variables() as u32).to_le_bytes());
        header.extend(28u32.to_le_bytes());
        let mut g1 = Vec::new();
        for p in &srs.points {
            p.affine().write_raw(&mut g1).unwrap();
        }
        let mut g2 = raw_g2(&G2Affine::generator());
        g2.extend(raw_g2(&srs.key.tau_g2()));
        let mut out = b"ptau".to_vec();
        out.extend(1u32.to_le_bytes());
        out.extend(4u32.to_le_bytes());
        for (kind, body) in [(1u32, header), (7, vec![1, 2, 3]), (2, g1), (3, g2)] {
            out.extend(kind.to_le_bytes());
            out.extend((body.len() as u64).to_le_bytes());
            out.extend(body);
        }
        out
    }

    fn digest(bytes: &[u8]) -> String {
        Blake2b512::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn a_ptau_file_loads_and_damage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("powers.ptau");
        let srs = Srs::insecure_dev(7, b"ceremony").unwrap();
        let bytes = ptau(&srs);
        std::fs::write(&path, &bytes).unwrap();
        for variables in [1, 5, 7] {
            let loaded = Srs::from_ptau(&path, variables, &digest(&bytes)).unwrap();
            assert_eq!(loaded.points[..], srs.points[..1 << variables]);
            assert_eq!(loaded.kind(), SetupKind::Ceremony);
            assert_eq!(loaded.key().tau_g2(), srs.key().tau_g2());
        }
        assert!(matches!(
            Srs::from_ptau(&path, 8, &digest(&bytes)),
            Err(CommitError::Variables { got: 8, most: 7 })
        ));
        assert!(matches!(Srs::from_ptau(&path, 7, &digest(b"")), Err(CommitError::Digest { .. })));
        // Even where the digest of the damaged file is pinned, what is not a setup is refused.
        // What no reader needs: the ceremony's power, and the type and body of the extra section.
        let unread = |at: usize| (64..72).contains(&at) || (80..83).contains(&at);
        for at in (0..bytes.len()).filter(|at| *at < 100 || at % 13 == 0).filter(|at| !unread(*at)) {
            let mut bad = bytes.clone();
            bad[at] ^= 2;
            std::fs::write(&path, &bad).unwrap();
            assert!(Srs::from_ptau(&path, 7, &digest(&bad)).is_err(), "byte {at}");
        }
        for length in (0..bytes.len()).step_by(501) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(Srs::from_ptau(&path, 7, &digest(&bytes[..length])).is_err());
        }
    }

    #[test]
    fn a_halo2_parameter_file_loads_and_damage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("params");
        let srs = Srs::insecure_dev(5, b"ceremony").unwrap();
        let mut bytes = 5u32.to_le_bytes().to_vec();
        for p in srs.points.iter().chain(&srs.points) {
            p.affine().write_raw(&mut bytes).unwrap();
        }
        bytes.extend(raw_g2(&G2Affine::generator()));
        bytes.extend(raw_g2(&srs.key.tau_g2()));
        std::fs::write(&path, &bytes).unwrap();
        let loaded = Srs::from_halo2(&path, 4, &digest(&bytes)).unwrap();
        assert_eq!(loaded.points[..], srs.points[..16]);
        for at in (0..4).chain((4..4 + 32 * 64).step_by(29)).chain(4 + 64 * 64..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            assert!(Srs::from_halo2(&path, 5, &digest(&bad)).is_err(), "byte {at}");
        }
    }
}
