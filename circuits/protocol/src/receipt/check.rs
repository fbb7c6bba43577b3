//! Checking a receipt: every value against what binds it.

use super::{Attempt, Receipt, RECEIPT_VERSION, ReceiptError, Signed};
use crate::batch::{LaneRange, find_lane, links_digest};
use crate::chain::{ChainAnchor, descend};
use crate::draw::{DrawInputs, context_digest, draw_order};
use crate::field::Fr;
use crate::keys::Signature;
use crate::leaf::{LEAF_VERSION, Leaf, Meta};
use crate::messages::{RequestMessage, Typed};
use crate::output::{PROGRESS_IDS, RunningHash, output_commitment};
use crate::request::Request;
use crate::selection::SelectionParams;
use crate::types::{
    Address, Amount, BatchDigest, Beacon, Digest, Domain, EpochId, Finish, Keccak, ModelId, NodeIndex,
    OutputCommitment, RequestCommitment, Retry, Slot,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// What an auditor trusts: keys and facts from L1, or from a devnet's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustAnchors {
    /// The deployment.
    pub domain: Domain,
    /// The sequencer's key.
    pub sequencer: Address,
    /// Registered models.
    pub models: BTreeSet<ModelId>,
    /// Auditors whose findings count.
    pub auditors: BTreeSet<Address>,
    /// Known beacons.
    pub beacons: BTreeMap<EpochId, Beacon>,
    /// Known tables, by digest.
    pub tables: BTreeMap<EpochId, BTreeMap<ModelId, Digest>>,
    /// Registered chains.
    pub chains: Vec<ChainAnchor>,
    /// Batches known from L1.
    pub batches: BTreeMap<u64, BatchDigest>,
    /// Epochs below this are final.
    pub final_before: EpochId,
    /// Attempts at a slot ([`crate::Parameters::max_attempts`]).
    pub max_attempts: u64,
    /// Δ ([`crate::Parameters::clock_agreement`]), milliseconds.
    pub clock_agreement_ms: u64,
    /// True on a devnet: beacons are [`crate::insecure_devnet_beacon`], known without L1.
    pub insecure_devnet: bool,
}

/// What is not fixed yet, or not known to the auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// No batch holds the answer yet.
    NotBatched,
    /// No batch has revealed the link yet, so the draw can't be recomputed.
    LinkNotRevealed,
    /// The auditor does not know the epoch's beacon.
    BeaconUnknown,
    /// The auditor does not know the epoch's table.
    TableUnknown,
    /// The auditor does not know the registered chain.
    ChainUnknown,
    /// The auditor does not know the batch from L1.
    BatchUnknown,
    /// The epoch is not final.
    EpochNotFinal,
}

/// What a valid receipt shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// R.
    pub request: RequestCommitment,
    /// O.
    pub output: OutputCommitment,
    /// The digest of the response.
    pub response: Keccak,
    /// The model.
    pub model: ModelId,
    /// The node that answered.
    pub node: Address,
    /// The epoch of the draw.
    pub epoch: EpochId,
    /// How the answer ended.
    pub finish: Finish,
    /// What was charged.
    pub charge: Amount,
    /// Dispatch-to-done time by the sequencer's clock if both sides' times agree: a speed sample.
    pub speed_sample_ms: Option<u64>,
    /// True if the draw was recomputed and chose this node.
    pub draw_verified: bool,
    /// True if a trusted auditor found the answer right.
    pub audited: bool,
    /// What is not fixed yet, ascending; empty for a final receipt.
    pub pending: BTreeSet<Pending>,
}

/// Runs a model again. Implemented where there is an engine.
pub trait Reexecute {
    /// Why it could not run.
    type Error: Display;

    /// The output ids and the finish (stop or length) that the model decodes from `prompt`, stopping
    /// early after `at_most` ids: then the finish is not looked at.
    ///
    /// # Errors
    /// If the model is unknown or can't run.
    fn reexecute(
        &self,
        model: &ModelId,
        prompt: &[u32],
        params: &SelectionParams,
        at_most: u32,
    ) -> Result<(Vec<u32>, Finish), Self::Error>;
}

fn same<T: PartialEq + Display>(field: impl Into<String>, expected: T, came: T) -> Result<(), ReceiptError> {
    if expected == came {
        return Ok(());
    }
    Err(ReceiptError::Mismatch {
        field: field.into(),
        expected: expected.to_string(),
        came: came.to_string(),
    })
}

fn ordered(field: &str, first: u64, second: u64) -> Result<(), ReceiptError> {
    if first <= second {
        return Ok(());
    }
    Err(ReceiptError::Mismatch {
        field: field.into(),
        expected: format!("at least {first}"),
        came: second.to_string(),
    })
}

fn signed(
    field: &str,
    digest: &Keccak,
    signature: &Signature,
    signer: Address,
) -> Result<(), ReceiptError> {
    signature
        .verify(digest, signer)
        .map_err(|source| ReceiptError::Signature { field: field.to_owned(), source })
}

fn check_signed<M: Typed>(
    field: &str,
    signed_message: &Signed<M>,
    domain: &Domain,
    signer: Address,
) -> Result<(), ReceiptError> {
    signed(field, &signed_message.message.digest(domain), &signed_message.signature, signer)
}

/// Facts that several checks share.
struct Facts<'a> {
    receipt: &'a Receipt,
    anchors: &'a TrustAnchors,
    request: &'a Request,
    r: RequestCommitment,
    node: Address,
    node_index: NodeIndex,
}

impl Receipt {
    /// Checks every binding of the receipt at `now` (unix seconds).
    ///
    /// Cheap checks come first; hashes and signatures follow in the order of an answer's life.
    ///
    /// # Errors
    /// The first thing that is wrong. What merely is not fixed yet is reported as pending.
    pub fn check(&self, anchors: &TrustAnchors, now: u64) -> Result<Report, ReceiptError> {
        same("version", RECEIPT_VERSION, self.version)?;
        let request = &self.request;
        same("request.domain.chain_id", anchors.domain.chain_id, request.domain.chain_id)?;
        same("request.domain.rollup", anchors.domain.rollup, request.domain.rollup)?;
        request.validate()?;
        if !anchors.models.contains(&request.model) {
            return Err(ReceiptError::Mismatch {
                field: "request.model".into(),
                expected: "a registered model".into(),
                came: request.model.to_string(),
            });
        }
        let node = self.attestation.message.node;
        let node_index = self.draw.table.index_of(&node).ok_or_else(|| ReceiptError::Mismatch {
            field: "attestation.message.node".into(),
            expected: "a node of draw.table".into(),
            came: node.to_string(),
        })?;
        let facts = Facts { receipt: self, anchors, request, r: request.commitment(), node, node_index };
        facts.intake(now)?;
        facts.response()?;
        facts.progress()?;
        facts.cancel()?;
        facts.attestation()?;
        facts.attempts()?;
        let mut pending = BTreeSet::new();
        facts.draw_context(&mut pending)?;
        let draw_verified = facts.draw(&mut pending)?;
        facts.inclusion(&mut pending)?;
        let audited = facts.audit()?;
        let a = &self.attestation.message;
        if a.epoch >= anchors.final_before {
            pending.insert(Pending::EpochNotFinal);
        }
        Ok(Report {
            request: facts.r,
            output: self.response.message.output,
            response: a.response,
            model: request.model,
            node,
            epoch: a.epoch,
            finish: self.response.message.finish,
            charge: a.charge,
            speed_sample_ms: self.speed_sample(anchors.clock_agreement_ms),
            draw_verified,
            audited,
            pending,
        })
    }

    /// The dispatch-to-done time, if it counts as a speed sample: both sides' durations agree within
    /// `agreement` milliseconds and no ids were taken over from an earlier attempt.
    #[must_use]
    pub fn speed_sample(&self, agreement: u64) -> Option<u64> {
        let (a, r) = (&self.attestation.message, &self.response.message);
        let ours = a.done_ms.checked_sub(a.dispatched_ms)?;
        let theirs = r.done_ms.checked_sub(r.received_ms)?;
        (a.resumed_from == 0 && ours > 0 && ours.abs_diff(theirs) <= agreement).then_some(ours)
    }

    /// Runs the model again and compares every id and the finish.
    ///
    /// # Errors
    /// [`ReceiptError::Output`] at the first difference, [`ReceiptError::Reexecution`] if it can't run.
    pub fn reexecute<E: Reexecute>(&self, engine: &E) -> Result<(), ReceiptError> {
        let cancelled = self.response.message.finish == Finish::Cancelled;
        let at_most = if cancelled { self.response.message.n_out } else { self.request.params.max_tokens };
        let (ids, finish) = if at_most == 0 {
            (Vec::new(), Finish::Cancelled)
        } else {
            engine
                .reexecute(&self.request.model, &self.request.prompt, &self.request.params, at_most)
                .map_err(|e| ReceiptError::Reexecution(e.to_string()))?
        };
        let show = |id: Option<&u32>| id.map_or_else(|| "the end".to_owned(), u32::to_string);
        for index in 0..ids.len().max(self.output.len()) {
            let (expected, came) = (ids.get(index), self.output.get(index));
            if expected != came {
                return Err(ReceiptError::Output { index, expected: show(expected), came: show(came) });
            }
        }
        if !cancelled && finish != self.response.message.finish {
            return Err(ReceiptError::Output {
                index: ids.len(),
                expected: format!("{finish:?}").to_lowercase(),
                came: format!("{:?}", self.response.message.finish).to_lowercase(),
            });
        }
        Ok(())
    }

    /// The leaf that a batch must hold for this answer.
    ///
    /// # Errors
    /// [`ReceiptError::Mismatch`] if the node is not in the table.
    pub fn leaf(&self) -> Result<Leaf, ReceiptError> {
        let node = self.attestation.message.node;
        let index = self.draw.table.index_of(&node).ok_or_else(|| ReceiptError::Mismatch {
            field: "attestation.message.node".into(),
            expected: "a node of draw.table".into(),
            came: node.to_string(),
        })?;
        let r = &self.response.message;
        Ok(Leaf {
            request: r.request,
            output: r.output,
            meta: Meta {
                slot: r.slot,
                lane: r.lane,
                node: index,
                n_in: r.n_in,
                n_out: r.n_out,
                finish: r.finish,
                retry: self.attestation.message.retry,
                version: LEAF_VERSION,
            },
        })
    }
}

impl Facts<'_> {
    fn domain(&self) -> &Domain {
        &self.anchors.domain
    }

    /// Checks the four fields that place a message at this request's slot.
    fn place(
        &self,
        field: &str,
        request: RequestCommitment,
        model: ModelId,
        lane: crate::types::Lane,
        slot: crate::types::Slot,
    ) -> Result<(), ReceiptError> {
        let intake = &self.receipt.intake.message;
        same(format!("{field}.request"), self.r, request)?;
        same(format!("{field}.model"), self.request.model, model)?;
        same(format!("{field}.lane"), intake.lane, lane)?;
        same(format!("{field}.slot"), intake.slot, slot)
    }

    fn intake(&self, now: u64) -> Result<(), ReceiptError> {
        let intake = &self.receipt.intake;
        let m = &intake.message;
        // The signature comes first: if it holds, what differs is the request, not what was signed.
        check_signed("intake.signature", intake, self.domain(), self.anchors.sequencer)?;
        same("request (its commitment R)", m.request, self.r)?;
        same("intake.message.model", self.request.model, m.model)?;
        let message = RequestMessage {
            request: self.r,
            model: self.request.model,
            max_price: self.request.max_price,
            nonce: self.request.nonce,
            expiry: self.request.expiry,
        };
        match &self.receipt.user_signature {
            Some(s) => signed("user_signature", &message.digest(self.domain()), s, self.request.user)?,
            None if self.request.user == self.anchors.sequencer => {}
            None => {
                return Err(ReceiptError::Missing {
                    field: "user_signature",
                    why: "the request names a user key that is not the gateway's",
                });
            }
        }
        if m.received_ms / 1000 > now.saturating_add(MAX_CLOCK_SKEW_S) {
            return Err(ReceiptError::Mismatch {
                field: "intake.message.received_ms".into(),
                expected: format!("not after {now} s"),
                came: m.received_ms.to_string(),
            });
        }
        ordered("request.expiry", m.received_ms / 1000, self.request.expiry)
    }

    fn response(&self) -> Result<(), ReceiptError> {
        let m = &self.receipt.response.message;
        check_signed("response.signature", &self.receipt.response, self.domain(), self.node)?;
        self.place("response.message", m.request, m.model, m.lane, m.slot)?;
        same("response.message.n_in", self.request.n_in(), m.n_in)?;
        let n_out = u32::try_from(self.receipt.output.len()).unwrap_or(u32::MAX);
        same("response.message.n_out", n_out, m.n_out)?;
        let o = output_commitment(self.request.blinding, m.finish, &self.receipt.output);
        same("output (its commitment O)", m.output, o)?;
        self.finish(m.finish, n_out)?;
        ordered("response.message.first_token_ms", m.received_ms, m.first_token_ms)?;
        ordered("response.message.done_ms", m.first_token_ms, m.done_ms)
    }

    fn finish(&self, finish: Finish, n_out: u32) -> Result<(), ReceiptError> {
        let max = self.request.params.max_tokens;
        let expected = match finish {
            Finish::Stop if (1..=max).contains(&n_out) => return Ok(()),
            Finish::Length if n_out == max => return Ok(()),
            Finish::Cancelled if n_out <= max => return Ok(()),
            Finish::Stop => format!("1 to {max} ids for stop"),
            Finish::Length => format!("{max} ids for length"),
            Finish::Cancelled => format!("at most {max} ids"),
            Finish::Refused | Finish::Missed | Finish::Busy => {
                return Err(ReceiptError::Mismatch {
                    field: "response.message.finish".into(),
                    expected: "stop, length or cancelled".into(),
                    came: format!("{finish:?}").to_lowercase(),
                });
            }
        };
        Err(ReceiptError::Mismatch { field: "output".into(), expected, came: format!("{n_out} ids") })
    }

    fn progress(&self) -> Result<(), ReceiptError> {
        let mut hash = RunningHash::new(self.r, self.request.blinding);
        let points: BTreeMap<u32, Digest> =
            self.receipt.output.iter().filter_map(|id| hash.push(*id)).collect();
        let mut last = 0;
        for (i, p) in self.receipt.progress.iter().enumerate() {
            let m = &p.message;
            let at = format!("progress[{i}].message");
            self.place(&at, m.request, m.model, m.lane, m.slot)?;
            let Some(expected) = points.get(&m.up_to).filter(|_| m.up_to > last) else {
                return Err(ReceiptError::Mismatch {
                    field: format!("{at}.up_to"),
                    expected: format!("an ascending multiple of {PROGRESS_IDS} within the output"),
                    came: m.up_to.to_string(),
                });
            };
            last = m.up_to;
            same(format!("{at}.running"), *expected, m.running)?;
            check_signed(&format!("progress[{i}].signature"), p, self.domain(), self.node)?;
        }
        Ok(())
    }

    fn cancel(&self) -> Result<(), ReceiptError> {
        let cancelled = self.receipt.response.message.finish == Finish::Cancelled;
        match &self.receipt.cancel {
            None if cancelled => Err(ReceiptError::Missing {
                field: "cancel",
                why: "a cancelled answer needs the requester's signature",
            }),
            None => Ok(()),
            Some(c) => {
                same("response.message.finish", true, cancelled)?;
                same("cancel.message.request", self.r, c.message.request)?;
                same("cancel.message.up_to", self.receipt.response.message.n_out, c.message.up_to)?;
                check_signed("cancel.signature", c, self.domain(), self.request.user)
            }
        }
    }

    fn attestation(&self) -> Result<(), ReceiptError> {
        let (a, r) = (&self.receipt.attestation.message, &self.receipt.response.message);
        let sequencer = self.anchors.sequencer;
        check_signed("attestation.signature", &self.receipt.attestation, self.domain(), sequencer)?;
        same("attestation.message.response", r.digest(self.domain()), a.response)?;
        same("attestation.message.epoch", self.receipt.draw.table.epoch, a.epoch)?;
        same("attestation.message.retry", self.receipt.attempts.len() as u64, u64::from(a.retry.0))?;
        let received = self.receipt.intake.message.received_ms;
        ordered("attestation.message.dispatched_ms", received, a.dispatched_ms)?;
        ordered("attestation.message.first_token_ms", a.dispatched_ms, a.first_token_ms)?;
        ordered("attestation.message.done_ms", a.first_token_ms, a.done_ms)?;
        let charge = charge(r.n_in, r.n_out, a.input_price, a.output_price).ok_or_else(|| {
            ReceiptError::Mismatch {
                field: "attestation.message.charge".into(),
                expected: "a charge below 2^128".into(),
                came: a.charge.to_string(),
            }
        })?;
        same("attestation.message.charge", charge, a.charge)?;
        if a.charge > self.request.max_price {
            return Err(ReceiptError::Mismatch {
                field: "attestation.message.charge".into(),
                expected: format!("at most {}", self.request.max_price),
                came: a.charge.to_string(),
            });
        }
        Ok(())
    }

    fn attempts(&self) -> Result<(), ReceiptError> {
        let mut streamed = 0;
        for (i, attempt) in self.receipt.attempts.iter().enumerate() {
            let at = format!("attempts[{i}]");
            let node = attempt.node();
            if self.receipt.draw.table.index_of(&node).is_none() {
                return Err(ReceiptError::Mismatch {
                    field: format!("{at}.node"),
                    expected: "a node of draw.table".into(),
                    came: node.to_string(),
                });
            }
            match attempt {
                Attempt::Missed(miss) => {
                    let m = &miss.message;
                    self.place(&format!("{at}.message"), m.request, m.model, m.lane, m.slot)?;
                    same(format!("{at}.message.retry"), i as u64, u64::from(m.retry.0))?;
                    ordered(&format!("{at}.message.at_ms"), m.dispatched_ms, m.at_ms)?;
                    ordered(&format!("{at}.message.streamed"), streamed, u64::from(m.streamed))?;
                    streamed = u64::from(m.streamed);
                    check_signed(&format!("{at}.signature"), miss, self.domain(), self.anchors.sequencer)?;
                }
                Attempt::Refused(r) => self.refusal(&at, i, &r.refusal, node)?,
                Attempt::Busy(b) => {
                    self.refusal(&at, i, &b.refusal, node)?;
                    let (refusal, credit) = (&b.refusal.message, &b.credit.message);
                    same(format!("{at}.credit.message.model"), self.request.model, credit.model)?;
                    ordered(&format!("{at}.refusal.message.at_ms"), credit.issued_ms, refusal.at_ms)?;
                    if !refusal.shows_exhausted(credit.credits) {
                        return Err(ReceiptError::Mismatch {
                            field: format!("{at}.refusal.message.active"),
                            expected: format!("busy with {} distinct requests, ascending", credit.credits),
                            came: format!("{:?} with {}", refusal.reason, refusal.active.len()),
                        });
                    }
                    check_signed(&format!("{at}.credit.signature"), &b.credit, self.domain(), node)?;
                }
            }
        }
        same(
            "attestation.message.resumed_from",
            streamed,
            u64::from(self.receipt.attestation.message.resumed_from),
        )?;
        ordered("response.message.n_out", streamed, u64::from(self.receipt.response.message.n_out))
    }

    fn refusal(
        &self,
        at: &str,
        i: usize,
        refusal: &Signed<crate::messages::Refusal>,
        node: Address,
    ) -> Result<(), ReceiptError> {
        let m = &refusal.message;
        self.place(&format!("{at}.refusal.message"), m.request, m.model, m.lane, m.slot)?;
        same(format!("{at}.refusal.message.retry"), i as u64, u64::from(m.retry.0))?;
        check_signed(&format!("{at}.refusal.signature"), refusal, self.domain(), node)
    }

    /// Checks the draw's inputs against the attestation and, where the auditor knows them, against L1.
    fn draw_context(&self, pending: &mut BTreeSet<Pending>) -> Result<(), ReceiptError> {
        let d = &self.receipt.draw;
        let intake = &self.receipt.intake.message;
        d.table.validate()?;
        same("draw.table.model", self.request.model, d.table.model)?;
        let epoch = d.table.epoch;
        let beacon = if self.anchors.insecure_devnet {
            Some(crate::insecure_devnet_beacon(epoch))
        } else {
            self.anchors.beacons.get(&epoch).copied()
        };
        match beacon {
            Some(expected) => same("draw.beacon", expected, d.beacon)?,
            None => drop(pending.insert(Pending::BeaconUnknown)),
        }
        match self.anchors.tables.get(&epoch).and_then(|t| t.get(&d.table.model)) {
            Some(expected) => same("draw.table", *expected, d.table.digest())?,
            None => drop(pending.insert(Pending::TableUnknown)),
        }
        // Anchors first, so that what they know to be wrong is named; then the digest binds the rest.
        let context = context_digest(&d.beacon, &d.table, d.chain.as_ref());
        same("draw (its digest)", self.receipt.attestation.message.draw, context)?;
        let by_lot = !intake.lane.by_preference();
        let Some(chain) = &d.chain else {
            return if by_lot {
                Err(ReceiptError::Missing { field: "draw.chain", why: "the lane draws its nodes" })
            } else {
                same("draw.link", true, d.link.is_none())
            };
        };
        same("draw.chain", by_lot, true)?;
        same("draw.chain.model", self.request.model, chain.model)?;
        same("draw.chain.lane", intake.lane, chain.lane)?;
        ordered("draw.table.epoch", chain.epoch.0, epoch.0)?;
        chain.covers(intake.slot.link_index())?;
        let mut known = self
            .anchors
            .chains
            .iter()
            .filter(|c| c.model == chain.model && c.lane == chain.lane && c.first == chain.first)
            .peekable();
        if known.peek().is_none() {
            pending.insert(Pending::ChainUnknown);
        } else if !known.any(|c| c == chain) {
            return Err(ReceiptError::Mismatch {
                field: "draw.chain.anchor".into(),
                expected: "the registered chain".into(),
                came: chain.anchor.to_string(),
            });
        }
        Ok(())
    }

    /// Recomputes the draws of all attempts, if the link is there. True if it was.
    fn draw(&self, pending: &mut BTreeSet<Pending>) -> Result<bool, ReceiptError> {
        let d = &self.receipt.draw;
        let intake = &self.receipt.intake.message;
        let retry = self.receipt.attestation.message.retry;
        ordered("attestation.message.retry", u64::from(retry.0) + 1, self.anchors.max_attempts)?;
        let Some(chain) = &d.chain else { return Ok(false) };
        let Some(link) = d.link else {
            pending.insert(Pending::LinkNotRevealed);
            return Ok(false);
        };
        chain.verify(intake.slot.link_index(), link)?;
        let inputs = DrawInputs {
            beacon: d.beacon,
            link,
            model: self.request.model,
            lane: intake.lane,
            slot: intake.slot,
        };
        let order = draw_order(&inputs, &d.table, retry)?;
        let tried = self.receipt.attempts.iter().map(Attempt::node).chain([self.node]);
        for (i, (index, node)) in order.iter().zip(tried).enumerate() {
            let drawn = d.table.node(*index).unwrap_or(Address::ZERO);
            let field = if i < self.receipt.attempts.len() {
                format!("attempts[{i}].node")
            } else {
                "attestation.message.node".into()
            };
            same(field, drawn, node)?;
        }
        Ok(true)
    }

    fn inclusion(&self, pending: &mut BTreeSet<Pending>) -> Result<(), ReceiptError> {
        let Some(inclusion) = &self.receipt.inclusion else {
            pending.insert(Pending::NotBatched);
            return Ok(());
        };
        let h = &inclusion.header.message;
        let intake = &self.receipt.intake.message;
        let at = "inclusion.header.message";
        check_signed("inclusion.header.signature", &inclusion.header, self.domain(), self.anchors.sequencer)?;
        same(format!("{at}.model"), self.request.model, h.model)?;
        same(format!("{at}.epoch"), self.receipt.draw.table.epoch, h.epoch)?;
        same(format!("{at}.links"), links_digest(&inclusion.lanes, inclusion.speed), h.links)?;
        match self.anchors.batches.get(&h.number) {
            Some(expected) => same("inclusion.header", *expected, h.batch_digest())?,
            None => drop(pending.insert(Pending::BatchUnknown)),
        }
        let (offset, lane) = find_lane(&inclusion.lanes, intake.lane).ok_or(ReceiptError::Missing {
            field: "inclusion.lanes",
            why: "the batch has no slots of this lane",
        })?;
        if !(lane.first_slot..lane.end_slot).contains(&intake.slot) {
            return Err(ReceiptError::Mismatch {
                field: "intake.message.slot".into(),
                expected: format!("{} to {} (exclusive), as batched", lane.first_slot, lane.end_slot),
                came: intake.slot.to_string(),
            });
        }
        let index = u64::from(inclusion.proof.index);
        let places = offset..offset + u64::from(lane.leaves);
        if !places.contains(&index) {
            return Err(ReceiptError::Mismatch {
                field: "inclusion.proof.index".into(),
                expected: format!("{} to {} (exclusive), the lane's leaves", places.start, places.end),
                came: index.to_string(),
            });
        }
        let width = u64::from(h.leaf_count).max(1).next_power_of_two();
        same("inclusion.proof.siblings", u64::from(width.trailing_zeros()), inclusion.proof.siblings.len() as u64)?;
        self.revealed_link(lane)?;
        let leaf = self.leaf();
        let root = inclusion.proof.root(leaf.hash()?).unwrap_or(Digest(Fr::default()));
        same("inclusion.proof", h.root, root)
    }

    /// The receipt's link, if it has one, must lead to the batch's by hashing.
    fn revealed_link(&self, lane: &LaneRange) -> Result<(), ReceiptError> {
        let Some(link) = self.receipt.draw.link else {
            return if lane.lane.by_preference() {
                Ok(())
            } else {
                Err(ReceiptError::Missing { field: "draw.link", why: "the batch has revealed it" })
            };
        };
        let ours = self.receipt.intake.message.slot.link_index();
        let last = Slot(lane.end_slot.0.saturating_sub(1)).link_index();
        let steps = last.saturating_sub(ours);
        if steps > u64::from(lane.leaves) {
            return Err(ReceiptError::Mismatch {
                field: "inclusion.lanes".into(),
                expected: "at least one leaf per slot".into(),
                came: format!("{} leaves", lane.leaves),
            });
        }
        same("draw.link", descend(lane.link, steps), link)
    }

    fn leaf(&self) -> Leaf {
        let r = &self.receipt.response.message;
        Leaf {
            request: r.request,
            output: r.output,
            meta: Meta {
                slot: r.slot,
                lane: r.lane,
                node: self.node_index,
                n_in: r.n_in,
                n_out: r.n_out,
                finish: r.finish,
                retry: Retry(self.receipt.attestation.message.retry.0),
                version: LEAF_VERSION,
            },
        }
    }

    fn audit(&self) -> Result<bool, ReceiptError> {
        let Some(record) = &self.receipt.audit else { return Ok(false) };
        if !self.anchors.auditors.contains(&record.auditor) {
            return Err(ReceiptError::Mismatch {
                field: "audit.auditor".into(),
                expected: "a trusted auditor".into(),
                came: record.auditor.to_string(),
            });
        }
        let m = &record.audit.message;
        same("audit.audit.message.response", self.receipt.attestation.message.response, m.response)?;
        check_signed("audit.audit.signature", &record.audit, self.domain(), record.auditor)?;
        if m.passed { Ok(true) } else { Err(ReceiptError::AuditFailed) }
    }
}

impl Attempt {
    /// The node that was drawn.
    #[must_use]
    pub fn node(&self) -> Address {
        match self {
            Self::Missed(m) => m.message.node,
            Self::Refused(r) => r.node,
            Self::Busy(b) => b.node,
        }
    }
}

/// n_in · input price + n_out · output price; `None` beyond 128 bits.
#[must_use]
pub fn charge(n_in: u32, n_out: u32, input_price: Amount, output_price: Amount) -> Option<Amount> {
    let input = input_price.0.checked_mul(u128::from(n_in))?;
    let output = output_price.0.checked_mul(u128::from(n_out))?;
    input.checked_add(output).map(Amount)
}

/// How far in the auditor's future an intake may lie, seconds.
pub const MAX_CLOCK_SKEW_S: u64 = 300;
