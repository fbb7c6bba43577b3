//! A sequencer on loopback, with peers that speak the nodes' protocol and answer with the reference engine.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod chain;
pub mod model;
pub mod peer;
pub mod rollup;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use monai_model::artefact::Model;
use monai_model::file::Store as ModelStore;
use monai_protocol::receipt::{Receipt, Report};
use monai_protocol::{Address, Amount, ChainId, SecretKey, TrustAnchors};
use monai_sequencer::{
    ApiKey, ApiKeyHash, Canary, Intervals, Limits, Operator, Retention, RunningSequencer, Secret32,
    Sequencer, SequencerConfig, ServedModel, StakesFile, Timeouts,
};
use serde_json::{Value, json};

pub use peer::{Behaviour, Peer};

/// The name that the tiny model is served under.
pub const MODEL: &str = "tiny";
/// An API key.
pub const KEY: &str = "sk-test-one";
/// Another.
pub const OTHER_KEY: &str = "sk-test-two";
/// A key with tight limits.
pub const TIGHT_KEY: &str = "sk-test-tight";

pub fn secret(n: u8) -> SecretKey {
    let mut bytes = [7u8; 32];
    bytes[31] = n;
    SecretKey::from_bytes(&bytes).unwrap()
}

/// The operator keys, in no particular order.
pub fn operators() -> Vec<SecretKey> {
    (1..=3).map(secret).collect()
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub config: SequencerConfig,
    pub model: Arc<Model>,
    pub sequencer: Option<RunningSequencer>,
    pub http: reqwest::Client,
}

/// What most tests run with: everything fast.
pub fn config(dir: &Path, model: &Model) -> SequencerConfig {
    let stakes = StakesFile {
        operators: operators()
            .iter()
            .map(|k| Operator {
                operator: k.address(),
                slot: None,
                owner: secret(100).address(),
                stake: 4_000_000_000_000,
                models: None,
            })
            .collect(),
    };
    let stakes_file = dir.join("stakes.json");
    std::fs::write(&stakes_file, serde_json::to_vec(&stakes).unwrap()).unwrap();
    let key = |name: &str, secret: &str| ApiKey {
        name: name.into(),
        hash: ApiKeyHash::of(secret),
        limits: None,
        canary: false,
    };
    let mut tight = key("tight", TIGHT_KEY);
    tight.limits =
        Some(monai_sequencer::KeyLimits { requests_per_minute: 3, tokens_per_minute: 100, concurrent: 1 });
    SequencerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: dir.join("store"),
        marks_dir: Some(dir.to_owned()),
        model_dir: dir.join("models"),
        models: vec![ServedModel {
            name: MODEL.into(),
            id: model.id,
            price_input: Amount(3),
            price_output: Amount(5),
        }],
        signing_key: Secret32::new([9; 32]),
        chain_id: ChainId(31_337),
        rollup: Address([0x42; 20]),
        api_keys: vec![key("one", KEY), key("two", OTHER_KEY), tight],
        stakes_file,
        parameters: Default::default(),
        l1: None,
        limits: Limits::default(),
        timeouts: Timeouts {
            first_token_ms: 3_000,
            stall_ms: 2_000,
            queue_ms: 2_000,
            recovery_ms: 2_000,
            shutdown_ms: 2_000,
            client_headers_ms: 1_000,
            client_read_ms: 1_000,
            client_write_ms: 1_000,
            ..Timeouts::default()
        },
        intervals: Intervals { batch_ms: 20, batch_leaves: 16, epoch_ms: 3_600_000, chain_links: 64 },
        retention: Retention { plaintext_secs: 3_600, sweep_secs: 1 },
        canary: Canary::default(),
    }
}

impl World {
    /// A sequencer without nodes.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with changes to its configuration.
    pub async fn with(change: impl FnOnce(&mut SequencerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut model = model::tiny();
        ModelStore::open(dir.path().join("models")).unwrap().add(&mut model).unwrap();
        let mut config = config(dir.path(), &model);
        change(&mut config);
        let sequencer = Sequencer::start(config.clone()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { dir, config, model: Arc::new(model), sequencer: Some(sequencer), http }
    }

    /// With one honest peer for each operator.
    pub async fn with_peers() -> (Self, Vec<Peer>) {
        let world = Self::start().await;
        let peers = world.honest().await;
        (world, peers)
    }

    pub async fn honest(&self) -> Vec<Peer> {
        let mut peers = Vec::new();
        for key in operators() {
            peers.push(self.peer(key, Behaviour::Honest).await);
        }
        peers
    }

    pub async fn peer(&self, key: SecretKey, behaviour: Behaviour) -> Peer {
        Peer::join(self.addr(), key, self.model.clone(), behaviour).await
    }

    pub fn addr(&self) -> SocketAddr {
        self.sequencer.as_ref().unwrap().addr()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.http.post(self.url(path)).bearer_auth(KEY).json(body).send().await.unwrap()
    }

    /// Posts and expects success.
    pub async fn ask(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).await;
        let status = response.status();
        let value: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{status}: {value}");
        value
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.http.get(self.url(path)).bearer_auth(KEY).send().await.unwrap();
        let status = response.status();
        let value: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {value}");
        value
    }

    /// Posts a streaming request and collects its events; `None` is `[DONE]`.
    pub async fn stream(&self, path: &str, body: &Value) -> Vec<Option<Value>> {
        let response = self.post(path, body).await;
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        events(&response.text().await.unwrap())
    }

    pub async fn receipt(&self, id: &str) -> Receipt {
        let text = self
            .http
            .get(self.url(&format!("/v1/receipts/{id}")))
            .bearer_auth(KEY)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        Receipt::from_json(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    pub async fn anchors(&self) -> TrustAnchors {
        serde_json::from_value(self.get("/v1/anchors").await).unwrap()
    }

    /// The receipt of an answer, checked.
    pub async fn checked(&self, id: &str) -> (Receipt, Report) {
        let receipt = self.receipt(id).await;
        let report = receipt.check(&self.anchors().await, now()).unwrap();
        model::reexecute(&self.model, &receipt);
        (receipt, report)
    }

    /// The same, once a batch holds it: then the draw is recomputed and the inclusion checked as well.
    pub async fn batched(&self, id: &str) -> (Receipt, Report) {
        for _ in 0..500 {
            let (receipt, report) = self.checked(id).await;
            if receipt.inclusion.is_some() {
                return (receipt, report);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no batch took {id} in");
    }

    /// What a crash would leave: a consistent copy of the store, opened by a second sequencer while the first is
    /// still running and its clients are still waiting.
    pub async fn after_crash(&self) -> World {
        let dir = tempfile::tempdir().unwrap();
        let copy: PathBuf = dir.path().join("store");
        self.sequencer.as_ref().unwrap().backup(&copy).unwrap();
        let mut config = self.config.clone();
        config.data_dir = copy;
        // The first one still holds the file of marks, as no crash would let it.
        config.marks_dir = None;
        let sequencer = Sequencer::start(config.clone()).await.unwrap();
        World { dir, config, model: self.model.clone(), sequencer: Some(sequencer), http: self.http.clone() }
    }
}

/// The events of a stream; `None` is `[DONE]`, comments are left out.
pub fn events(text: &str) -> Vec<Option<Value>> {
    text.split("\n\n")
        .filter(|e| !e.is_empty() && !e.starts_with(':'))
        .map(|e| {
            let data = e.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {e}"));
            (data != "[DONE]").then(|| serde_json::from_str(data).unwrap())
        })
        .collect()
}

/// All text of a choice.
pub fn streamed_text(events: &[Option<Value>], index: u64) -> String {
    events
        .iter()
        .flatten()
        .filter_map(|e| e["choices"].as_array())
        .flatten()
        .filter(|c| c["index"] == index)
        .map(|c| c["delta"]["content"].as_str().or_else(|| c["text"].as_str()).unwrap_or_default())
        .collect()
}

pub fn chat(max_tokens: u32) -> Value {
    json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0,
        "max_tokens": max_tokens,
    })
}

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
