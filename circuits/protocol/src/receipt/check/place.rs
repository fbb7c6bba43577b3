//! The answer's place: the draw that chose its node, and the batch that holds its leaf.

use super::{Facts, Pending, check_signed, ordered, same};
use crate::batch::{LaneRange, find_lane, links_digest};
use crate::chain::descend;
use crate::draw::{DrawInputs, context_digest, draw_order};
use crate::field::Fr;
use crate::receipt::{Attempt, ReceiptError};
use crate::types::{Address, Digest, Slot};
use std::collections::BTreeSet;

impl Facts<'_> {
    /// Checks the draw's inputs against the attestation and, where the auditor knows them, against L1.
    pub(super) fn draw_context(&self, pending: &mut BTreeSet<Pending>) -> Result<(), ReceiptError> {
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
        same("intake.message.lane (by preference)", self.request.by_preference, !by_lot)?;
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
    pub(super) fn draw(&self, pending: &mut BTreeSet<Pending>) -> Result<bool, ReceiptError> {
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

    pub(super) fn inclusion(&self, pending: &mut BTreeSet<Pending>) -> Result<(), ReceiptError> {
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
        same(
            "inclusion.proof.siblings",
            u64::from(width.trailing_zeros()),
            inclusion.proof.siblings.len() as u64,
        )?;
        self.revealed_link(lane)?;
        let leaf = self.receipt.leaf()?;
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
}
