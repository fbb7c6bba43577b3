//! An L1 of one process: blocks, and contracts whose answers are what a test says. It speaks just enough JSON-RPC.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rpc_types_eth::Block;
use alloy_sol_types::{SolCall, SolValue as _};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use monai_contracts::epochs::Epochs::nodeTableCall;
use monai_contracts::models::ModelRegistry::{countAtCall, idAtCall, isActiveCall};
use monai_contracts::operators::Operators::{operatorOfHotKeyCall, tableSizeCall};
use monai_contracts::parameters::Parameters::valueAtCall;
use monai_contracts::payments::Payments::{assetCountAtCall, poolOfCall};
use serde_json::{Value, json};

use super::rollup::{self, At, Ledger};

pub const CHAIN_ID: u64 = 31_337;
pub const ROLLUP: [u8; 20] = [0x42; 20];
pub const GENESIS: u64 = 1_000_000;
pub const EPOCH_SECONDS: u64 = 10;

/// Stakes by node, in tokens, from an epoch on.
pub type Stakes = BTreeMap<u64, Vec<(Address, u64)>>;

#[derive(Clone, Default)]
struct Link {
    header: Header,
    hash: B256,
}

struct Inner {
    blocks: Vec<Link>,
    stakes: Stakes,
    model: B256,
    away: bool,
    /// Transactions are refused while this is set.
    jammed: bool,
    forks: u64,
    ledger: Ledger,
}

#[derive(Clone)]
pub struct FakeL1 {
    inner: Arc<Mutex<Inner>>,
    addr: SocketAddr,
}

fn token(n: u64) -> U256 {
    U256::from(n) * U256::from(10u64).pow(U256::from(18))
}

impl FakeL1 {
    pub async fn start() -> Self {
        let inner = Inner {
            blocks: vec![],
            stakes: Stakes::new(),
            model: B256::ZERO,
            away: false,
            jammed: false,
            forks: 0,
            ledger: Ledger::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let me = Self { inner: Arc::new(Mutex::new(inner)), addr };
        let app = Router::new().route("/", post(answer)).with_state(me.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        me
    }

    /// Registers the one model.
    pub fn serve(&self, model: monai_protocol::ModelId) {
        self.inner.lock().unwrap().model = B256::from(model.0);
    }

    pub fn config(&self, dir: &Path) -> monai_sequencer::L1Config {
        let path = dir.join("addresses.json");
        let names = [
            "token",
            "parameters",
            "verifiers",
            "poseidon",
            "operators",
            "staking",
            "epochs",
            "models",
            "disputes",
            "inbox",
            "audits",
            "emissions",
            "treasury",
            "payments",
            "governor",
            "timelock",
        ];
        let mut file = json!({
            "profile": "devnet", "chainId": CHAIN_ID, "block": 0, "genesis": GENESIS,
            "epochSeconds": EPOCH_SECONDS, "rollup": Address::from(ROLLUP),
        });
        for (i, name) in names.iter().enumerate() {
            file[*name] = json!(Address::repeat_byte(i as u8 + 1));
        }
        std::fs::write(&path, file.to_string()).unwrap();
        monai_sequencer::L1Config {
            rpc: format!("http://{}", self.addr),
            addresses: path,
            confirmations: Some(1),
            post: None,
            poll_ms: 10,
            timeout_ms: 2_000,
        }
    }

    pub fn stake(&self, from_epoch: u64, nodes: &[(Address, u64)]) {
        self.inner.lock().unwrap().stakes.insert(from_epoch, nodes.to_vec());
    }

    /// Mines a block in the middle of an epoch, and one on top that confirms it.
    pub fn mine_in(&self, epoch: u64) {
        let mut inner = self.inner.lock().unwrap();
        for _ in 0..2 {
            let header = Header {
                number: inner.blocks.len() as u64,
                timestamp: GENESIS + epoch * EPOCH_SECONDS + 5,
                extra_data: inner.forks.to_be_bytes().to_vec().into(),
                mix_hash: keccak256(format!("randao {}", inner.blocks.len())),
                ..Header::default()
            };
            let hash = header.hash_slow();
            inner.blocks.push(Link { header, hash });
        }
    }

    /// Takes back all blocks of an epoch and later. What is mined afterwards has other hashes.
    pub fn reorg_from(&self, epoch: u64) {
        let mut inner = self.inner.lock().unwrap();
        inner.forks += 1;
        inner.blocks.retain(|b| b.header.timestamp < GENESIS + epoch * EPOCH_SECONDS);
    }

    /// prevRandao of an epoch's first block.
    pub fn beacon(&self, epoch: u64) -> monai_protocol::Beacon {
        let inner = self.inner.lock().unwrap();
        let start = GENESIS + epoch * EPOCH_SECONDS;
        let first = inner.blocks.iter().find(|b| b.header.timestamp >= start).unwrap();
        monai_protocol::Beacon(first.header.mix_hash.0)
    }

    /// Refuses transactions, or takes them again.
    pub fn set_jammed(&self, jammed: bool) {
        self.inner.lock().unwrap().jammed = jammed;
    }

    /// What the contracts hold.
    pub fn ledger(&self) -> Ledger {
        self.inner.lock().unwrap().ledger.clone()
    }

    /// A reorg that loses batches, and whatever was built on them.
    pub fn lose_batches(&self, from: usize) {
        let mut inner = self.inner.lock().unwrap();
        let ledger = &mut inner.ledger;
        ledger.batches.truncate(from);
        ledger.finalised = ledger.finalised.min(from);
    }

    pub fn set_away(&self, away: bool) {
        self.inner.lock().unwrap().away = away;
    }
}

async fn answer(State(chain): State<FakeL1>, Json(request): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut inner = chain.inner.lock().unwrap();
    if inner.away {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!("gone")));
    }
    let body = match respond(&mut inner, request["method"].as_str().unwrap(), &request["params"]) {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(message) => json!({
            "jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": message},
        }),
    };
    (StatusCode::OK, Json(body))
}

fn respond(inner: &mut Inner, method: &str, params: &Value) -> Result<Value, String> {
    match method {
        "eth_chainId" => Ok(json!(format!("0x{CHAIN_ID:x}"))),
        "eth_blockNumber" => Ok(json!(format!("0x{:x}", inner.blocks.len().saturating_sub(1)))),
        "eth_getBlockByNumber" => {
            let text = params[0].as_str().unwrap();
            let number = match text {
                "latest" => inner.blocks.len().saturating_sub(1),
                _ => usize::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|e| e.to_string())?,
            };
            Ok(inner.blocks.get(number).map_or(Value::Null, block))
        }
        "eth_gasPrice" => Ok(json!("0x3b9aca00")),
        "eth_getTransactionCount" => Ok(json!(format!("0x{:x}", inner.ledger.nonce))),
        "eth_estimateGas" => {
            let at = at(inner);
            inner.ledger.clone().run(&input(&params[0]), at).map(|()| json!("0x30000"))
        }
        "eth_sendRawTransaction" => {
            if inner.jammed {
                return Err("fee too low".into());
            }
            let raw: Bytes = serde_json::from_value(params[0].clone()).unwrap();
            let at = at(inner);
            inner.ledger.run(&rollup::decode(&raw), at)?;
            Ok(json!(keccak256(&raw)))
        }
        "eth_getTransactionReceipt" => Ok(receipt(&params[0])),
        "eth_call" => {
            let known = |hash: &B256| inner.blocks.iter().any(|b| b.hash == *hash);
            let block = serde_json::from_value::<B256>(by_hash(&params[1]));
            if params[1] != "latest" && !block.is_ok_and(|hash| known(&hash)) {
                return Err("header not found".into());
            }
            let data = input(&params[0]);
            Ok(json!(Bytes::from(inner.ledger.view(&data).unwrap_or_else(|| call(inner, &data)))))
        }
        other => Err(format!("no method {other}")),
    }
}

/// The hash in a block parameter: an object with it, or the hash alone.
fn by_hash(block: &Value) -> Value {
    block.get("blockHash").unwrap_or(block).clone()
}

fn block(link: &Link) -> Value {
    let mut block: Block = Block::default();
    block.header.hash = link.hash;
    block.header.inner = link.header.clone();
    serde_json::to_value(block).unwrap()
}

/// Where a transaction runs: on top of the newest block, at its time.
fn at(inner: &Inner) -> At {
    let time = inner.blocks.last().map_or(GENESIS, |b| b.header.timestamp);
    At { block: inner.blocks.len() as u64, time, epoch: (time - GENESIS) / EPOCH_SECONDS }
}

fn input(call: &Value) -> Bytes {
    serde_json::from_value(call.get("input").or_else(|| call.get("data")).unwrap().clone()).unwrap()
}

fn receipt(hash: &Value) -> Value {
    json!({
        "type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x5208", "logs": [],
        "logsBloom": format!("0x{}", "0".repeat(512)), "transactionHash": hash, "transactionIndex": "0x0",
        "blockHash": B256::ZERO, "blockNumber": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1",
        "from": Address::ZERO, "to": Address::ZERO, "contractAddress": null,
    })
}

fn owner(hot: Address) -> Address {
    Address::from_word(keccak256(hot))
}

fn call(inner: &Inner, data: &[u8]) -> Vec<u8> {
    let selector: [u8; 4] = data[..4].try_into().unwrap();
    match selector {
        nodeTableCall::SELECTOR => {
            let epoch = nodeTableCall::abi_decode(data).unwrap().epoch.to::<u64>();
            let stakes = inner.stakes.range(..=epoch).next_back().map(|(_, s)| s.clone()).unwrap_or_default();
            let table: Vec<U256> = stakes
                .iter()
                .flat_map(|(hot, stake)| {
                    [token(*stake), U256::from_be_slice(hot.as_slice()), U256::ONE, U256::ONE, U256::ONE]
                })
                .collect();
            table.abi_encode()
        }
        operatorOfHotKeyCall::SELECTOR => {
            owner(operatorOfHotKeyCall::abi_decode(data).unwrap().hotKey).abi_encode()
        }
        countAtCall::SELECTOR | assetCountAtCall::SELECTOR => U256::ONE.abi_encode(),
        poolOfCall::SELECTOR => U256::ZERO.abi_encode(),
        tableSizeCall::SELECTOR => U256::from(3).abi_encode(),
        idAtCall::SELECTOR => inner.model.abi_encode(),
        isActiveCall::SELECTOR => true.abi_encode(),
        valueAtCall::SELECTOR => {
            let wad = token(1);
            let value = match data[4 + 31] {
                0 => token(1_000),
                1 => token(8_000),
                14 => wad / U256::from(5),
                21 => U256::from(4),
                32 => wad / U256::from(40),
                33 => token(1_000),
                34 => U256::ONE,
                42 => wad / U256::from(2),
                45 => wad / U256::from(3),
                46 => wad / U256::from(20),
                47 => wad / U256::from(50),
                48 => wad / U256::from(5),
                49 => token(200),
                26 => U256::from(300),
                51 => U256::from(180),
                other => panic!("parameter {other} is not read"),
            };
            value.abi_encode()
        }
        other => panic!("no contract answers {other:?}"),
    }
}
