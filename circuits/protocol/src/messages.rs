//! The typed messages that parties sign (EIP-712), as plain structs with protocol types.
//!
//! Domain: `{name: "MonAI", version: "1", chainId, verifyingContract: rollup}`. Field names on the
//! wire and in contracts are the camelCase ones in the `eip712` module below.

use crate::keys::{SecretKey, Signature, SignatureError};
use crate::types::{
    Address, Amount, BatchDigest, Digest, Domain, EpochId, Finish, Keccak, Lane, ModelId, OutputCommitment,
    RequestCommitment, Retry, Slot,
};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Serialize};

/// The Solidity shapes. Their `eip712_encode_type` is what contracts hash.
#[allow(missing_docs)]
mod eip712 {
    alloy_sol_types::sol! {
        struct Request { bytes32 requestCommitment; bytes32 model; uint128 maxPrice; uint64 nonce; uint64 expiry; }
        struct Intake { bytes32 requestCommitment; bytes32 model; uint32 lane; uint64 slot; uint64 receivedMs; }
        struct Response {
            bytes32 requestCommitment; bytes32 model; uint32 lane; uint64 slot; bytes32 outputCommitment;
            uint32 nIn; uint32 nOut; uint8 finish; uint64 receivedMs; uint64 firstTokenMs; uint64 doneMs;
        }
        struct Attestation {
            bytes32 response; address node; uint64 epoch; uint8 retry; uint32 resumedFrom;
            uint64 dispatchedMs; uint64 firstTokenMs; uint64 doneMs;
            uint128 inputPrice; uint128 outputPrice; uint128 charge; bytes32 draw;
        }
        struct Progress { bytes32 requestCommitment; bytes32 model; uint32 lane; uint64 slot; uint32 upTo; bytes32 runningHash; }
        struct Cancel { bytes32 requestCommitment; uint32 upTo; }
        struct Miss {
            bytes32 requestCommitment; bytes32 model; uint32 lane; uint64 slot; uint8 retry; address node;
            uint64 dispatchedMs; uint64 atMs; uint32 streamed;
        }
        struct Refusal {
            bytes32 requestCommitment; bytes32 model; uint32 lane; uint64 slot; uint8 retry;
            uint8 reason; uint64 atMs; bytes32[] active;
        }
        struct Credit { bytes32 model; uint32 credits; uint64 issuedMs; }
        struct NodeHello { bytes32 challenge; address node; address sequencer; Credit[] credits; }
        struct Audit { bytes32 response; bool passed; uint64 atMs; }
        struct Batch { uint64 number; bytes32 header; }
    }
}

/// A message that is signed as EIP-712 typed data.
pub trait Typed {
    /// The digest that is signed within `domain`.
    fn digest(&self, domain: &Domain) -> Keccak;

    /// Signs the message.
    ///
    /// # Errors
    /// Those of [`SecretKey::sign`].
    fn sign(&self, domain: &Domain, key: &SecretKey) -> Result<Signature, SignatureError> {
        key.sign(&self.digest(domain))
    }

    /// Checks that `signer` signed the message.
    ///
    /// # Errors
    /// [`SignatureError`].
    fn verify(&self, domain: &Domain, signature: &Signature, signer: Address) -> Result<(), SignatureError> {
        signature.verify(&self.digest(domain), signer)
    }
}

/// The digest of the message that signs a batch: `Batch(uint64 number, bytes32 header)`.
pub(crate) fn batch_signing_digest(number: u64, header: BatchDigest, domain: &Domain) -> Keccak {
    let shape = eip712::Batch { number, header: header.0.into() };
    Keccak(shape.eip712_signing_hash(&separator(domain)).0)
}

fn separator(domain: &Domain) -> Eip712Domain {
    Eip712Domain::new(
        Some("MonAI".into()),
        Some("1".into()),
        Some(alloy_primitives::U256::from(domain.chain_id.0)),
        Some(domain.rollup.into()),
        None,
    )
}

/// Implements [`Typed`] through the message's Solidity shape.
macro_rules! typed {
    ($name:ident, |$m:ident| $shape:expr) => {
        impl Typed for $name {
            fn digest(&self, domain: &Domain) -> Keccak {
                let $m = self;
                Keccak($shape.eip712_signing_hash(&separator(domain)).0)
            }
        }
    };
}

/// What a user with its own key signs: R beside the fields that a wallet can show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMessage {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The most that the answer may cost.
    pub max_price: Amount,
    /// The user's nonce.
    pub nonce: u64,
    /// Unix seconds.
    pub expiry: u64,
}
typed!(RequestMessage, |m| eip712::Request {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    maxPrice: m.max_price.0,
    nonce: m.nonce,
    expiry: m.expiry,
});

/// The sequencer's promise that a request fills a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// When the request came, unix milliseconds.
    pub received_ms: u64,
}
typed!(Intake, |m| eip712::Intake {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    lane: m.lane.0,
    slot: m.slot.0,
    receivedMs: m.received_ms,
});

/// The node's signed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// O.
    pub output: OutputCommitment,
    /// Prompt ids.
    pub n_in: u32,
    /// Output ids.
    pub n_out: u32,
    /// How the answer ended.
    pub finish: Finish,
    /// When the node received the job, unix milliseconds of its clock.
    pub received_ms: u64,
    /// When it had its first token.
    pub first_token_ms: u64,
    /// When it was done.
    pub done_ms: u64,
}
typed!(Response, |m| eip712::Response {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    lane: m.lane.0,
    slot: m.slot.0,
    outputCommitment: m.output.to_bytes().into(),
    nIn: m.n_in,
    nOut: m.n_out,
    finish: m.finish.code(),
    receivedMs: m.received_ms,
    firstTokenMs: m.first_token_ms,
    doneMs: m.done_ms,
});

/// The sequencer's countersignature, with its own times, the price and the draw's context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The digest of the response within the same domain.
    pub response: Keccak,
    /// The node that answered.
    pub node: Address,
    /// The epoch of the draw.
    pub epoch: EpochId,
    /// The attempt that answered.
    pub retry: Retry,
    /// Output ids that an earlier attempt had streamed and this one re-derived.
    pub resumed_from: u32,
    /// When the sequencer dispatched the job, unix milliseconds of its clock.
    pub dispatched_ms: u64,
    /// When it relayed the first token.
    pub first_token_ms: u64,
    /// When it had the signed response.
    pub done_ms: u64,
    /// Price of a prompt id.
    pub input_price: Amount,
    /// Price of an output id.
    pub output_price: Amount,
    /// n_in · input price + n_out · output price.
    pub charge: Amount,
    /// The digest of the draw's inputs ([`crate::draw::context_digest`]).
    pub draw: Digest,
}
typed!(Attestation, |m| eip712::Attestation {
    response: m.response.0.into(),
    node: m.node.into(),
    epoch: m.epoch.0,
    retry: m.retry.0,
    resumedFrom: m.resumed_from,
    dispatchedMs: m.dispatched_ms,
    firstTokenMs: m.first_token_ms,
    doneMs: m.done_ms,
    inputPrice: m.input_price.0,
    outputPrice: m.output_price.0,
    charge: m.charge.0,
    draw: m.draw.to_bytes().into(),
});

/// What a node signs every [`crate::output::PROGRESS_IDS`] output ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// Output ids so far, a multiple of 64.
    pub up_to: u32,
    /// The running hash at that point ([`crate::output::RunningHash`]).
    pub running: Digest,
}
typed!(Progress, |m| eip712::Progress {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    lane: m.lane.0,
    slot: m.slot.0,
    upTo: m.up_to,
    runningHash: m.running.to_bytes().into(),
});

/// The requester's order to end the answer after `up_to` ids, signed by the request's user key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// R.
    pub request: RequestCommitment,
    /// Output ids that stand.
    pub up_to: u32,
}
typed!(Cancel, |m| eip712::Cancel { requestCommitment: m.request.to_bytes().into(), upTo: m.up_to });

/// The sequencer's record that a drawn node did not answer in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Miss {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// The attempt that failed.
    pub retry: Retry,
    /// The node that was drawn.
    pub node: Address,
    /// When the job was dispatched, unix milliseconds.
    pub dispatched_ms: u64,
    /// When the sequencer gave up.
    pub at_ms: u64,
    /// Output ids that had been streamed by then.
    pub streamed: u32,
}
typed!(Miss, |m| eip712::Miss {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    lane: m.lane.0,
    slot: m.slot.0,
    retry: m.retry.0,
    node: m.node.into(),
    dispatchedMs: m.dispatched_ms,
    atMs: m.at_ms,
    streamed: m.streamed,
});

/// Why a node refuses a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RefusalReason {
    /// All signed credit is in use; the refusal lists the jobs that use it.
    Busy = 1,
    /// The node is shutting down.
    Draining = 2,
    /// The model is not loaded.
    ModelNotLoaded = 3,
    /// Prompt and output exceed the model's positions.
    TooLong = 4,
    /// The deadline can't be met or has passed.
    Deadline = 5,
    /// The prefix to resume is not what the model decodes.
    PrefixMismatch = 6,
    /// The job's fields contradict each other or are out of bounds.
    Malformed = 7,
    /// The node failed.
    Internal = 8,
}

/// A node's signed refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// R.
    pub request: RequestCommitment,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// The attempt.
    pub retry: Retry,
    /// Why.
    pub reason: RefusalReason,
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// For `busy`: the requests of this model that the node is answering, as many as its credits,
    /// strictly ascending. Empty otherwise.
    pub active: Vec<RequestCommitment>,
}
typed!(Refusal, |m| eip712::Refusal {
    requestCommitment: m.request.to_bytes().into(),
    model: m.model.0.into(),
    lane: m.lane.0,
    slot: m.slot.0,
    retry: m.retry.0,
    reason: m.reason as u8,
    atMs: m.at_ms,
    active: m.active.iter().map(|r| r.to_bytes().into()).collect(),
});

impl Refusal {
    /// True if this shows that `credits` streams are in use: the reason is busy and as many distinct
    /// requests, strictly ascending, are listed, this one not among them. A node that signs no credit at all is not busy
    /// but absent: it could otherwise take its credit back once it has seen a request that it would rather not answer.
    #[must_use]
    pub fn shows_exhausted(&self, credits: u32) -> bool {
        self.reason == RefusalReason::Busy
            && credits > 0
            && self.active.len() >= credits as usize
            && self.active.windows(2).all(|w| w[0] < w[1])
            && !self.active.contains(&self.request)
    }
}

/// A node's signed capacity for one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// The model.
    pub model: ModelId,
    /// Concurrent streams that the node accepts.
    pub credits: u32,
    /// When it was signed, unix milliseconds; the latest counts.
    pub issued_ms: u64,
}

impl Credit {
    fn shape(&self) -> eip712::Credit {
        eip712::Credit { model: self.model.0.into(), credits: self.credits, issuedMs: self.issued_ms }
    }
}
typed!(Credit, |m| m.shape());

/// What a node signs to open a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeHello {
    /// The sequencer's fresh challenge.
    pub challenge: Keccak,
    /// The node's operator key.
    pub node: Address,
    /// The sequencer that the node means to serve: a hello can't be relayed to another.
    pub sequencer: Address,
    /// Capacity per model.
    pub credits: Vec<Credit>,
}
typed!(NodeHello, |m| eip712::NodeHello {
    challenge: m.challenge.0.into(),
    node: m.node.into(),
    sequencer: m.sequencer.into(),
    credits: m.credits.iter().map(Credit::shape).collect(),
});

/// An auditor's signed finding about a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The digest of the response.
    pub response: Keccak,
    /// True if the model decodes exactly this answer.
    pub passed: bool,
    /// When, unix milliseconds.
    pub at_ms: u64,
}
typed!(Audit, |m| eip712::Audit { response: m.response.0.into(), passed: m.passed, atMs: m.at_ms });

/// The EIP-712 type strings in the order of this file, for documents and contracts.
#[must_use]
pub fn type_strings() -> Vec<(&'static str, String)> {
    macro_rules! list {
        ($($name:ident),*) => {
            vec![$((stringify!($name), <eip712::$name as SolStruct>::eip712_encode_type().into_owned())),*]
        };
    }
    list!(
        Request,
        Intake,
        Response,
        Attestation,
        Progress,
        Cancel,
        Miss,
        Refusal,
        Credit,
        NodeHello,
        Audit,
        Batch
    )
}
