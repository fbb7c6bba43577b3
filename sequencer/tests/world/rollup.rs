//! The part of the fake chain that takes transactions: batches and epochs, as far as posting depends on them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_consensus::TxEip1559;
use alloy_consensus::transaction::RlpEcdsaDecodableTx as _;
use alloy_primitives::aliases::{U24, U40, U48};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue as _};
use monai_contracts::epochs::Epochs;
use monai_contracts::rollup::Rollup;

/// Blocks from a commit to its beacon.
const BEACON_DELAY: u64 = 2;
/// Seconds of the fault window.
const FAULT_WINDOW: u64 = 1;

/// A committed batch.
#[derive(Clone)]
pub struct OnChain {
    pub input: Bytes,
    pub hash: B256,
    pub epoch: u64,
    pub state: U256,
    pub proven: bool,
    pub block: u64,
    pub time: u64,
}

/// What the contracts hold.
#[derive(Clone, Default)]
pub struct Ledger {
    pub batches: Vec<OnChain>,
    pub finalised: usize,
    pub captured: BTreeSet<u64>,
    pub next_epoch: u64,
    /// By epoch: cells of the proof, or none if it was skipped.
    pub settled: BTreeMap<u64, Option<Vec<U256>>>,
    pub beacons: BTreeSet<u64>,
    /// Every call that committed a batch, lost ones included.
    pub commits: Vec<Bytes>,
    pub nonce: u64,
}

/// Where the chain stands as a transaction runs.
#[derive(Clone, Copy)]
pub struct At {
    pub block: u64,
    pub time: u64,
    pub epoch: u64,
}

/// The call in a signed transaction.
pub fn decode(raw: &[u8]) -> Bytes {
    let signed = TxEip1559::rlp_decode_signed(&mut &raw[1..]).unwrap();
    signed.tx().input.clone()
}

fn head(ledger: &Ledger, count: usize) -> B256 {
    count.checked_sub(1).map_or(B256::ZERO, |last| ledger.batches[last].hash)
}

impl Ledger {
    /// Runs a call of a transaction; the error is a revert.
    pub fn run(&mut self, input: &Bytes, at: At) -> Result<(), String> {
        let require = |condition: bool, what: &str| if condition { Ok(()) } else { Err(what.to_owned()) };
        match <[u8; 4]>::try_from(&input[..4]).unwrap() {
            Rollup::heartbeatCall::SELECTOR => {}
            Rollup::commitBatchCalldataCall::SELECTOR => {
                let call = Rollup::commitBatchCalldataCall::abi_decode(input).unwrap();
                let h = call.header;
                require(h.parent == head(self, self.batches.len()), "WrongHeader")?;
                require(h.data == keccak256(&call.leaves), "WrongData")?;
                let epoch = h.epoch.to::<u64>();
                require(epoch <= at.epoch && epoch + 1 >= at.epoch, "WrongEpoch")?;
                let number = self.batches.len() as u64;
                let words = (
                    U256::from(number),
                    h.parent,
                    h.model,
                    U256::from(epoch),
                    U256::from(h.circuitVersion),
                    U256::from(h.leafCount),
                );
                let more = (h.root, h.stateRoot, h.links, h.nodeRoots, h.data);
                let hash = keccak256([words.abi_encode_params(), more.abi_encode_params()].concat());
                self.commits.push(input.clone());
                let (block, time) = (at.block, at.time);
                let batch = OnChain {
                    input: input.clone(),
                    hash,
                    epoch,
                    state: h.stateRoot,
                    proven: false,
                    block,
                    time,
                };
                self.batches.push(batch);
            }
            Rollup::proveBatchCall::SELECTOR => {
                let call = Rollup::proveBatchCall::abi_decode(input).unwrap();
                require(call.proof.len() == 32, "ProofRejected")?;
                self.batches[call.number as usize].proven = true;
            }
            Rollup::captureBeaconCall::SELECTOR => {
                let call = Rollup::captureBeaconCall::abi_decode(input).unwrap();
                self.captured.insert(number_of(&call.blockHeader));
            }
            Rollup::finaliseBatchCall::SELECTOR => {
                let call = Rollup::finaliseBatchCall::abi_decode(input).unwrap();
                let b = &self.batches[call.number as usize];
                require(call.number as usize == self.finalised, "WrongHeader")?;
                require(b.proven && self.captured.contains(&(b.block + BEACON_DELAY)), "BeaconPending")?;
                require(at.time > b.time + FAULT_WINDOW, "WindowOpen")?;
                self.finalised += 1;
            }
            Epochs::captureBeaconCall::SELECTOR => {
                let call = Epochs::captureBeaconCall::abi_decode(input).unwrap();
                let parent = number_of(&call.parentHeader);
                require(number_of(&call.blockHeader) == parent + 1, "WrongBlockHeader")?;
                self.beacons.insert(call.epoch.to());
            }
            Epochs::skipCall::SELECTOR => {
                self.complete(at)?;
                require(self.state_of(self.next_epoch).is_zero(), "HasBatches")?;
                self.settle(None);
            }
            Epochs::proveCall::SELECTOR => {
                let call = Epochs::proveCall::abi_decode(input).unwrap();
                self.complete(at)?;
                require(self.beacons.contains(&self.next_epoch), "BeaconPending")?;
                require(!self.state_of(self.next_epoch).is_zero(), "NoBatches")?;
                self.settle(Some(call.cells));
            }
            other => panic!("no contract takes {other:?}"),
        }
        self.nonce += 1;
        Ok(())
    }

    fn complete(&self, at: At) -> Result<(), String> {
        let pending = self.batches[self.finalised..].iter().any(|b| b.epoch <= self.next_epoch);
        if at.epoch < self.next_epoch + 2 || pending { Err("BatchesPending".into()) } else { Ok(()) }
    }

    fn settle(&mut self, cells: Option<Vec<U256>>) {
        self.settled.insert(self.next_epoch, cells);
        self.next_epoch += 1;
    }

    fn state_of(&self, epoch: u64) -> U256 {
        let of = self.batches[..self.finalised].iter().rev().find(|b| b.epoch == epoch);
        of.map_or(U256::ZERO, |b| b.state)
    }

    /// Answers a view, if it is one of these contracts'.
    pub fn view(&self, data: &[u8]) -> Option<Vec<u8>> {
        let one = |condition: bool| if condition { B256::repeat_byte(1) } else { B256::ZERO };
        Some(match <[u8; 4]>::try_from(&data[..4]).unwrap() {
            Rollup::batchCountCall::SELECTOR => U256::from(self.batches.len()).abi_encode(),
            Rollup::headHashCall::SELECTOR => head(self, self.batches.len()).abi_encode(),
            Rollup::finalisedHashCall::SELECTOR => head(self, self.finalised).abi_encode(),
            Rollup::isRevertedCall::SELECTOR | Rollup::caretakingCall::SELECTOR => false.abi_encode(),
            Rollup::genesisStateCall::SELECTOR => U256::ZERO.abi_encode(),
            Rollup::chainAtCall::SELECTOR => (B256::ZERO, U256::ZERO, U256::ZERO).abi_encode(),
            Rollup::batchCall::SELECTOR => {
                let number = Rollup::batchCall::abi_decode(data).unwrap().number as usize;
                let b = &self.batches[number];
                let status = if number < self.finalised { 3 } else { 1 + u8::from(b.proven) };
                Rollup::Batch {
                    committedAt: U40::from(b.time),
                    finalisedAt: U40::ZERO,
                    beaconBlock: U40::from(b.block + BEACON_DELAY),
                    epoch: U48::from(b.epoch),
                    faultWindow: U24::from(FAULT_WINDOW),
                    term: 0,
                    generation: 0,
                    status,
                    inBlob: false,
                    firstOfEpoch: false,
                }
                .abi_encode()
            }
            Rollup::beaconOfCall::SELECTOR => {
                let block = Rollup::beaconOfCall::abi_decode(data).unwrap().blockNumber.to();
                one(self.captured.contains(&block)).abi_encode()
            }
            Rollup::stateOfCall::SELECTOR => {
                self.state_of(Rollup::stateOfCall::abi_decode(data).unwrap().epoch.to()).abi_encode()
            }
            Epochs::nextEpochCall::SELECTOR => U256::from(self.next_epoch).abi_encode(),
            Epochs::beaconOfCall::SELECTOR => {
                let epoch = Epochs::beaconOfCall::abi_decode(data).unwrap().epoch.to();
                one(self.beacons.contains(&epoch)).abi_encode()
            }
            Epochs::beaconTimeCall::SELECTOR => {
                let epoch = Epochs::beaconTimeCall::abi_decode(data).unwrap().epoch.to::<u64>();
                U256::from(super::chain::GENESIS + epoch * super::chain::EPOCH_SECONDS).abi_encode()
            }
            Epochs::bindTableCall::SELECTOR => {
                (U256::from(3), B256::ZERO, U256::ZERO, U256::ZERO).abi_encode()
            }
            Epochs::bindListsCall::SELECTOR => (U256::ZERO, U256::ZERO).abi_encode(),
            _ => return None,
        })
    }
}

/// The number in an RLP header: the ninth field.
fn number_of(header: &[u8]) -> u64 {
    let decoded: alloy_consensus::Header = alloy_rlp::Decodable::decode(&mut &*header).unwrap();
    decoded.number
}
