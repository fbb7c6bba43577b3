//! A real network on loopback: a sequencer process and node processes, with a tiny model.

use super::client::Client;
use super::home::{PASSWORD, TestHome};
use super::process::{Daemon, monai};
use monai_node::anchors::Anchors;
use monai_node::audit::Auditor;
use monai_protocol::{Address, SecretKey};
use monai_sequencer::{ApiKeyHash, Operator, StakesFile};
use serde_json::{Value, json};
use std::path::PathBuf;

/// How one node of a test network runs.
#[derive(Clone, Copy, Default)]
pub struct NodePlan {
    /// Tokens a second of one stream.
    pub rate: Option<f64>,
}

pub struct Net {
    pub home: TestHome,
    pub sequencer: Option<Daemon>,
    pub nodes: Vec<Option<Daemon>>,
    pub addresses: Vec<Address>,
    pub client: Client,
    plans: Vec<NodePlan>,
    port: u16,
}

impl Net {
    /// Starts everything and waits until a first answer has come.
    pub async fn start(plans: &[NodePlan]) -> Self {
        Self::with(TestHome::new(), plans, json!({})).await
    }

    /// The same with changes to the network file.
    pub async fn with(home: TestHome, plans: &[NodePlan], changes: Value) -> Self {
        home.key("sequencer");
        let keys: Vec<SecretKey> = (0..plans.len()).map(|i| home.key(&format!("node-{i}"))).collect();
        let stakes = StakesFile {
            operators: keys
                .iter()
                .map(|k| Operator {
                    operator: k.address(),
                    slot: None,
                    owner: k.address(),
                    stake: 4_000 * monai_protocol::parameters::STAKE_UNIT,
                    models: None,
                })
                .collect(),
        };
        let stakes_file = home.path().join("stakes.json");
        std::fs::write(&stakes_file, serde_json::to_vec(&stakes).unwrap()).unwrap();
        let mut network = json!({
            "listen": "127.0.0.1:0",
            "models": [{"name": "tiny", "id": home.model.id, "price_input": "1", "price_output": "2"}],
            "chain_id": 31_337,
            "rollup": Address([0x11; 20]),
            "stakes_file": stakes_file.display().to_string(),
            "api_keys": [{"name": "test", "hash": ApiKeyHash::of("test")}, {"name": "other", "hash": ApiKeyHash::of("other")}],
            "intervals": {"batch_ms": 200, "batch_leaves": 1024, "epoch_ms": 600_000},
        });
        for (name, value) in changes.as_object().unwrap() {
            network[name] = value.clone();
        }
        std::fs::write(home.path().join("network.toml"), toml::to_string(&network).unwrap()).unwrap();
        let nodes = plans.iter().map(|_| None).collect();
        let addresses = keys.iter().map(SecretKey::address).collect();
        let client = Client::new("http://127.0.0.1:1/v1", "test");
        let mut net =
            Self { home, sequencer: None, nodes, addresses, client, plans: plans.to_vec(), port: 0 };
        net.start_sequencer();
        net.save_anchors().await;
        for i in 0..plans.len() {
            net.start_node(i);
        }
        net.wait_for_nodes(plans.len()).await;
        net
    }

    /// Starts the sequencer, at its old port if it had one.
    pub fn start_sequencer(&mut self) {
        let mut command = monai(self.home.path());
        command.args(["sequencer", "--dir"]).arg(self.home.path().join("sequencer"));
        command.arg("--network").arg(self.home.path().join("network.toml"));
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]).env("MONAI_PASSWORD", PASSWORD);
        let daemon = Daemon::start(&mut command, &self.log("sequencer"));
        let url = daemon.line("listening ");
        self.port = url.trim_end_matches("/v1").rsplit(':').next().unwrap().parse().unwrap();
        self.client = Client::new(&url, "test");
        self.sequencer = Some(daemon);
    }

    pub fn start_node(&mut self, i: usize) {
        let mut command = monai(self.home.path());
        command.args(["node", "--sequencer", &format!("ws://127.0.0.1:{}", self.port)]);
        command.args(["--key", &format!("node-{i}"), "--threads", "1", "--kv-mib", "64"]);
        command.arg("--anchors").arg(self.anchors_path()).env("MONAI_PASSWORD", PASSWORD);
        if let Some(rate) = self.plans[i].rate {
            command.args(["--max-tokens-per-second", &rate.to_string()]);
        }
        self.nodes[i] = Some(Daemon::start(&mut command, &self.log(&format!("node-{i}"))));
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.log"))
    }

    pub fn anchors_path(&self) -> PathBuf {
        self.home.path().join("anchors.json")
    }

    /// Writes what the sequencer publishes to the anchors file.
    pub async fn save_anchors(&self) {
        let anchors = self.client.get("/anchors").await;
        std::fs::write(self.anchors_path(), anchors.to_string()).unwrap();
    }

    pub fn anchors(&self) -> Anchors {
        Anchors::load(Some(&self.anchors_path()), &self.home.home).unwrap()
    }

    pub fn auditor(&self) -> Auditor {
        Auditor::new(self.home.store.clone(), Some(1))
    }

    /// Waits until so many nodes are connected.
    pub async fn wait_for_nodes(&self, n: usize) {
        self.until(&format!("{n} connected nodes"), |network| {
            let nodes = network["nodes"].as_array().unwrap();
            (nodes.iter().filter(|n| n["connected"] == true).count() == n).then_some(())
        })
        .await;
    }

    /// Asks for the network's state until `found` finds what it looks for in it.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        for _ in 0..2000 {
            if let Some(t) = found(&self.client.get("/network").await) {
                return t;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("never came: {what}");
    }

    /// The node that is answering now.
    pub async fn serving(&self) -> usize {
        let address = self
            .until("a serving node", |network| {
                let nodes = network["nodes"].as_array().unwrap();
                nodes.iter().find(|n| n["active"].as_u64() > Some(0)).map(|n| n["address"].clone())
            })
            .await;
        self.addresses.iter().position(|a| address == a.to_string()).unwrap()
    }

    /// The receipt of an answer once a batch holds it.
    pub async fn batched_receipt(&self, id: &str) -> Value {
        for _ in 0..2000 {
            let receipt = self.client.get(&format!("/receipts/{id}")).await;
            if !receipt["inclusion"].is_null() {
                self.save_anchors().await;
                return receipt;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{id} is never batched");
    }
}
