//! A devnet's files. What must survive a restart is made once; what follows from options is rewritten.

use super::layout::Layout;
use super::speeds::Speed;
use crate::anchors::Anchors;
use crate::cli::EngineKind;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{private_dir, write_atomic};
use crate::keys::{KeyFolder, Password, StoredKey, describe, unlock};
use crate::models::{ModelStore, StoredModel};
use monai_protocol::types::{ChainId, Domain, EpochId};
use monai_protocol::{Address, Parameters, SecretKey, TrustAnchors};
use monai_sequencer::{ApiKeyHash, Operator, StakesFile};
use rand::Rng as _;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// The chain id that local development chains use.
pub(super) const CHAIN_ID: ChainId = ChainId(31_337);
/// Stands for the rollup contract where there is no L1.
const ROLLUP: Address = Address(*b"monai-devnet-rollup!");
/// Blocks on top of one that counts: a chain of one machine has no finality, and no reorgs but those made for tests.
const CONFIRMATIONS: u64 = 2;
/// One token in the unit of stakes.
const TOKEN: u64 = monai_protocol::parameters::STAKE_UNIT;
/// Stakes of the nodes without an L1, or their bonds with one, in tokens, repeated if there are more nodes. All lie
/// between the floor and the cap of the default parameters, and differ so that draws do.
pub(super) const STAKES: [u64; 3] = [4_000, 3_000, 2_000];

/// The keys of everybody on a devnet.
#[derive(Debug)]
pub(super) struct Keys {
    password: Password,
    pub(super) sequencer: StoredKey,
    /// Hot keys of the nodes.
    pub(super) nodes: Vec<StoredKey>,
    /// Cold owners of the nodes, in their order.
    pub(super) owners: Vec<StoredKey>,
    /// Somebody who holds tokens.
    pub(super) holder: StoredKey,
    /// Somebody who holds a stablecoin and no token.
    pub(super) user: StoredKey,
}

impl Keys {
    /// Makes those that are missing. Without an L1 there is nothing to own, hold or pay, and owners are their nodes.
    pub(super) fn prepare(layout: &Layout, nodes: u16, with_l1: bool) -> Result<Self> {
        private_dir(layout.root())?;
        private_dir(&layout.logs())?;
        let password = password(&layout.password())?;
        let folder = KeyFolder::new(layout.keys());
        let sequencer = key(&folder, "sequencer", &password)?;
        let each = |role: &str| -> Result<Vec<StoredKey>> {
            (1..=nodes).map(|i| key(&folder, &format!("{role}-{i}"), &password)).collect()
        };
        let node_keys = each("node")?;
        let owners = if with_l1 { each("owner")? } else { node_keys.clone() };
        let (holder, user) = if with_l1 {
            (key(&folder, "holder", &password)?, key(&folder, "user", &password)?)
        } else {
            (sequencer.clone(), sequencer.clone())
        };
        Ok(Self { password, sequencer, nodes: node_keys, owners, holder, user })
    }

    /// Everybody who sends transactions.
    pub(super) fn actors(&self) -> impl Iterator<Item = &StoredKey> {
        self.owners.iter().chain([&self.sequencer, &self.holder, &self.user])
    }

    /// One of these keys, decrypted.
    pub(super) fn unlock(&self, key: &StoredKey) -> Result<SecretKey> {
        unlock(&key.path, &self.password)
    }
}

/// Which L1 the network follows.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) rpc: String,
    pub(super) rollup: Address,
}

/// What the network's files say.
pub(super) struct Wiring<'a> {
    pub(super) store: &'a ModelStore,
    pub(super) models: &'a [StoredModel],
    pub(super) listen: SocketAddr,
    pub(super) engine: EngineKind,
    /// Without one, stakes come from a file.
    pub(super) l1: Option<Place>,
}

/// Makes or completes the files.
pub(super) fn prepare(layout: &Layout, keys: &Keys, wiring: &Wiring<'_>) -> Result<()> {
    private_dir(&if wiring.l1.is_some() { layout.l1_sequencer() } else { layout.sequencer() })?;
    if wiring.l1.is_none() {
        write_stakes(layout, keys)?;
    }
    write_network(layout, wiring)?;
    write_anchors(layout, &keys.sequencer, wiring)?;
    for (speed, key) in Speed::of_nodes(keys.nodes.len()).iter().zip(&keys.nodes) {
        write_node(layout, key, speed, wiring)?;
    }
    Ok(())
}

fn write_stakes(layout: &Layout, keys: &Keys) -> Result<()> {
    let operators = keys.nodes.iter().zip(&keys.owners).zip(STAKES.iter().cycle());
    let stakes = StakesFile {
        operators: operators
            .map(|((node, owner), stake)| Operator {
                operator: node.address,
                slot: None,
                owner: owner.address,
                stake: stake * TOKEN,
                models: None,
            })
            .collect(),
    };
    write_json(&layout.stakes(), &stakes)
}

/// The rollup of the signatures' domain.
fn rollup(wiring: &Wiring<'_>) -> Address {
    wiring.l1.as_ref().map_or(ROLLUP, |l1| l1.rollup)
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

fn write_network(layout: &Layout, wiring: &Wiring<'_>) -> Result<()> {
    let models: Vec<_> = wiring
        .models
        .iter()
        .map(|m| json!({"name": m.name, "id": m.id, "price_input": "1", "price_output": "2"}))
        .collect();
    let mut network = json!({
        "listen": wiring.listen.to_string(),
        "model_dir": wiring.store.dir().display().to_string(),
        "models": models,
        "chain_id": CHAIN_ID,
        "rollup": rollup(wiring),
        "api_keys": [{"name": "devnet", "hash": ApiKeyHash::of(crate::chat::DEFAULT_API_KEY)}],
    });
    match &wiring.l1 {
        Some(l1) => {
            network["l1"] = json!({
                "rpc": l1.rpc,
                "addresses": layout.addresses().display().to_string(),
                "confirmations": CONFIRMATIONS,
                // The devnet's verifiers take anything that is stamped.
                "post": {"insecure_proofs": true},
            });
        }
        None => network["stakes_file"] = layout.stakes().display().to_string().into(),
    }
    let head = "# Written by `monai devnet` at each start; changes are lost.\n";
    write_toml(&layout.network(), head, &network)
}

fn write_node(layout: &Layout, key: &StoredKey, speed: &Speed, wiring: &Wiring<'_>) -> Result<()> {
    let listen = wiring.listen;
    let ids: Vec<_> = wiring.models.iter().map(|m| hex::encode(m.id.0)).collect();
    let mut node = json!({
        "sequencer": [format!("ws://{listen}")],
        "model": ids,
        "key": key.path.display().to_string(),
        "password-file": layout.password().display().to_string(),
        "anchors": layout.anchors().display().to_string(),
        "threads": speed.threads,
        "engine": wiring.engine.as_str(),
    });
    if let Some(l1) = &wiring.l1 {
        node["l1-rpc"] = l1.rpc.clone().into();
        node["l1-addresses"] = layout.addresses().display().to_string().into();
    }
    if let Some(rate) = speed.tokens_per_second {
        node["max-tokens-per-second"] = rate.into();
    }
    let head = "# Written by `monai devnet` at each start; changes are lost.\n";
    write_toml(&layout.settings(&key.name), head, &json!({"node": node}))
}

/// Keeps what the file knows already (tables, chains, batches of earlier runs) where the deployment is the same.
fn write_anchors(layout: &Layout, sequencer: &StoredKey, wiring: &Wiring<'_>) -> Result<()> {
    let domain = Domain { chain_id: CHAIN_ID, rollup: rollup(wiring) };
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
            // With an L1, beacons are its blocks' prevRandao, and are taken from what is published.
            insecure_devnet: wiring.l1.is_none(),
        });
    // Models of earlier runs stay registered: their receipts are still to be audited.
    trust.models.extend(wiring.models.iter().map(|m| m.id));
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
