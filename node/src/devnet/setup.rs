//! A devnet's files. What must survive a restart is made once; what follows from options is rewritten.

use super::layout::Layout;
use super::speeds::Speed;
use crate::anchors::Anchors;
use crate::cli::EngineKind;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{private_dir, write_atomic};
use crate::keys::{KeyFolder, Password, StoredKey, describe};
use crate::models::{ModelStore, StoredModel};
use monai_protocol::types::{ChainId, Domain, EpochId};
use monai_protocol::{Address, Parameters, TrustAnchors};
use monai_sequencer::{ApiKeyHash, Operator, StakesFile};
use rand::Rng as _;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// The chain id that local development chains use.
pub(super) const CHAIN_ID: ChainId = ChainId(31_337);
/// Stands for the rollup contract until a local L1 has one.
pub(super) const ROLLUP: Address = Address(*b"monai-devnet-rollup!");
/// One token in the unit of stakes.
const TOKEN: u64 = monai_protocol::parameters::STAKE_UNIT;
/// Stakes of the nodes, in tokens, repeated if there are more nodes. All lie between the floor and
/// the cap of the default parameters, and differ so that draws do.
const STAKES: [u64; 3] = [4_000, 3_000, 2_000];

/// What a devnet runs on.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) listen: SocketAddr,
    pub(super) sequencer: StoredKey,
    pub(super) nodes: Vec<StoredKey>,
}

/// Makes or completes the files.
pub(super) fn prepare(
    layout: &Layout,
    store: &ModelStore,
    models: &[StoredModel],
    listen: SocketAddr,
    nodes: u16,
    engine: EngineKind,
) -> Result<Parts> {
    private_dir(layout.root())?;
    private_dir(&layout.logs())?;
    private_dir(&layout.sequencer())?;
    let password = password(&layout.password())?;
    let keys = KeyFolder::new(layout.keys());
    let sequencer = key(&keys, "sequencer", &password)?;
    let nodes: Vec<StoredKey> =
        (1..=nodes).map(|i| key(&keys, &format!("node-{i}"), &password)).collect::<Result<_>>()?;
    let stakes = StakesFile {
        operators: nodes
            .iter()
            .zip(STAKES.iter().cycle())
            // The devnet's owners are its operators: nothing of value is at stake here.
            .map(|(k, stake)| Operator {
                operator: k.address,
                owner: k.address,
                stake: stake * TOKEN,
                models: None,
            })
            .collect(),
    };
    write_json(&layout.stakes(), &stakes)?;
    write_network(layout, store, models, listen)?;
    write_anchors(layout, &sequencer, models)?;
    for (speed, key) in Speed::of_nodes(nodes.len()).iter().zip(&nodes) {
        write_node(layout, key, speed, models, listen, engine)?;
    }
    Ok(Parts { listen, sequencer, nodes })
}

fn password(path: &Path) -> Result<Password> {
    if !path.exists() {
        let random: [u8; 24] = rand::rng().random();
        write_atomic(path, hex::encode(random).as_bytes(), true)?;
    }
    std::fs::read_to_string(path).at(path).map(|text| Password::new(text.trim().to_owned()))
}

fn key(keys: &KeyFolder, name: &str, password: &Password) -> Result<StoredKey> {
    match keys.find(name) {
        Ok(path) => describe(&path),
        Err(Error::Missing(_)) => keys.create(name, password),
        Err(error) => Err(error),
    }
}

fn write_network(
    layout: &Layout,
    store: &ModelStore,
    models: &[StoredModel],
    listen: SocketAddr,
) -> Result<()> {
    let models: Vec<_> = models
        .iter()
        .map(|m| json!({"name": m.name, "id": m.id, "price_input": "1", "price_output": "2"}))
        .collect();
    let network = json!({
        "listen": listen.to_string(),
        "model_dir": store.dir().display().to_string(),
        "models": models,
        "chain_id": CHAIN_ID,
        "rollup": ROLLUP,
        "stakes_file": layout.stakes().display().to_string(),
        "api_keys": [{"name": "devnet", "hash": ApiKeyHash::of(crate::chat::DEFAULT_API_KEY)}],
    });
    let head = "# Written by `monai devnet` at each start; changes are lost.\n";
    write_toml(&layout.network(), head, &network)
}

fn write_node(
    layout: &Layout,
    key: &StoredKey,
    speed: &Speed,
    models: &[StoredModel],
    listen: SocketAddr,
    engine: EngineKind,
) -> Result<()> {
    let ids: Vec<_> = models.iter().map(|m| hex::encode(m.id.0)).collect();
    let mut node = json!({
        "sequencer": [format!("ws://{listen}")],
        "model": ids,
        "key": key.path.display().to_string(),
        "password-file": layout.password().display().to_string(),
        "anchors": layout.anchors().display().to_string(),
        "threads": speed.threads,
        "engine": engine.as_str(),
    });
    if let Some(rate) = speed.tokens_per_second {
        node["max-tokens-per-second"] = rate.into();
    }
    let head = "# Written by `monai devnet` at each start; changes are lost.\n";
    write_toml(&layout.settings(&key.name), head, &json!({"node": node}))
}

/// Keeps what the file knows already (tables, chains, batches of earlier runs) where the deployment is the same.
fn write_anchors(layout: &Layout, sequencer: &StoredKey, models: &[StoredModel]) -> Result<()> {
    let domain = Domain { chain_id: CHAIN_ID, rollup: ROLLUP };
    let path = layout.anchors();
    let parameters = Parameters::default();
    let known = std::fs::read(&path).ok().and_then(|t| serde_json::from_slice::<TrustAnchors>(&t).ok());
    let mut trust =
        known.filter(|t| t.domain == domain && t.sequencer == sequencer.address).unwrap_or(TrustAnchors {
            domain,
            sequencer: sequencer.address,
            models: Default::default(),
            auditors: Default::default(),
            beacons: Default::default(),
            tables: Default::default(),
            chains: Vec::new(),
            batches: Default::default(),
            final_before: EpochId(0),
            max_attempts: parameters.max_attempts,
            clock_agreement_ms: parameters.clock_agreement,
            insecure_devnet: true,
        });
    // Models of earlier runs stay registered: their receipts are still to be audited.
    trust.models.extend(models.iter().map(|m| m.id));
    Anchors { path, trust }.save()
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| Error::Local(e.to_string()))?;
    write_atomic(path, &text, false)
}

fn write_toml(path: &Path, head: &str, value: &serde_json::Value) -> Result<()> {
    let text = toml::to_string_pretty(value).map_err(|e| Error::Local(e.to_string()))?;
    write_atomic(path, format!("{head}{text}").as_bytes(), false)
}
