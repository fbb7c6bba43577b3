//! A small true network: keys, tables, a chain, answers with receipts, and batches of them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use monai_protocol::batch::LaneRange;
use monai_protocol::chain::HashChain;
use monai_protocol::draw::{DrawInputs, context_digest, draw_order};
use monai_protocol::epoch::{EpochState, NodeStake, StakeSnapshot};
use monai_protocol::messages::{
    Attestation, Audit, Cancel, Credit, Intake, Miss, Progress, Refusal, RefusalReason, RequestMessage,
    Response,
};
use monai_protocol::output::RunningHash;
use monai_protocol::receipt::{
    Attempt, AuditRecord, BusyAttempt, DrawRecord, Inclusion, Receipt, RefusedAttempt, Signed, TrustAnchors,
    charge,
};
use monai_protocol::*;
use std::collections::{BTreeMap, BTreeSet};

pub const MODEL: ModelId = ModelId([0x5a; 32]);
pub const LANE: Lane = Lane(0);
/// Unix seconds at which receipts are checked.
pub const NOW: u64 = 1_800_000_100;
const T0: u64 = 1_800_000_000_000;

pub fn key(n: u8) -> SecretKey {
    let mut bytes = [n; 32];
    bytes[0] = 1;
    SecretKey::from_bytes(&bytes).unwrap()
}

pub struct World {
    pub domain: Domain,
    pub sequencer: SecretKey,
    pub user: SecretKey,
    pub auditor: SecretKey,
    pub nodes: BTreeMap<Address, SecretKey>,
    pub snapshot: StakeSnapshot,
    pub chain: HashChain,
    pub state: State,
}

/// How the attempts before the answer end.
#[derive(Clone, Copy, PartialEq)]
pub enum Fail {
    Miss,
    Refuse,
    Busy,
}

pub fn sign<M: Typed>(message: M, domain: &Domain, key: &SecretKey) -> Signed<M> {
    let signature = message.sign(domain, key).unwrap();
    Signed { message, signature }
}

impl World {
    pub fn new(nodes: u8) -> Self {
        let domain = Domain { chain_id: ChainId(31_337), rollup: Address([0xab; 20]) };
        let nodes: BTreeMap<_, _> = (0..nodes).map(|i| key(10 + i)).map(|k| (k.address(), k)).collect();
        let snapshot = StakeSnapshot {
            nodes: nodes
                .keys()
                .enumerate()
                .map(|(i, a)| {
                    let stake = NodeStake {
                        // Slots and the order of addresses have nothing to do with each other.
                        slot: NodeIndex(40 - 3 * i as u16),
                        owner: Address([i as u8 + 1; 20]),
                        stake: (1_000 + 500 * i as u64) * 1_000_000_000,
                        exposure: 0,
                        models: BTreeSet::from([MODEL]),
                    };
                    (*a, stake)
                })
                .collect(),
        };
        let parameters = Parameters::default();
        let epoch = EpochState::genesis(&BTreeSet::from([MODEL]), &snapshot, &parameters);
        let mut state = State::genesis(domain, epoch, insecure_devnet_beacon(EpochId(0)), parameters);
        let chain = HashChain::derive(&[7; 32], &MODEL, LANE, 0, 64).unwrap();
        state.register_chain(chain.anchor(MODEL, LANE, EpochId(0))).unwrap();
        Self { domain, sequencer: key(1), user: key(2), auditor: key(3), nodes, snapshot, chain, state }
    }

    pub fn anchors(&self) -> TrustAnchors {
        TrustAnchors {
            domain: self.domain,
            sequencer: self.sequencer.address(),
            models: BTreeSet::from([MODEL]),
            auditors: BTreeSet::from([self.auditor.address()]),
            beacons: BTreeMap::new(),
            tables: BTreeMap::from([(EpochId(0), BTreeMap::from([(MODEL, self.table().digest())]))]),
            chains: vec![self.chain.anchor(MODEL, LANE, EpochId(0))],
            batches: BTreeMap::new(),
            final_before: EpochId(0),
            max_attempts: 8,
            clock_agreement_ms: 2_000,
            insecure_devnet: true,
        }
    }

    pub fn table(&self) -> Table {
        self.state.epoch.table(&MODEL).unwrap().clone()
    }

    pub fn inputs(&self, slot: Slot) -> DrawInputs {
        DrawInputs {
            beacon: self.state.beacon,
            link: self.chain.link(slot.link_index()).unwrap(),
            model: MODEL,
            lane: LANE,
            slot,
        }
    }

    pub fn request(&self, nonce: u64, max_tokens: u32) -> Request {
        let mut request = Request {
            domain: self.domain,
            model: MODEL,
            params: SelectionParams {
                tau: 3,
                top_k: 40,
                top_p: 60_000,
                delta_min_p: 9_000,
                max_tokens,
                stop_ids: vec![2, 7],
                seed: 0,
            },
            prompt: (0..20).map(|i| i * 7 + nonce as u32).collect(),
            user: self.user.address(),
            nonce,
            blinding: Blinding(0x1234_5678_9abc_def0 << 40 | u128::from(nonce)),
            expiry: T0 / 1000 + 60,
            max_price: Amount(1_000_000),
            assurance: Assurance::Sampled,
            by_preference: false,
        };
        request.params.seed = request.default_seed();
        request
    }

    /// A receipt as a client gets it when the answer ends: not batched, link not revealed.
    pub fn answer(&self, slot: u64, fails: &[Fail], finish: Finish, n_out: u32) -> Receipt {
        let slot = Slot(slot);
        let max = if finish == Finish::Length { n_out } else { n_out + 5 };
        let request = self.request(slot.0, max);
        let r = request.commitment();
        let table = self.table();
        let retry = Retry(fails.len() as u8);
        let order = draw_order(&self.inputs(slot), &table, retry).unwrap();
        let at = |i: usize| table.node(order[i]).unwrap();
        let node = at(fails.len());
        let node_key = &self.nodes[&node];
        let ids: Vec<u32> = (0..n_out).map(|i| i * 31 % 997 + slot.0 as u32).collect();
        let base = T0 + slot.0 * 10;
        let d = &self.domain;

        let message = RequestMessage {
            request: r,
            model: MODEL,
            max_price: request.max_price,
            nonce: request.nonce,
            expiry: request.expiry,
        };
        let intake = Intake { request: r, model: MODEL, lane: LANE, slot, received_ms: base };
        let mut streamed = 0;
        let attempts: Vec<Attempt> = fails
            .iter()
            .enumerate()
            .map(|(i, fail)| {
                let node = at(i);
                let node_key = &self.nodes[&node];
                let refusal = |reason, active| {
                    let retry = Retry(i as u8);
                    let at_ms = base + 5;
                    sign(
                        Refusal { request: r, model: MODEL, lane: LANE, slot, retry, reason, at_ms, active },
                        d,
                        node_key,
                    )
                };
                match fail {
                    Fail::Miss => {
                        streamed = 3.min(n_out);
                        let miss = Miss {
                            request: r,
                            model: MODEL,
                            lane: LANE,
                            slot,
                            retry: Retry(i as u8),
                            node,
                            dispatched_ms: base + 1,
                            at_ms: base + 4,
                            streamed,
                        };
                        Attempt::Missed(sign(miss, d, &self.sequencer))
                    }
                    Fail::Refuse => Attempt::Refused(RefusedAttempt {
                        node,
                        refusal: refusal(RefusalReason::Draining, vec![]),
                    }),
                    Fail::Busy => Attempt::Busy(BusyAttempt {
                        node,
                        refusal: refusal(
                            RefusalReason::Busy,
                            vec![RequestCommitment(Fr::from(5u64)), RequestCommitment(Fr::from(6u64))],
                        ),
                        credit: sign(Credit { model: MODEL, credits: 2, issued_ms: base - 9 }, d, node_key),
                    }),
                }
            })
            .collect();
        let response = Response {
            request: r,
            model: MODEL,
            lane: LANE,
            slot,
            output: output_commitment(request.blinding, finish, &ids),
            n_in: request.n_in(),
            n_out,
            finish,
            received_ms: base + 11,
            first_token_ms: base + 40,
            done_ms: base + 900,
        };
        let mut running = RunningHash::new(r, request.blinding);
        let progress = ids
            .iter()
            .filter_map(|id| running.push(*id))
            .map(|(up_to, running)| {
                sign(Progress { request: r, model: MODEL, lane: LANE, slot, up_to, running }, d, node_key)
            })
            .collect();
        let chain = self.chain.anchor(MODEL, LANE, EpochId(0));
        let attestation = Attestation {
            response: response.digest(d),
            node,
            epoch: EpochId(0),
            retry,
            resumed_from: streamed,
            dispatched_ms: base + 10,
            first_token_ms: base + 41,
            done_ms: base + 901,
            input_price: Amount(3),
            output_price: Amount(11),
            charge: charge(request.n_in(), n_out, Amount(3), Amount(11)).unwrap(),
            draw: context_digest(&self.state.beacon, &table, Some(&chain)),
        };
        let cancel =
            (finish == Finish::Cancelled).then(|| sign(Cancel { request: r, up_to: n_out }, d, &self.user));
        Receipt {
            version: 1,
            user_signature: Some(message.sign(d, &self.user).unwrap()),
            request,
            intake: sign(intake, d, &self.sequencer),
            attempts,
            output: ids,
            response: sign(response, d, node_key),
            progress,
            cancel,
            attestation: sign(attestation, d, &self.sequencer),
            draw: DrawRecord { beacon: self.state.beacon, table, chain: Some(chain), link: None },
            inclusion: None,
            audit: None,
        }
    }

    /// The leaves of a receipt's slot, one per attempt.
    pub fn leaves(&self, receipt: &Receipt) -> Vec<Leaf> {
        let last = receipt.leaf().unwrap();
        let failed = receipt.attempts.iter().enumerate().map(|(i, a)| Leaf {
            output: OutputCommitment::NONE,
            meta: Meta {
                node: receipt.draw.table.index_of(&a.node()).unwrap(),
                n_out: 0,
                finish: match a {
                    Attempt::Missed(_) => Finish::Missed,
                    Attempt::Refused(_) => Finish::Refused,
                    Attempt::Busy(_) => Finish::Busy,
                },
                retry: Retry(i as u8),
                ..last.meta
            },
            ..last
        });
        failed.chain([last]).collect()
    }

    /// The parts of a batch over receipts of consecutive slots.
    pub fn parts(&self, receipts: &[Receipt]) -> (Vec<LaneRange>, Vec<SpeedTotal>, Vec<Leaf>) {
        let leaves: Vec<Leaf> = receipts.iter().flat_map(|r| self.leaves(r)).collect();
        let first = receipts[0].intake.message.slot;
        let end = Slot(first.0 + receipts.len() as u64);
        let range = LaneRange {
            lane: LANE,
            first_slot: first,
            end_slot: end,
            leaves: leaves.len() as u32,
            link: self.chain.link(Slot(end.0 - 1).link_index()).unwrap(),
        };
        let mut speed: BTreeMap<Address, (u64, u64)> = BTreeMap::new();
        for r in receipts {
            if let Some(ms) = r.speed_sample(2_000) {
                let s = speed.entry(r.attestation.message.node).or_default();
                *s = (s.0 + u64::from(r.response.message.n_out), s.1 + ms);
            }
        }
        let speed =
            speed.into_iter().map(|(node, (tokens, millis))| SpeedTotal { node, tokens, millis }).collect();
        (vec![range], speed, leaves)
    }

    /// Seals receipts into the next batch and completes them.
    pub fn batch(&mut self, receipts: &mut [Receipt]) -> Batch {
        let (lanes, speed, leaves) = self.parts(receipts);
        let (batch, next) = self.state.seal(MODEL, lanes, speed, leaves, None).unwrap();
        assert_eq!(apply(&self.state, &batch).unwrap(), next);
        let tree = batch::leaf_tree(&batch.leaves).unwrap();
        for r in receipts.iter_mut() {
            let leaf = r.leaf().unwrap();
            let index = batch.leaves.iter().position(|l| *l == leaf).unwrap();
            r.draw.link = self.chain.link(leaf.meta.slot.link_index());
            r.inclusion = Some(Inclusion {
                header: sign(batch.header.clone(), &self.domain, &self.sequencer),
                lanes: batch.lanes.clone(),
                speed: batch::speed_digest(&batch.speed),
                proof: tree.prove(index as u32).unwrap(),
            });
        }
        self.state = next;
        batch
    }

    pub fn audit(&self, receipt: &mut Receipt) {
        let response = receipt.attestation.message.response;
        receipt.audit = Some(AuditRecord {
            auditor: self.auditor.address(),
            audit: sign(Audit { response, passed: true, at_ms: T0 + 5_000 }, &self.domain, &self.auditor),
        });
    }

    /// Two complete receipts of one batch; the first has every part that a receipt can have.
    pub fn complete(&mut self) -> [Receipt; 2] {
        let mut all = vec![
            self.answer(0, &[Fail::Miss, Fail::Refuse, Fail::Busy], Finish::Cancelled, 130),
            self.answer(1, &[], Finish::Stop, 70),
            self.answer(2, &[Fail::Miss], Finish::Length, 9),
        ];
        self.batch(&mut all);
        self.audit(&mut all[0]);
        self.audit(&mut all[1]);
        let b = all.swap_remove(1);
        [all.swap_remove(0), b]
    }
}
