//! The frames between a node and its sequencer.
//!
//! A node dials out (it sits behind NAT) and both sides exchange JSON texts, one frame a message. The
//! frames name no transport: a WebSocket carries them today, a message broker can later.
//!
//! Opening: the sequencer sends [`Challenge`], the node answers [`Hello`], the sequencer answers
//! [`Welcome`] or [`Fault`]. Then jobs flow down and tokens up. A node that drains sends [`NodeFrame::Drain`],
//! refuses new jobs, ends those it has and closes.

use crate::keys::Signature;
use crate::messages::{Credit, Intake, NodeHello, Progress, Refusal, Response};
use crate::request::{Request, RequestError};
use crate::types::{Address, Domain, Keccak, Lane, ModelId, Retry, Slot};
use serde::{Deserialize, Serialize};

/// The version of this protocol.
pub const WIRE_VERSION: u16 = 1;
/// Most bytes of a frame.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Most ids in a frame: prompt and resumed ids together.
pub const MAX_FRAME_IDS: usize = 1 << 18;
/// Most models that a node offers.
pub const MAX_MODELS: usize = 64;
/// Most bytes of free text in a frame.
pub const MAX_TEXT_BYTES: usize = 256;
/// Most concurrent streams that a node may offer for a model; also the most in a busy proof.
pub const MAX_CREDITS: u32 = 1024;

/// Most alternatives per token in [`Job::logprobs`] and [`TokenLogprobs::top`].
pub const MAX_LOGPROBS: u8 = 20;

/// A job's number, unique within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

/// Sequencer → node, first frame of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// [`WIRE_VERSION`] of the sequencer.
    pub version: u16,
    /// Fresh and random: what the hello must sign.
    pub challenge: Keccak,
    /// The deployment.
    pub domain: Domain,
    /// The sequencer's key.
    pub sequencer: Address,
}

/// A model that a node has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOffer {
    /// The signed capacity, which names the model.
    pub credit: Credit,
    /// The node's signature over the credit.
    pub signature: Signature,
    /// Most positions that the node's copy of the model serves.
    pub max_positions: u32,
}

/// Node → sequencer, answer to the challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`WIRE_VERSION`] of the node.
    pub version: u16,
    /// The signed hello. Its credits are those of `models`, in the same order.
    pub hello: NodeHello,
    /// The node's signature over it.
    pub signature: Signature,
    /// The models that it serves.
    pub models: Vec<ModelOffer>,
    /// Program and version, for operators' eyes.
    pub software: String,
}

/// Sequencer → node, the session is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The session's number.
    pub session: u64,
    /// The sequencer pings this often, milliseconds; three pings without answer end the session.
    pub ping_ms: u64,
}

/// Sequencer → node: answer this.
///
/// The whole request comes along: a node recomputes R before it signs, because it would be slashed
/// for an R that does not commit to the ids it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The job.
    pub job: JobId,
    /// The request, preimage of R.
    pub request: Request,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
    /// When the sequencer received the request, as in its intake.
    pub received_ms: u64,
    /// The sequencer's signature over the intake.
    pub intake_signature: Signature,
    /// The attempt.
    pub retry: Retry,
    /// Output ids that an earlier attempt streamed; the node re-derives and signs the whole.
    pub resume: Vec<u32>,
    /// Unix milliseconds after which an answer no longer counts.
    pub deadline_ms: u64,
    /// Alternatives per token (at most [`MAX_LOGPROBS`]) whose log-probabilities the client wants to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
    /// Tells the users of one gateway key apart, opaquely: a node shares cached prefixes only between jobs of the same
    /// user key *and* scope, so that timings tell nobody what another user asked. Absent for users with keys of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_scope: Option<u64>,
}

impl Job {
    /// The intake that the sequencer signed.
    #[must_use]
    pub fn intake(&self) -> Intake {
        Intake {
            request: self.request.commitment(),
            model: self.request.model,
            lane: self.lane,
            slot: self.slot,
            received_ms: self.received_ms,
        }
    }
}

/// Node → sequencer: one output id. Indices count up from the number of resumed ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The job.
    pub job: JobId,
    /// The id's place in the output, from 0.
    pub index: u32,
    /// The id.
    pub id: u32,
    /// If the job asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Box<TokenLogprobs>>,
}

/// Log-probabilities of one position at temperature 1, in 10^-6 nats. For display: they are not signed, but
/// whoever re-executes the answer can compute them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLogprobs {
    /// Of the id that was selected.
    pub chosen: i64,
    /// The likeliest ids, best first.
    pub top: Vec<(u32, i64)>,
}

/// Node → sequencer: the running hash after each 64 output ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressFrame {
    /// The job.
    pub job: JobId,
    /// The signed message.
    pub progress: Progress,
    /// The node's signature.
    pub signature: Signature,
}

/// Node → sequencer: the answer is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The job.
    pub job: JobId,
    /// The signed response.
    pub response: Response,
    /// The node's signature.
    pub signature: Signature,
}

/// Node → sequencer: the node will not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// The job.
    pub job: JobId,
    /// The signed refusal; if busy, it lists the requests that use up the signed credit.
    pub refusal: Refusal,
    /// The node's signature.
    pub signature: Signature,
}

/// Sequencer → node: end the answer after `up_to` ids (those already streamed stand), and sign it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {
    /// The job.
    pub job: JobId,
    /// Output ids that stand. At most what the node has streamed.
    pub up_to: u32,
    /// The requester's signature over [`crate::messages::Cancel`]; absent if the answer is wanted no
    /// more at all (another attempt took over), then the node drops the job and signs nothing.
    pub signature: Option<Signature>,
}

/// Node → sequencer: how it is doing. Shown to operators; decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Output ids per second over the last interval, in thousandths.
    pub milli_tokens_per_s: u64,
    /// Streams being answered.
    pub active: u32,
    /// Jobs waiting.
    pub queued: u32,
}

/// A liveness probe, and its answer with the same nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Echoed.
    pub nonce: u64,
}

/// Either side, before it closes because of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What went wrong.
    pub code: FaultCode,
    /// Details for a person.
    pub message: String,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// Versions differ.
    Version,
    /// The hello's signature, challenge or sequencer is wrong.
    Authentication,
    /// The node has no stake, or is otherwise unknown.
    UnknownNode,
    /// A newer session of the same node replaced this one.
    Replaced,
    /// A frame broke the protocol.
    Protocol,
    /// The other side is shutting down.
    Shutdown,
}

/// What a node sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeFrame {
    /// The answer to a challenge.
    Hello(Box<Hello>),
    /// New capacity for a model.
    Credit(ModelOffer),
    /// The job has begun.
    Accepted {
        /// The job.
        job: JobId,
    },
    /// One output id.
    Token(Token),
    /// A signed running hash.
    Progress(ProgressFrame),
    /// A complete answer.
    Done(Box<Done>),
    /// A signed refusal.
    Refuse(Box<Refuse>),
    /// The answer to a ping.
    Pong(Probe),
    /// Load.
    Stats(Stats),
    /// No new jobs, please.
    Drain {},
    /// Last words.
    Fault(Fault),
}

/// What a sequencer sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum SequencerFrame {
    /// Prove who you are.
    Challenge(Challenge),
    /// The session is open.
    Welcome(Welcome),
    /// Answer this.
    Job(Box<Job>),
    /// End this.
    Cancel(CancelJob),
    /// Are you there?
    Ping(Probe),
    /// Last words.
    Fault(Fault),
}

/// Why a frame is refused.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// More bytes than a frame may have; nothing was parsed.
    #[error("frame of {came} bytes, at most {MAX_FRAME_BYTES}")]
    TooLarge {
        /// Bytes that came.
        came: usize,
    },
    /// Not JSON, or not a frame.
    #[error("malformed frame: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A list or text longer than allowed.
    #[error("{field} has {came}, at most {max}")]
    Limit {
        /// What is too long.
        field: &'static str,
        /// Its length or value.
        came: u64,
        /// The limit.
        max: u64,
    },
    /// The job's request is out of bounds.
    #[error(transparent)]
    Request(#[from] RequestError),
}

fn limit(field: &'static str, came: usize, max: usize) -> Result<(), WireError> {
    if came <= max { Ok(()) } else { Err(WireError::Limit { field, came: came as u64, max: max as u64 }) }
}

/// Text of a frame; infallible for frames within limits, so errors name a programming mistake.
///
/// # Errors
/// [`WireError`] if the frame exceeds a limit: the sender finds out, not the receiver.
pub fn encode<F: Frame>(frame: &F) -> Result<String, WireError> {
    frame.check()?;
    let text = serde_json::to_string(frame)?;
    if text.len() > MAX_FRAME_BYTES {
        return Err(WireError::TooLarge { came: text.len() });
    }
    Ok(text)
}

/// Reads a frame, with the size checked before anything is parsed.
///
/// # Errors
/// [`WireError`].
pub fn decode<F: Frame>(text: &[u8]) -> Result<F, WireError> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(WireError::TooLarge { came: text.len() });
    }
    let frame: F = serde_json::from_slice(text)?;
    frame.check()?;
    Ok(frame)
}

/// A frame of either direction.
pub trait Frame: Serialize + serde::de::DeserializeOwned {
    /// Checks the limits that JSON does not.
    ///
    /// # Errors
    /// [`WireError`].
    fn check(&self) -> Result<(), WireError>;
}

fn check_offer(offer: &ModelOffer) -> Result<(), WireError> {
    limit("credits", offer.credit.credits as usize, MAX_CREDITS as usize)
}

impl Frame for NodeFrame {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Hello(h) => {
                limit("models", h.models.len(), MAX_MODELS)?;
                limit("hello.credits", h.hello.credits.len(), MAX_MODELS)?;
                limit("software", h.software.len(), MAX_TEXT_BYTES)?;
                h.models.iter().try_for_each(check_offer)
            }
            Self::Credit(offer) => check_offer(offer),
            Self::Token(t) => {
                limit("logprobs.top", t.logprobs.as_ref().map_or(0, |l| l.top.len()), MAX_LOGPROBS.into())
            }
            Self::Refuse(r) => limit("active", r.refusal.active.len(), MAX_CREDITS as usize),
            Self::Fault(f) => limit("message", f.message.len(), MAX_TEXT_BYTES),
            Self::Accepted { .. }
            | Self::Progress(_)
            | Self::Done(_)
            | Self::Pong(_)
            | Self::Stats(_)
            | Self::Drain {} => Ok(()),
        }
    }
}

impl Frame for SequencerFrame {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Job(j) => {
                limit("ids", j.request.prompt.len().saturating_add(j.resume.len()), MAX_FRAME_IDS)?;
                limit("logprobs", j.logprobs.unwrap_or(0).into(), MAX_LOGPROBS.into())?;
                j.request.validate()?;
                Ok(())
            }
            Self::Fault(f) => limit("message", f.message.len(), MAX_TEXT_BYTES),
            Self::Challenge(_) | Self::Welcome(_) | Self::Cancel(_) | Self::Ping(_) => Ok(()),
        }
    }
}

/// The model ids that a hello offers, in its order.
#[must_use]
pub fn offered(hello: &Hello) -> Vec<ModelId> {
    hello.models.iter().map(|m| m.credit.model).collect()
}
