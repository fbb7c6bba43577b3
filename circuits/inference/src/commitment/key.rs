//! The verifier's half of the setup: `[tau]_2`.

use ark_bn254::{Fq, Fq2, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{PrimeField, Zero};

use super::{DecodeError, MAX_VARIABLES, Reader};

/// Where the secret `tau` came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupKind {
    /// A public powers-of-tau ceremony: `tau` is unknown unless every participant colluded.
    Ceremony,
    /// Generated on one machine from a seed: **whoever knows the seed can forge**.
    InsecureDevelopment,
}

impl SetupKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ceremony => 1,
            Self::InsecureDevelopment => 0xDE,
        }
    }
}

impl std::fmt::Display for SetupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ceremony => "public ceremony",
            Self::InsecureDevelopment => "INSECURE development setup",
        })
    }
}

/// What a verifier must know of the setup. Both generators are BN254's standard ones.
///
/// A verifier pins this key: a proof is worth nothing under a key that its prover chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    kind: SetupKind,
    variables: usize,
    tau_g2: G2Affine,
}

impl VerifierKey {
    /// Bytes of an encoding: magic, version, kind, variables, then `[tau]_2` as
    /// `x.c1 ‖ x.c0 ‖ y.c1 ‖ y.c0` (the EVM's order).
    pub const BYTES: usize = 8 + 128;

    const MAGIC: [u8; 4] = *b"MNVK";
    const VERSION: u8 = 1;

    /// Makes a key for chunks of at most `2^variables` values.
    ///
    /// # Errors
    /// A [`DecodeError`] where the point is not a proper element of the group or the size is unsupported.
    pub fn new(kind: SetupKind, variables: usize, tau_g2: G2Affine) -> Result<Self, DecodeError> {
        if variables == 0 || variables > MAX_VARIABLES {
            return Err(DecodeError::Range {
                what: "the number of variables",
                got: u64::try_from(variables).unwrap_or(u64::MAX),
                least: 1,
                most: u64::try_from(MAX_VARIABLES).unwrap_or(u64::MAX),
            });
        }
        if !tau_g2.is_on_curve() {
            return Err(DecodeError::NotOnCurve);
        }
        if !tau_g2.is_in_correct_subgroup_assuming_on_curve() {
            return Err(DecodeError::NotInSubgroup);
        }
        if tau_g2.is_zero() {
            return Err(DecodeError::Identity);
        }
        Ok(Self { kind, variables, tau_g2 })
    }

    /// Where `tau` came from. Programs print this; production refuses the insecure kind.
    #[must_use]
    pub const fn kind(&self) -> SetupKind {
        self.kind
    }

    /// A chunk has at most `2^variables` values under this setup.
    #[must_use]
    pub const fn variables(&self) -> usize {
        self.variables
    }

    /// `[tau]_2`.
    pub const fn tau_g2(&self) -> G2Affine {
        self.tau_g2
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(&Self::MAGIC);
        out.push(Self::VERSION);
        out.push(self.kind.byte());
        out.push(u8::try_from(self.variables).unwrap_or(u8::MAX));
        out.push(0);
        let (x, y) = self.tau_g2.xy().unwrap_or_default();
        for c in [x.c1, x.c0, y.c1, y.c0] {
            for limb in c.into_bigint().0.iter().rev() {
                out.extend_from_slice(&limb.to_be_bytes());
            }
        }
        out
    }

    /// keccak256 of the canonical encoding.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        alloy_primitives::keccak256(self.to_bytes()).0
    }

    /// Reads the canonical encoding, which must be the whole input.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.bytes::<4>()? != Self::MAGIC {
            return Err(DecodeError::Magic { expected: "verifier key" });
        }
        let version = r.u8()?;
        if version != Self::VERSION {
            return Err(DecodeError::Version { what: "the verifier key", got: version.into() });
        }
        let kind = match r.u8()? {
            1 => SetupKind::Ceremony,
            0xDE => SetupKind::InsecureDevelopment,
            got => return Err(DecodeError::Tag { what: "setup kind", got }),
        };
        let variables = r.u8()?.into();
        let reserved = r.u8()?;
        if reserved != 0 {
            return Err(DecodeError::Tag { what: "reserved byte", got: reserved });
        }
        let (x1, x0, y1, y0) = (base(&mut r)?, base(&mut r)?, base(&mut r)?, base(&mut r)?);
        r.finish()?;
        let (x, y) = (Fq2::new(x0, x1), Fq2::new(y0, y1));
        if x.is_zero() && y.is_zero() {
            return Err(DecodeError::Identity);
        }
        Self::new(kind, variables, G2Affine::new_unchecked(x, y))
    }
}

/// A canonical element of the base field, 32 bytes big-endian.
fn base(r: &mut Reader<'_>) -> Result<Fq, DecodeError> {
    let mut limbs = [0u64; 4];
    for limb in limbs.iter_mut().rev() {
        *limb = r.u64()?;
    }
    Fq::from_bigint(ark_ff::BigInt(limbs)).ok_or(DecodeError::NonCanonicalScalar)
}
