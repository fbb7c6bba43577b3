//! The end of a slot: attested, recorded in one synced write, then told.

use monai_protocol::leaf::LEAF_VERSION;
use monai_protocol::messages::{Attestation, Miss, Typed as _};
use monai_protocol::receipt::{Attempt, BusyAttempt, RefusedAttempt, Signed};
use monai_protocol::{Finish, Leaf, Meta, NodeIndex, OutputCommitment, Retry};

use super::attempt::{Answered, Failure};
use super::drive::{Failed, Run};
use super::{Answer, Router, lane_name};
use crate::clock::now_secs;
use crate::ledger::LedgerError;
use crate::records::{self, ClosedSlot, Evidence, Plaintext, SpeedSample, StoredReceipt};
use crate::store::{Cf, Change, keys};

impl Router {
    /// Countersigns an answer and writes everything down. Only then may the client hear that it is complete.
    pub(super) async fn close_answered(&self, run: &Run, a: Answered) -> Result<Answer, LedgerError> {
        let response = &a.response.message;
        let missing = LedgerError::Inconsistent("an answer without table, node or charge");
        let (Some(table), Some(draw)) = (&run.view.table, run.view.context(run.open.lane)) else {
            return Err(missing);
        };
        let (Some(index), Some(charge)) =
            (table.index_of(&a.node), run.served.charge(response.n_in, response.n_out))
        else {
            return Err(missing);
        };
        let message = Attestation {
            response: response.digest(&self.domain),
            node: a.node,
            epoch: run.view.epoch,
            retry: a.retry,
            resumed_from: run.resumed_from(),
            dispatched_ms: a.dispatched_ms,
            first_token_ms: a.first_token_ms,
            done_ms: a.done_ms,
            input_price: run.served.price_input,
            output_price: run.served.price_output,
            charge,
            draw,
        };
        let attestation = Signed { signature: message.sign(&self.domain, &self.key)?, message };
        let speed = self.speed_sample(run, &a, &attestation.message);
        let leaf = Leaf {
            request: response.request,
            output: response.output,
            meta: self.leaf_meta(run, index, a.retry, response.n_out, response.finish),
        };
        let answer = Answer {
            finish: response.finish,
            ids: run.output.ids.clone(),
            node: a.node,
            failovers: run.failed.len(),
        };
        let answered =
            records::Answered { response: a.response, progress: a.progress, cancel: a.cancel, attestation };
        self.close(run, Some((leaf, answered)), speed).await?;
        Ok(answer)
    }

    /// Records that every attempt failed.
    pub(super) async fn close_failed(&self, run: &Run) -> Result<(), LedgerError> {
        self.close(run, None, None).await
    }

    async fn close(
        &self,
        run: &Run,
        end: Option<(Leaf, records::Answered)>,
        speed: Option<SpeedSample>,
    ) -> Result<(), LedgerError> {
        let open = &run.open;
        let (model, lane, slot) = (open.request.model, open.lane, open.slot);
        let mut leaves: Vec<Leaf> = Vec::with_capacity(run.failed.len() + 1);
        let mut attempts = Vec::with_capacity(run.failed.len());
        for (retry, failed) in (0u8..).zip(&run.failed) {
            let retry = Retry(retry);
            let (attempt, finish) = self.attempt_record(run, retry, failed)?;
            attempts.push(attempt);
            leaves.push(Leaf {
                request: run.place.r,
                output: OutputCommitment::NONE,
                meta: self.leaf_meta(run, failed.index, retry, 0, finish),
            });
        }
        let finish = end.as_ref().map_or("none", |(leaf, _)| leaf.meta.finish.name());
        let n_out = end.as_ref().map_or(0, |(leaf, _)| leaf.meta.n_out);
        let mut change = Change::default();
        let key = keys::slot(&model, lane, slot);
        change.delete(Cf::Open, key.clone());
        let answer = end.map(|(leaf, answered)| {
            leaves.push(leaf);
            answered
        });
        // Slots without an answer have an end to their plaintext too: the record of the open slot is deleted here,
        // and erased from the files then.
        let receipt = keys::receipt(&open.completion, open.choice);
        let until = now_secs().saturating_add(self.retention_secs);
        change.put(Cf::Expiries, keys::expiry(until, &receipt), Vec::new());
        if answer.is_some() {
            change.put_json(
                Cf::Receipts,
                receipt,
                &StoredReceipt::Kept(Box::new(Plaintext {
                    owner: open.owner,
                    lane,
                    slot,
                    request: open.request.clone(),
                    user_signature: open.user_signature,
                    output: run.output.ids.clone(),
                })),
            )?;
        }
        let evidence = Evidence { epoch: run.view.epoch, intake: run.intake.clone(), attempts, answer };
        change.put_json(Cf::Evidence, key.clone(), &evidence)?;
        let closed = ClosedSlot { epoch: run.view.epoch, leaves, speed };
        change.put_json(Cf::Leaves, key, &closed)?;
        self.store.commit(change).await?;
        self.ledger.close(model, lane, slot, closed);

        let name = run.served.name.as_str();
        self.metrics.slots.with_label_values(&[name, finish]).inc();
        self.metrics.tokens.with_label_values(&[name, "input"]).inc_by(u64::from(open.request.n_in()));
        self.metrics.tokens.with_label_values(&[name, "output"]).inc_by(u64::from(n_out));
        let took = crate::clock::now_ms().saturating_sub(open.received_ms);
        self.metrics.duration.with_label_values(&[name]).observe(took as f64 / 1e3);
        tracing::debug!(model = name, lane = lane_name(lane), slot = slot.0, finish, "slot closed");
        Ok(())
    }

    fn leaf_meta(&self, run: &Run, node: NodeIndex, retry: Retry, n_out: u32, finish: Finish) -> Meta {
        Meta {
            slot: run.open.slot,
            lane: run.open.lane,
            node,
            n_in: run.open.request.n_in(),
            n_out,
            finish,
            retry,
            version: LEAF_VERSION,
        }
    }

    fn attempt_record(
        &self,
        run: &Run,
        retry: Retry,
        failed: &Failed,
    ) -> Result<(Attempt, Finish), LedgerError> {
        let refusal =
            |r: &monai_protocol::wire::Refuse| Signed { message: r.refusal.clone(), signature: r.signature };
        Ok(match &failed.failure {
            Failure::Missed(_) => {
                let message = Miss {
                    request: run.place.r,
                    model: run.open.request.model,
                    lane: run.open.lane,
                    slot: run.open.slot,
                    retry,
                    node: failed.node,
                    dispatched_ms: failed.dispatched_ms,
                    at_ms: failed.at_ms,
                    streamed: failed.streamed,
                };
                let signature = message.sign(&self.domain, &self.key)?;
                (Attempt::Missed(Signed { message, signature }), Finish::Missed)
            }
            Failure::Refused(r, _) => {
                (Attempt::Refused(RefusedAttempt { node: failed.node, refusal: refusal(r) }), Finish::Refused)
            }
            Failure::Busy(r, offer) => {
                let credit = Signed { message: offer.credit.clone(), signature: offer.signature };
                (Attempt::Busy(BusyAttempt { node: failed.node, refusal: refusal(r), credit }), Finish::Busy)
            }
        })
    }

    /// A speed sample counts only if both sides' durations agree and nothing was taken over.
    fn speed_sample(&self, run: &Run, a: &Answered, ours: &Attestation) -> Option<SpeedSample> {
        let agreement = self.ledger.state().parameters.clock_agreement;
        let (theirs, millis) = (&a.response.message, ours.done_ms.checked_sub(ours.dispatched_ms)?);
        let agreed = millis.abs_diff(theirs.done_ms.checked_sub(theirs.received_ms)?) <= agreement;
        let counts = agreed && ours.resumed_from == 0 && millis > 0 && !run.open.lane.by_preference();
        counts.then(|| SpeedSample { node: a.node, tokens: u64::from(theirs.n_out), millis })
    }
}
