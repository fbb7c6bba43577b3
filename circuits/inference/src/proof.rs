//! The proof and its codec.

use monai_protocol::field::{self, Fr};
use monai_protocol::types::Domain;
use monai_protocol::{Address, Amount, Assurance, Blinding, ChainId, ModelId, Request, SelectionParams};

use crate::commitment::{Commitment, DecodeError, OpeningProof, Reader};
use crate::shape::MAX_POSITIONS;
use crate::statement::{Preimage, SelectionRow, Shown};

/// Version of the statement, and of the encoding of a proof of one answer. A change of either is a new version.
pub const VERSION: u8 = 1;
/// Version of the encoding of a proof of several answers: their number follows it.
const SEVERAL: u8 = 2;
const MAGIC: [u8; 4] = *b"MNPF";
/// Most answers in one proof.
pub const MAX_ANSWERS: usize = 16;
/// Most witness chunks in an encoding.
pub const MAX_COMMITMENTS: u64 = 1 << 14;
/// Most messages in an encoding.
pub const MAX_MESSAGES: u64 = 1 << 18;

/// Most bytes of an encoding: the largest lists, an id and a row for each of [`MAX_POSITIONS`], and room for all fixed fields.
pub const MAX_PROOF_BYTES: usize =
    (1 << 18) * 32 + (1 << 14) * Commitment::BYTES + (1 << 16) * 78 + MAX_ANSWERS * (1 << 12);

/// A proof that answers are what a registered model decodes. It shows prompts and answers: it is **not** zero-knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The answers: between one and [`MAX_ANSWERS`].
    pub answers: Vec<Shown>,
    /// Commitments to the chunks of the witnesses, one answer after another.
    pub commitments: Vec<Commitment>,
    /// All field elements that the prover sends, in the order of the transcript.
    pub messages: Vec<Fr>,
    /// The one opening.
    pub opening: OpeningProof,
}

/// Writes a version for one or for several, and the number of several.
pub(crate) fn write_number(out: &mut Vec<u8>, n: usize) {
    if n == 1 {
        out.push(VERSION);
    } else {
        out.push(SEVERAL);
        out.push(u8::try_from(n).unwrap_or(u8::MAX));
    }
}

/// Reads what [`write_number`] writes.
pub(crate) fn read_number(r: &mut Reader<'_>, what: &'static str) -> Result<usize, DecodeError> {
    match r.u8()? {
        VERSION => Ok(1),
        SEVERAL => {
            let got = r.u8()?;
            let n = usize::from(got);
            if (2..=MAX_ANSWERS).contains(&n) {
                return Ok(n);
            }
            let most = u64::try_from(MAX_ANSWERS).unwrap_or(u64::MAX);
            Err(DecodeError::Range { what: "the number of answers", got: got.into(), least: 2, most })
        }
        got => Err(DecodeError::Version { what, got: got.into() }),
    }
}

fn ids(out: &mut Vec<u8>, ids: &[u32]) {
    out.extend(u32::try_from(ids.len()).unwrap_or(u32::MAX).to_be_bytes());
    for id in ids {
        out.extend(id.to_be_bytes());
    }
}

fn read_u128(r: &mut Reader<'_>) -> Result<u128, DecodeError> {
    r.bytes::<16>().map(u128::from_be_bytes)
}

fn read_count(r: &mut Reader<'_>, what: &'static str, most: u64, each: usize) -> Result<usize, DecodeError> {
    let got = r.u32()?;
    let range = DecodeError::Range { what, got: got.into(), least: 0, most };
    if u64::from(got) > most {
        return Err(range);
    }
    let n = usize::try_from(got).map_err(|_| range)?;
    // No allocation for elements that can't be there.
    let needed = n.saturating_mul(each);
    if needed > r.remaining() {
        return Err(DecodeError::Truncated { missing: needed.saturating_sub(r.remaining()) });
    }
    Ok(n)
}

fn read_ids(r: &mut Reader<'_>, what: &'static str, most: u64) -> Result<Vec<u32>, DecodeError> {
    let n = read_count(r, what, most, 4)?;
    (0..n).map(|_| r.u32()).collect()
}

impl Shown {
    fn write(&self, out: &mut Vec<u8>) {
        let q = &self.preimage.request;
        out.extend(q.domain.chain_id.0.to_be_bytes());
        out.extend(q.domain.rollup.0);
        out.extend(q.model.0);
        let p = &q.params;
        for x in [p.tau, p.top_k, p.top_p, p.delta_min_p, p.max_tokens] {
            out.extend(x.to_be_bytes());
        }
        ids(out, &p.stop_ids);
        out.extend(p.seed.to_be_bytes());
        ids(out, &q.prompt);
        out.extend(q.user.0);
        out.extend(q.nonce.to_be_bytes());
        out.extend(q.blinding.0.to_be_bytes());
        out.extend(q.expiry.to_be_bytes());
        out.extend(q.max_price.0.to_be_bytes());
        out.push(q.assurance.code());
        out.push(u8::from(q.by_preference));
        ids(out, &self.preimage.output);
        out.extend(u32::try_from(self.rows.len()).unwrap_or(u32::MAX).to_be_bytes());
        for row in &self.rows {
            out.extend(row.max.to_be_bytes());
            out.extend(row.argmax.to_be_bytes());
            out.extend(row.delta.to_be_bytes());
            for x in [
                row.kept,
                row.below,
                row.all_weight,
                row.kept_weight,
                row.below_weight,
                row.prefix_weight,
                row.chosen_weight,
            ] {
                out.extend(x.to_be_bytes());
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let domain = Domain { chain_id: ChainId(r.u64()?), rollup: Address(r.bytes()?) };
        let model = ModelId(r.bytes()?);
        let (tau, top_k, top_p, delta_min_p, max_tokens) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        let most_stops = u64::try_from(monai_protocol::selection::MAX_STOP_IDS).unwrap_or(0);
        let stop_ids = read_ids(r, "stop ids", most_stops)?;
        let params = SelectionParams { tau, top_k, top_p, delta_min_p, max_tokens, stop_ids, seed: r.u64()? };
        let prompt = read_ids(r, "prompt ids", MAX_POSITIONS)?;
        let (user, nonce) = (Address(r.bytes()?), r.u64()?);
        let blinding = Blinding(read_u128(r)?);
        let expiry = r.u64()?;
        let max_price = Amount(read_u128(r)?);
        let assurance = match r.u8()? {
            0 => Assurance::Signed,
            1 => Assurance::Sampled,
            2 => Assurance::Proved,
            got => return Err(DecodeError::Tag { what: "assurance", got }),
        };
        let by_preference = match r.u8()? {
            0 => false,
            1 => true,
            got => return Err(DecodeError::Tag { what: "preference", got }),
        };
        let request = Request {
            domain,
            model,
            params,
            prompt,
            user,
            nonce,
            blinding,
            expiry,
            max_price,
            assurance,
            by_preference,
        };
        let output = read_ids(r, "output ids", MAX_POSITIONS)?;
        let n = read_count(r, "selection rows", MAX_POSITIONS, 66)?;
        let mut rows = Vec::with_capacity(n);
        for _ in 0..n {
            rows.push(SelectionRow {
                max: i32::from_be_bytes(r.bytes()?),
                argmax: r.u32()?,
                delta: u16::from_be_bytes(r.bytes()?),
                kept: r.u64()?,
                below: r.u64()?,
                all_weight: r.u64()?,
                kept_weight: r.u64()?,
                below_weight: r.u64()?,
                prefix_weight: r.u64()?,
                chosen_weight: r.u64()?,
            });
        }
        Ok(Self { preimage: Preimage { request, output }, rows })
    }
}

impl Proof {
    /// The canonical encoding: magic, version, number of answers where there are several, for each answer request, ids and
    /// rows, then commitments, messages, opening; all numbers big-endian, lists with a 32-bit count.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        write_number(&mut out, self.answers.len());
        for answer in &self.answers {
            answer.write(&mut out);
        }
        out.extend(u32::try_from(self.commitments.len()).unwrap_or(u32::MAX).to_be_bytes());
        for c in &self.commitments {
            out.extend(c.to_bytes());
        }
        out.extend(u32::try_from(self.messages.len()).unwrap_or(u32::MAX).to_be_bytes());
        for m in &self.messages {
            out.extend(field::to_bytes(*m));
        }
        out.extend(self.opening.to_bytes());
        out
    }

    /// Reads the canonical encoding, which must be the whole input.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make of a proof within the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        if r.bytes::<4>()? != MAGIC {
            return Err(DecodeError::Magic { expected: "inference proof" });
        }
        let mut answers = Vec::new();
        for _ in 0..read_number(r, "the inference proof")? {
            answers.push(Shown::read(r)?);
        }
        let n = read_count(r, "commitments", MAX_COMMITMENTS, Commitment::BYTES)?;
        let mut commitments = Vec::with_capacity(n);
        for _ in 0..n {
            commitments.push(Commitment::read(r)?);
        }
        let n = read_count(r, "messages", MAX_MESSAGES, 32)?;
        let mut messages = Vec::with_capacity(n);
        for _ in 0..n {
            messages.push(r.scalar()?);
        }
        let opening = OpeningProof::read(r)?;
        reader.finish()?;
        Ok(Self { answers, commitments, messages, opening })
    }
}
