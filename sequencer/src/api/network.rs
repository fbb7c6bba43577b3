//! `GET /v1/network`: nodes, scores, weights, epoch. `GET /v1/anchors`: what receipts are checked against.

use std::collections::{BTreeMap, BTreeSet};

use monai_protocol::fixed::ONE;
use monai_protocol::receipt::{Signed, TrustAnchors};
use monai_protocol::{Address, BatchHeader, EpochId, ModelId, Table};
use serde_json::{Value, json};

use super::Api;
use crate::records::EpochRecord;
use crate::store::{Cf, StoreError, decode};

/// Batches and epochs that the anchors list; older ones are on L1 or in the auditor's own copy.
const RECENT: usize = 4_096;

/// A Q32 fraction as people read it.
fn fraction(q: u64) -> f64 {
    q as f64 / ONE as f64
}

/// `GET /v1/network`.
pub(super) fn get(api: &Api) -> Result<Vec<u8>, super::ApiError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the network could not be described");
        super::ApiError::internal()
    };
    let ledger = &api.router.ledger;
    let (state, clock) = (ledger.state(), ledger.clock());
    let stakes = ledger.stakes().map_err(|e| failed(&e))?;
    let view = api.router.slots.view();
    let models: Vec<Value> = api
        .catalogue
        .all()
        .iter()
        .map(|m| {
            let routing = state.epoch.models.get(&m.id);
            json!({
                "name": m.name,
                "model_id": m.id,
                "weights": routing.map(|r| json!({
                    "uptime": fraction(r.weights.uptime),
                    "speed": fraction(r.weights.speed),
                    "stake": fraction(r.weights.stake),
                })),
                "medians": routing.map(|r| json!({
                    "uptime": r.medians.uptime.map(fraction),
                    "tokens_per_second": r.medians.speed.map(|s| s as f64 / 1e3),
                })),
                "pot": routing.map(|r| &r.pot),
                "paid": state.epoch.paid.get(&m.id),
                "nodes": view.models.get(&m.id).map(|v| v.nodes().len()),
            })
        })
        .collect();
    let nodes: Vec<Value> = stakes.operators.iter().map(|o| node(api, o, &state, &view)).collect();
    let document = json!({
        "epoch": clock.epoch,
        "epoch_started_ms": clock.started_ms,
        "epoch_ends_ms": clock.ends_ms,
        "batched_epoch": state.epoch.epoch,
        "next_batch": state.next_batch,
        "head": state.head,
        "domain": state.domain,
        "sequencer": api.router.key.address(),
        "models": models,
        "nodes": nodes,
        "parameters": state.parameters,
    });
    serde_json::to_vec(&document).map_err(|e| failed(&e))
}

fn node(
    api: &Api,
    o: &crate::config::Operator,
    state: &monai_protocol::State,
    view: &crate::ledger::view::EpochView,
) -> Value {
    let session = api.router.hub.session(&o.operator);
    let models: Vec<Value> =
        view.models.iter().filter_map(|(id, v)| share(api, o.operator, id, v, state)).collect();
    json!({
        "address": o.operator,
        "owner": o.owner,
        "stake": o.stake.to_string(),
        "connected": session.is_some(),
        "draining": session.as_ref().is_some_and(|s| s.draining()),
        "since_ms": session.as_ref().map(|s| s.since_ms),
        "software": session.as_ref().map(|s| s.software.clone()),
        "active": session.as_ref().map(|s| s.active()),
        "load": session.as_ref().and_then(|s| s.stats()),
        "credits": session.as_ref().map(|s| {
            s.offers().iter().map(|f| (f.credit.model.to_string(), f.credit.credits)).collect::<BTreeMap<_, _>>()
        }),
        "models": models,
    })
}

fn share(
    api: &Api,
    node: Address,
    id: &ModelId,
    view: &crate::ledger::ModelView,
    state: &monai_protocol::State,
) -> Option<Value> {
    let weight_in = |table: Option<&Table>| {
        let table = table?;
        let weight = table.entries.iter().find(|e| e.node == node)?.weight;
        Some((weight, weight as f64 / table.total() as f64))
    };
    let now = weight_in(view.table.as_deref());
    // The table of the epoch after the state's, which is fixed already: what a change of stake moves first.
    let next = weight_in(state.epoch.models.get(id).and_then(|m| m.next.as_ref()));
    if now.is_none() && next.is_none() {
        return None;
    }
    let record = state.epoch.models.get(id).and_then(|m| m.records.get(&node)).copied().unwrap_or_default();
    let counters = state.counters.models.get(id).and_then(|m| m.get(&node)).copied().unwrap_or_default();
    Some(json!({
        "model": api.catalogue.by_id(id).map(|m| m.name.clone()),
        "score": now.map(|(weight, _)| weight.to_string()),
        "probability": now.map_or(0.0, |(_, p)| p),
        "next_probability": next.map_or(0.0, |(_, p)| p),
        "uptime": record.uptime.map(fraction),
        "tokens_per_second": record.speed.map(|s| s as f64 / 1e3),
        "answered": counters.answered,
        "missed": counters.missed,
        "busy": counters.busy,
    }))
}

/// `GET /v1/anchors`.
pub(super) fn get_anchors(api: &Api) -> Result<Vec<u8>, super::ApiError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the anchors could not be read");
        super::ApiError::internal()
    };
    serde_json::to_vec(&anchors(api).map_err(|e| failed(&e))?).map_err(|e| failed(&e))
}

/// The facts that receipts are checked against, by the sequencer's own word. Whoever follows L1 finds the beacons and the
/// batches there.
pub(crate) fn anchors(api: &Api) -> Result<TrustAnchors, StoreError> {
    let router = &api.router;
    let state = router.ledger.state();
    let store = &router.store;
    let first_epoch = router.ledger.clock().epoch.0.saturating_sub(RECENT as u64);
    let mut beacons = BTreeMap::new();
    let mut tables: BTreeMap<EpochId, BTreeMap<ModelId, _>> = BTreeMap::new();
    let mut chains = Vec::new();
    for epoch in first_epoch..=router.ledger.clock().epoch.0 {
        for (key, record) in store.scan_json::<EpochRecord>(Cf::Epochs, &epoch.to_be_bytes(), usize::MAX)? {
            let Some(model) = key.get(8..).and_then(|m| <[u8; 32]>::try_from(m).ok()).map(ModelId) else {
                continue;
            };
            beacons.insert(EpochId(epoch), record.beacon);
            if let Some(table) = &record.table {
                tables.entry(EpochId(epoch)).or_default().insert(model, table.digest());
            }
            if !chains.contains(&record.chain) {
                chains.push(record.chain);
            }
        }
    }
    let mut batches = BTreeMap::new();
    for number in state.next_batch.saturating_sub(RECENT as u64)..state.next_batch {
        if let Some(bytes) = store.get(Cf::Batches, &number.to_be_bytes())? {
            let header: Signed<BatchHeader> = decode(Cf::Batches, &bytes)?;
            batches.insert(number, header.message.batch_digest());
        }
    }
    Ok(TrustAnchors {
        domain: router.domain,
        sequencer: router.key.address(),
        models: api.catalogue.all().iter().map(|m| m.id).collect(),
        auditors: BTreeSet::new(),
        beacons,
        tables,
        chains,
        batches,
        final_before: EpochId(0),
        max_attempts: state.parameters.max_attempts,
        clock_agreement_ms: state.parameters.clock_agreement,
        insecure_devnet: router.ledger.l1_status().is_none(),
    })
}
