//! Founding a chain: contracts, accounts, operators.

use super::tools::{Tools, make};
use super::{anvil, enrol};
use crate::devnet::child::Running;
use crate::devnet::layout::Layout;
use crate::devnet::setup::Keys;
use crate::error::{Error, FileContext as _, Result};
use crate::l1::model::describe;
use crate::l1::place::Chain;
use crate::models::StoredModel;
use alloy_primitives::{Address, B256, keccak256};
use alloy_provider::Provider as _;
use monai_contracts::Addresses;
use monai_inference::commitment::ModelCommitment;
use rand::Rng as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far in the past the chain begins, in seconds: enough for what is staked in its first epochs to count now.
const HEAD_START: u64 = 600;
/// For anvil to write its state and end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Seconds that a devnet's node has to prove an answer, and that each position adds.
const DEADLINE: (u32, u32) = (60, 5);

/// Whom and what a chain is founded for.
#[derive(Clone, Copy, Debug)]
pub(in crate::devnet) struct Wanted<'a> {
    pub(in crate::devnet) keys: &'a Keys,
    pub(in crate::devnet) models: &'a [StoredModel],
    /// Where `monai model commit` keeps what it makes.
    pub(in crate::devnet) commitments: &'a Path,
}

/// Founds a chain. Nothing of it stays if anything fails.
pub(super) async fn found(
    layout: &Layout,
    tools: &Tools,
    listen: SocketAddr,
    wanted: &Wanted<'_>,
) -> Result<()> {
    let log = layout.log("deploy");
    eprintln!("compiling the contracts (minutes the first time), log {}", log.display());
    make(&tools.contracts, &["build"], &[], Some(&log)).await?;
    let _ = std::fs::remove_file(layout.chain_state());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let child = Running::start(anvil::plan(layout, tools, listen, Some(now.saturating_sub(HEAD_START))))?;
    let founded = on_chain(layout, tools, listen, wanted).await;
    child.stop(STOP_PATIENCE).await;
    let addresses = founded?;
    if !layout.chain_state().is_file() {
        return Err(Error::Local(format!("anvil wrote no state; see {}", layout.log("l1").display())));
    }
    // Last: a chain without this file is founded again.
    std::fs::rename(addresses, layout.addresses()).at(&layout.addresses())
}

async fn on_chain(
    layout: &Layout,
    tools: &Tools,
    listen: SocketAddr,
    wanted: &Wanted<'_>,
) -> Result<std::path::PathBuf> {
    let keys = wanted.keys;
    let rpc = format!("http://{listen}");
    anvil::wait(&rpc).await?;
    let provider =
        monai_contracts::connect(&rpc, Duration::from_secs(30)).map_err(|e| Error::Local(e.to_string()))?;
    let failed = |e: &dyn std::fmt::Display| Error::Local(format!("anvil: {e}"));
    let accounts: Vec<Address> =
        provider.raw_request("eth_accounts".into(), json!([])).await.map_err(|e| failed(&e))?;
    let deployer = *accounts.first().ok_or_else(|| failed(&"it has no accounts"))?;
    // Addresses follow from the nonce. A random one makes each chain a domain of its own, so that no signature of an
    // earlier devnet is about this one.
    let nonce: u32 = rand::rng().random();
    let _: Value = provider
        .raw_request("anvil_setNonce".into(), json!([deployer, format!("0x{nonce:x}")]))
        .await
        .map_err(|e| failed(&e))?;
    eprintln!("deploying the contracts");
    let config = write_config(tools, wanted.models, wanted.commitments)?;
    let out = layout.l1().join("addresses.new.json");
    let arguments =
        ["deploy", &format!("RPC={rpc}"), &format!("OUT={}", out.display()), &format!("CONFIG={config}")];
    let environment = [("SEQUENCER", keys.sequencer.address.to_string())];
    make(&tools.contracts, &arguments, &environment, Some(&layout.log("deploy"))).await?;
    let addresses = Addresses::load(&out).map_err(|e| Error::Local(e.to_string()))?;
    let chain = Chain::open(&rpc, addresses).await?;
    eprintln!("registering and staking the nodes");
    enrol::enrol(&chain, deployer, keys).await?;
    put_on_the_clock(&chain).await?;
    Ok(out)
}

/// From the head start to this machine's time, or to the second epoch from now if that is later.
async fn put_on_the_clock(chain: &Chain) -> Result<()> {
    let block = chain
        .provider
        .get_block(alloy_rpc_types_eth::BlockId::latest())
        .await
        .map_err(|e| chain.away(&e))?
        .ok_or_else(|| chain.away(&"no block"))?;
    let counts = chain.addresses.epoch_start(chain.addresses.epoch_at(block.header.timestamp) + 2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let _: Value = chain
        .provider
        .raw_request("evm_setTime".into(), json!([now.max(counts)]))
        .await
        .map_err(|e| chain.away(&e))?;
    let _: Value =
        chain.provider.raw_request("evm_mine".into(), json!([])).await.map_err(|e| chain.away(&e))?;
    Ok(())
}

/// The contracts' devnet configuration with this devnet's models; returns its path in the contracts' folder, outside
/// of which the deploy script may not read.
fn write_config(tools: &Tools, models: &[StoredModel], commitments: &Path) -> Result<String> {
    let template = tools.contracts.join("config/devnet.json");
    let text = std::fs::read(&template).at(&template)?;
    let mut config: Value = serde_json::from_slice(&text)
        .map_err(|e| Error::Malformed { path: template, what: e.to_string() })?;
    let share = 1_000_000_000_000_000_000u64 / u64::try_from(models.len().max(1)).unwrap_or(u64::MAX);
    config["models"] = models.iter().map(|m| entry(m, share, commitments)).collect::<Result<Value>>()?;
    let name = format!("out/devnet-{}.json", std::process::id());
    let path = tools.contracts.join(&name);
    crate::home::write_atomic(&path, config.to_string().as_bytes(), false)?;
    Ok(name)
}

fn entry(stored: &StoredModel, share: u64, commitments: &Path) -> Result<Value> {
    let d = describe(stored)?;
    // Making one takes minutes, and no verifier of the devnet looks at it yet.
    let commitment = kept_commitment(stored, commitments).unwrap_or_else(|| {
        eprintln!("{}: INSECURE weight commitment on L1; `monai model commit` before the first start makes a real one", stored.name);
        insecure_commitment(stored)
    });
    Ok(json!({
        "weightCommitment": commitment,
        "artefact": d.artefact,
        "tokenizer": d.tokenizer,
        "architecture": d.architecture,
        "kind": d.kind,
        "sMax": d.positions,
        "deadlineBase": DEADLINE.0,
        "deadlinePerPosition": DEADLINE.1,
        "verifierVersion": 1,
        "activation": 0,
        "retirement": 281_474_976_710_655u64,
        "name": stored.name,
        "emissionWeight": share.to_string(),
    }))
}

/// M, if `monai model commit` has made this model's.
fn kept_commitment(stored: &StoredModel, commitments: &Path) -> Option<B256> {
    let bytes = std::fs::read(commitments.join(format!("{}.commitment", stored.name))).ok()?;
    let kept = ModelCommitment::from_bytes(&bytes).ok().filter(|c| c.model == stored.id)?;
    Some(B256::from(kept.digest().0))
}

/// A digest in place of a commitment, below the field's order.
fn insecure_commitment(stored: &StoredModel) -> B256 {
    let mut digest = keccak256([b"insecure devnet weight commitment".as_slice(), &stored.id.0].concat());
    digest[0] = 0;
    digest
}
