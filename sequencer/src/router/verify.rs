//! What a node says about a job, checked frame by frame. Pure: no clock, no socket.

use std::collections::BTreeSet;

use monai_protocol::messages::{Cancel, Progress, Refusal, RefusalReason, Response, Typed as _};
use monai_protocol::output::{PROGRESS_IDS, RunningHash};
use monai_protocol::receipt::Signed;
use monai_protocol::wire::{Done, ModelOffer, ProgressFrame, Refuse, Token};
use monai_protocol::{
    Address, Digest, Domain, Finish, Lane, Request, RequestCommitment, Retry, Slot, output_commitment,
};

/// A request at its place, with what its answer must obey.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) domain: Domain,
    pub(crate) request: Request,
    pub(crate) r: RequestCommitment,
    pub(crate) lane: Lane,
    pub(crate) slot: Slot,
    /// The model's own end ids and the request's stop ids.
    pub(crate) stops: BTreeSet<u32>,
    /// Ids are below this.
    pub(crate) vocab: u32,
}

/// Why a node's answer is not accepted. Each is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("a token out of order")]
    Order,
    #[error("a token outside the vocabulary")]
    Vocabulary,
    #[error("a token after the end of the answer")]
    AfterEnd,
    #[error("a token that differs from the one streamed before")]
    Differs,
    #[error("a running hash that is not of the streamed tokens")]
    RunningHash,
    #[error("a running hash is missing")]
    MissingProgress,
    #[error("a message about another request")]
    Place,
    #[error("a bad signature")]
    Signature,
    #[error("counts that are not those of the stream")]
    Counts,
    #[error("a finish that the stop rule does not allow")]
    Finish,
    #[error("an output commitment that is not of the streamed tokens")]
    Output,
    #[error("times that run backwards")]
    Times,
}

/// All output ids of a slot so far, whoever streamed them, with the running hash at each block.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) ids: Vec<u32>,
    running: RunningHash,
    points: Vec<Digest>,
}

impl Output {
    pub(crate) fn new(place: &Place) -> Self {
        let running = RunningHash::new(place.r, place.request.blinding);
        Self { ids: Vec::new(), running, points: Vec::new() }
    }

    fn push(&mut self, id: u32) {
        self.ids.push(id);
        if let Some((_, digest)) = self.running.push(id) {
            self.points.push(digest);
        }
    }

    /// The ids as a message counts them.
    pub(crate) fn len(&self) -> u32 {
        self.ids.len() as u32
    }

    /// True once no id may follow.
    pub(crate) fn ended(&self, place: &Place) -> bool {
        ends(place, &self.ids)
    }
}

/// True if the stop rule ends an answer with these ids.
fn ends(place: &Place, ids: &[u32]) -> bool {
    ids.len() >= place.request.params.max_tokens as usize
        || ids.last().is_some_and(|id| place.stops.contains(id))
}

/// One node's attempt.
#[derive(Debug)]
pub(crate) struct Attempted {
    node: Address,
    /// Ids that the node was given.
    resumed: u32,
    /// The index of the node's next token.
    at: u32,
    pub(crate) progress: Vec<Signed<Progress>>,
}

impl Attempted {
    pub(crate) fn new(node: Address, resumed: u32) -> Self {
        Self { node, resumed, at: resumed, progress: Vec::new() }
    }

    /// True once the node has sent an id of its own.
    pub(crate) fn began(&self) -> bool {
        self.at > self.resumed
    }

    /// Takes a token. `Some` is an id that nobody streamed before.
    pub(crate) fn token(
        &mut self,
        place: &Place,
        output: &mut Output,
        token: &Token,
    ) -> Result<Option<u32>, Invalid> {
        if token.index != self.at {
            return Err(Invalid::Order);
        }
        if token.id >= place.vocab {
            return Err(Invalid::Vocabulary);
        }
        self.at += 1;
        // The last id of a complete prefix is derived again, since an answer that is over can't be resumed.
        if let Some(known) = output.ids.get(token.index as usize) {
            return if *known == token.id { Ok(None) } else { Err(Invalid::Differs) };
        }
        if output.ended(place) {
            return Err(Invalid::AfterEnd);
        }
        output.push(token.id);
        // A node that is a whole block behind with its signature is not going to give it.
        if self.missing_progress(output.len().saturating_sub(PROGRESS_IDS as u32)) {
            return Err(Invalid::MissingProgress);
        }
        Ok(Some(token.id))
    }

    /// True if a block that ends at or before `upto`, and that the node completed, is not signed.
    fn missing_progress(&self, upto: u32) -> bool {
        let block = PROGRESS_IDS as u32;
        let wanted = (upto / block).saturating_sub(self.resumed / block);
        let signed = self.progress.iter().filter(|p| p.message.up_to > self.resumed).count() as u32;
        signed < wanted
    }

    /// Takes a signed running hash.
    pub(crate) fn progress(
        &mut self,
        place: &Place,
        output: &Output,
        frame: &ProgressFrame,
    ) -> Result<(), Invalid> {
        let m = &frame.progress;
        if (m.request, m.model, m.lane, m.slot) != (place.r, place.request.model, place.lane, place.slot) {
            return Err(Invalid::Place);
        }
        let last = self.progress.last().map_or(0, |p| p.message.up_to);
        let block = PROGRESS_IDS as u32;
        let point = (m.up_to / block).checked_sub(1).and_then(|i| output.points.get(i as usize));
        if !m.up_to.is_multiple_of(block) || m.up_to <= last || m.up_to > self.at || point != Some(&m.running)
        {
            return Err(Invalid::RunningHash);
        }
        m.verify(&place.domain, &frame.signature, self.node).map_err(|_| Invalid::Signature)?;
        self.progress.push(Signed { message: m.clone(), signature: frame.signature });
        Ok(())
    }

    /// Takes the end. `cancelled` is what the requester signed, if anything. On success `output` holds exactly
    /// the answer's ids.
    pub(crate) fn done(
        &mut self,
        place: &Place,
        output: &mut Output,
        done: &Done,
        cancelled: Option<u32>,
    ) -> Result<Signed<Response>, Invalid> {
        let m = &done.response;
        if (m.request, m.model, m.lane, m.slot) != (place.r, place.request.model, place.lane, place.slot) {
            return Err(Invalid::Place);
        }
        m.verify(&place.domain, &done.signature, self.node).map_err(|_| Invalid::Signature)?;
        let ids = match m.finish {
            // What was streamed between order and end is not part of the answer.
            Finish::Cancelled
                if Some(m.n_out) == cancelled
                    && m.n_out <= output.len()
                    && !ends(place, &output.ids[..m.n_out as usize]) =>
            {
                &output.ids[..m.n_out as usize]
            }
            Finish::Stop if output.ids.last().is_some_and(|id| place.stops.contains(id)) => &output.ids[..],
            Finish::Length
                if output.ended(place) && output.ids.last().is_none_or(|id| !place.stops.contains(id)) =>
            {
                &output.ids[..]
            }
            _ => return Err(Invalid::Finish),
        };
        // Everything up to the end must be this node's word: what it was given, it has re-derived.
        if m.n_in != place.request.n_in() || m.n_out as usize != ids.len() || self.at < m.n_out {
            return Err(Invalid::Counts);
        }
        if m.output != output_commitment(place.request.blinding, m.finish, ids) {
            return Err(Invalid::Output);
        }
        if m.received_ms > m.first_token_ms || m.first_token_ms > m.done_ms {
            return Err(Invalid::Times);
        }
        if self.missing_progress(m.n_out) {
            return Err(Invalid::MissingProgress);
        }
        self.progress.retain(|p| p.message.up_to <= m.n_out);
        output.ids.truncate(m.n_out as usize);
        Ok(Signed { message: m.clone(), signature: done.signature })
    }
}

/// What a refusal amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// Credit is exhausted, and shown to be.
    Busy,
    /// The prefix is not what the model decodes, says this node.
    PrefixMismatch,
    /// Anything else; counts as a miss.
    Plain,
}

/// Checks a refusal. `active` are the requests that the sequencer knows the node to be answering.
pub(crate) fn refusal(
    place: &Place,
    retry: Retry,
    node: Address,
    refuse: &Refuse,
    offer: Option<&ModelOffer>,
    active: &BTreeSet<RequestCommitment>,
) -> Result<RefusalKind, Invalid> {
    let m: &Refusal = &refuse.refusal;
    let here = (place.r, place.request.model, place.lane, place.slot, retry);
    if (m.request, m.model, m.lane, m.slot, m.retry) != here {
        return Err(Invalid::Place);
    }
    m.verify(&place.domain, &refuse.signature, node).map_err(|_| Invalid::Signature)?;
    Ok(match m.reason {
        RefusalReason::Busy => {
            let shown = offer.is_some_and(|o| {
                m.shows_exhausted(o.credit.credits)
                    && o.credit.issued_ms <= m.at_ms
                    && m.active.iter().all(|r| active.contains(r))
            });
            // An unproved "busy" is a refusal like any other.
            if shown { RefusalKind::Busy } else { RefusalKind::Plain }
        }
        RefusalReason::PrefixMismatch => RefusalKind::PrefixMismatch,
        _ => RefusalKind::Plain,
    })
}

/// The order to stop that the requester signs.
pub(crate) fn cancel_message(r: RequestCommitment, up_to: u32) -> Cancel {
    Cancel { request: r, up_to }
}
