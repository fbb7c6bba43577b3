//! The commitment to a model: what a registry lists, and M, its digest.
//!
//! The chunks are those of the layout that the statement defines for the model's tensors: `W' = M_n W`
//! (not `W` and `M_n` apart: with the multiplier inside, a matrix product is one claim about one
//! committed tensor), biases, gains, RoPE tables and lookup tables, one list of values cut into chunks of
//! `2^chunk_bits`. Those who register a model recompute the chunks from the artefact, *and* the integer
//! bounds: that no sum wraps around the field rests on the weights being in range, which no proof shows.
//! The prover's crate has that check as `check_registration`.
//!
//! M binds, by collision resistance of keccak256: the statement's version (and with it the layout of all
//! tensors), the artefact's identity, the digests of architecture, tokenizer and template, the verifier's
//! key, the size of a chunk, every public integer, and every chunk with its place in the list. A proof's
//! transcript starts with M, so none of them can be chosen after the proof or changed under it.

use alloy_primitives::keccak256;
use monai_model::artefact::{Arch, PairOrder};
use monai_model::limits;
use monai_protocol::ModelId;
use monai_protocol::codec::{CodecError, decode_hex, encode_hex};
use monai_protocol::field::{self, Fr};
use serde::{Deserialize, Serialize};

use super::{Commitment, DecodeError, MAX_CHUNKS, MAX_VARIABLES, Reader};
use crate::proof::VERSION as STATEMENT_VERSION;

/// Most layers in a header.
pub const MAX_MODEL_LAYERS: usize = limits::MAX_LAYERS;

/// Most ids that end an answer.
pub const MAX_EOS_IDS: usize = limits::MAX_EOS_IDS;

/// Most bytes of an encoded model commitment: the largest lists, and room for all fixed fields.
pub const MAX_MODEL_COMMITMENT_BYTES: usize =
    MAX_CHUNKS * Commitment::BYTES + MAX_MODEL_LAYERS * 24 + MAX_EOS_IDS * 4 + 1024;

/// M: keccak256 of a [`ModelCommitment`]'s canonical encoding. Text form: `0x` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelDigest(pub [u8; 32]);

impl ModelDigest {
    /// M as (high, low) field elements, in the order in which a transcript absorbs them.
    #[must_use]
    pub fn limbs(&self) -> [Fr; 2] {
        field::split(&self.0)
    }
}

impl std::fmt::Display for ModelDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl std::fmt::Debug for ModelDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for ModelDigest {
    type Err = CodecError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        decode_hex(s).map(Self)
    }
}

impl Serialize for ModelDigest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelDigest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The public integers of a model: all that the statement takes from it besides its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConstants {
    /// Shape and integer constants.
    pub arch: Arch,
    /// `M_s` of the scores, one a layer.
    pub score_multipliers: Vec<u64>,
    /// `eps` of the norms of query heads and of key heads, two a layer; empty where `arch.qk_norm` is not set.
    pub head_norm_eps: Vec<u64>,
    /// Ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// Bit `i` is set where stacked matrix `i`, in the order of the statement, has a bias in some layer.
    pub biased: u8,
}

/// A model as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCommitment {
    /// The artefact's identity, which R commits to.
    pub model: ModelId,
    /// Digest of the artefact's architecture.
    pub architecture: [u8; 32],
    /// Digest of the tokenizer.
    pub tokenizer: [u8; 32],
    /// Digest of the chat template.
    pub template: [u8; 32],
    /// Digest of the verifier's key that the chunks are committed under.
    pub setup: [u8; 32],
    /// A chunk has `2^chunk_bits` values.
    pub chunk_bits: u8,
    /// The public integers.
    pub constants: ModelConstants,
    /// Commitments to the chunks of the model's tensors.
    pub chunks: Vec<Commitment>,
}

impl ModelCommitment {
    const MAGIC: [u8; 4] = *b"MNMC";
    const VERSION: u32 = 1;

    /// M: keccak256 of the canonical encoding.
    #[must_use]
    pub fn digest(&self) -> ModelDigest {
        ModelDigest(keccak256(self.to_bytes()).0)
    }

    /// The canonical encoding: all numbers big-endian and of fixed width, lists after their 32-bit length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&Self::MAGIC);
        out.extend_from_slice(&Self::VERSION.to_be_bytes());
        out.push(STATEMENT_VERSION);
        for digest in [&self.model.0, &self.architecture, &self.tokenizer, &self.template, &self.setup] {
            out.extend_from_slice(digest);
        }
        out.push(self.chunk_bits);
        self.constants.write(&mut out);
        write_length(&mut out, self.chunks.len());
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.to_bytes());
        }
        out
    }

    /// Reads the canonical encoding, which must be the whole input.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.bytes::<4>()? != Self::MAGIC {
            return Err(DecodeError::Magic { expected: "model commitment" });
        }
        let version = r.u32()?;
        if version != Self::VERSION {
            return Err(DecodeError::Version { what: "the model commitment", got: version });
        }
        let statement = r.u8()?;
        if statement != STATEMENT_VERSION {
            return Err(DecodeError::Version { what: "the statement", got: statement.into() });
        }
        let model = ModelId(r.bytes()?);
        let (architecture, tokenizer, template, setup) = (r.bytes()?, r.bytes()?, r.bytes()?, r.bytes()?);
        let chunk_bits = r.u8()?;
        within("chunk_bits", chunk_bits.into(), 1, MAX_VARIABLES)?;
        let constants = ModelConstants::read(&mut r)?;
        let count = read_length(&mut r, "the number of chunks", 1, MAX_CHUNKS)?;
        let mut chunks = Vec::new();
        for _ in 0..count {
            chunks.push(Commitment::read(&mut r)?);
        }
        r.finish()?;
        Ok(Self { model, architecture, tokenizer, template, setup, chunk_bits, constants, chunks })
    }
}

impl ModelConstants {
    fn write(&self, out: &mut Vec<u8>) {
        let a = &self.arch;
        for n in [a.layers, a.hidden, a.heads, a.kv_heads, a.head_dim, a.ffn, a.vocab, a.max_positions] {
            // A width beyond 64 bits does not exist; saturating keeps this total.
            out.extend_from_slice(&u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes());
        }
        out.push(match a.pair_order {
            PairOrder::Interleaved => 0,
            PairOrder::Half => 1,
        });
        out.push(a.tied_head.into());
        out.push(a.qk_norm.into());
        out.extend_from_slice(&a.residual_bits.to_be_bytes());
        out.extend_from_slice(&a.norm_eps.to_be_bytes());
        out.extend_from_slice(&a.tau_one.to_be_bytes());
        out.extend_from_slice(&a.tau_max.to_be_bytes());
        write_length(out, self.score_multipliers.len());
        for m in &self.score_multipliers {
            out.extend_from_slice(&m.to_be_bytes());
        }
        // Nothing is written for models without such norms, not even a length.
        if a.qk_norm {
            write_length(out, self.head_norm_eps.len());
            for eps in &self.head_norm_eps {
                out.extend_from_slice(&eps.to_be_bytes());
            }
        }
        write_length(out, self.eos_ids.len());
        for id in &self.eos_ids {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.push(self.biased);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut width = |what| -> Result<usize, DecodeError> {
            let got = r.u64()?;
            usize::try_from(got).map_err(|_| DecodeError::Range {
                what,
                got,
                least: 0,
                most: u32::MAX.into(),
            })
        };
        let layers = width("layers")?;
        let hidden = width("hidden")?;
        let heads = width("heads")?;
        let kv_heads = width("kv_heads")?;
        let head_dim = width("head_dim")?;
        let ffn = width("ffn")?;
        let vocab = width("vocab")?;
        let max_positions = width("max_positions")?;
        let pair_order = match r.u8()? {
            0 => PairOrder::Interleaved,
            1 => PairOrder::Half,
            got => return Err(DecodeError::Tag { what: "pair order", got }),
        };
        let arch = Arch {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn,
            vocab,
            max_positions,
            pair_order,
            tied_head: flag(r)?,
            qk_norm: flag(r)?,
            residual_bits: r.u32()?,
            norm_eps: r.u64()?,
            tau_one: r.u64()?,
            tau_max: r.u32()?,
        };
        let count = read_length(r, "the number of score multipliers", 0, MAX_MODEL_LAYERS)?;
        let mut score_multipliers = Vec::new();
        for _ in 0..count {
            score_multipliers.push(r.u64()?);
        }
        let mut head_norm_eps = Vec::new();
        if arch.qk_norm {
            let most = MAX_MODEL_LAYERS * 2;
            for _ in 0..read_length(r, "the number of head norms", 0, most)? {
                head_norm_eps.push(r.u64()?);
            }
        }
        let count = read_length(r, "the number of end ids", 0, MAX_EOS_IDS)?;
        let mut eos_ids = Vec::new();
        for _ in 0..count {
            eos_ids.push(r.u32()?);
        }
        Ok(Self { arch, score_multipliers, head_norm_eps, eos_ids, biased: r.u8()? })
    }
}

fn flag(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(DecodeError::Tag { what: "flag", got }),
    }
}

fn write_length(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_length(
    r: &mut Reader<'_>,
    what: &'static str,
    least: usize,
    most: usize,
) -> Result<usize, DecodeError> {
    let n = r.u32()?;
    within(what, n.into(), least, most)?;
    usize::try_from(n).map_err(|_| DecodeError::Range {
        what,
        got: n.into(),
        least: 0,
        most: u32::MAX.into(),
    })
}

fn within(what: &'static str, got: u64, least: usize, most: usize) -> Result<(), DecodeError> {
    let (least, most) = (u64::try_from(least).unwrap_or(0), u64::try_from(most).unwrap_or(u64::MAX));
    if (least..=most).contains(&got) { Ok(()) } else { Err(DecodeError::Range { what, got, least, most }) }
}
