//! Long runs: the real model through `monai devnet`, the official clients, and a hundred crashes.
//!
//! Ignored by default; `make test-long` runs them. They need the model that `node/scripts/fetch-model` fetches, and
//! the client test needs pip and npm.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use monai_node::anchors::Anchors;
use monai_node::audit::{self, Auditor};
use monai_node::home::Home;
use monai_node::models::ModelStore;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::client::{Client, Streamed, chat};
use support::net::{Net, NodePlan};
use support::process::{Daemon, monai, signal};

const MODEL: &str = "SmolLM2-135M-Instruct";

/// A devnet with the real model. Its home stays in the cache, so that the model is imported once.
struct RealNet {
    home: PathBuf,
    client: Client,
    url: String,
    log: PathBuf,
    _dir: tempfile::TempDir,
    daemon: Daemon,
}

impl RealNet {
    fn start() -> Self {
        Self::with(&["--no-l1"])
    }

    fn with(options: &[&str]) -> Self {
        let cache = std::env::var_os("MONAI_CACHE")
            .map_or_else(|| std::env::home_dir().unwrap().join(".cache").join("monai"), PathBuf::from);
        let home = cache.join("test-home");
        std::fs::create_dir_all(&home).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("devnet.log");
        let mut command = monai(&home);
        command
            .arg("devnet")
            .args(options)
            .args(["--port", "0", "--gguf"])
            .arg(cache.join("SmolLM2-135M-Instruct.Q4_1.gguf"));
        let daemon = Daemon::start(command.arg("--dir").arg(dir.path().join("net")), &log);
        let url = daemon.line("ready ");
        Self { home, client: Client::new(&url, "devnet"), url, log, _dir: dir, daemon }
    }

    fn anchors(&self) -> Anchors {
        let home = Home::find(Some(self.home.clone())).unwrap();
        Anchors::load(Some(&self._dir.path().join("net/anchors.json")), &home).unwrap()
    }

    fn auditor(&self) -> Auditor {
        Auditor::new(ModelStore::new(self.home.join("models")), Some(2))
    }

    /// The process of the node that answers now, if one does.
    async fn serving(&self) -> Option<u32> {
        let network = self.client.get("/network").await;
        let nodes = network["nodes"].as_array().unwrap();
        let index = nodes.iter().position(|n| n["active"].as_u64() > Some(0))?;
        let address = nodes[index]["address"].as_str().unwrap().to_owned();
        let keys = self._dir.path().join("net/keys");
        let name = (1..=3).find(|i| {
            let text = std::fs::read_to_string(keys.join(format!("node-{i}.json"))).unwrap();
            text.contains(&address[2..])
        })?;
        current_pid(&self.log, &format!("node-{name}"))
    }
}

/// The process id that the devnet named last for a child.
fn current_pid(log: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(log).unwrap();
    let line = text.lines().rev().find(|l| l.starts_with(&format!("{name} started (pid ")))?;
    line.split("(pid ").nth(1)?.split(')').next()?.parse().ok()
}

/// Everything that `make scenario` does, on a devnet with its own anvil: delegate, post, prove, vote, pay, leave.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "real model and anvil, minutes; make test-long"]
async fn the_devnet_lives_through_its_l1() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let contracts = root.join("contracts");
    let built = Command::new("make").arg("-C").arg(&contracts).arg("build").status().unwrap();
    assert!(built.success(), "make -C contracts build");
    let net = RealNet::with(&["--l1-port", "0", "--contracts", contracts.to_str().unwrap()]);
    let status = Command::new(root.join("node/scripts/l1-scenario"))
        .arg(env!("CARGO_BIN_EXE_monai"))
        .arg(net.url.trim_end_matches("/v1"))
        .env("MONAI_HOME", &net.home)
        .env("MONAI_DEVNET_DIR", net._dir.path().join("net"))
        .status()
        .unwrap();
    assert!(status.success(), "the scenario's last line says what is not true");
}

fn question(text: &str, max_tokens: u32, seed: Option<u64>) -> Value {
    let mut body = chat(text, max_tokens, seed);
    body["model"] = json!(MODEL);
    body
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "real model; make test-long"]
async fn the_real_model_answers_and_survives_the_death_of_nodes() {
    let net = RealNet::start();
    let paris = net.client.chat(&question("Name the capital of France.", 40, None)).await;
    assert!(paris["choices"][0]["message"]["content"].as_str().unwrap().contains("Paris"), "{paris}");
    let id = paris["id"].as_str().unwrap();
    let receipt = net.client.get(&format!("/receipts/{id}")).await;
    audit::check(receipt.to_string().as_bytes(), &net.anchors(), Some(&net.auditor())).unwrap();

    for seed in [None, Some(11)] {
        let body = question("Write a short poem about the sea.", 48, seed);
        let calm = net.client.stream(&body).await;
        assert!(calm.done && calm.pieces > 10, "{calm:?}");
        for at in [1, calm.pieces / 2, calm.pieces - 1] {
            // A fast node may end before the signal arrives; then the next run has to do.
            let mut disturbed = false;
            for _ in 0..20 {
                let mut chunks = net.client.begin(&body).await.unwrap();
                let (mut seen, mut killed) = (Streamed::new(), false);
                while let Some(chunk) = chunks.next().await {
                    seen.take(&chunk);
                    if seen.pieces >= at && !killed {
                        killed = true;
                        if let Some(pid) = net.serving().await {
                            signal(pid, "KILL");
                        }
                    }
                }
                assert_eq!(
                    (&seen.text, &seen.finish, &seen.error),
                    (&calm.text, &calm.finish, &None),
                    "after {at}"
                );
                let receipt = net.client.get(&format!("/receipts/{}", seen.id)).await;
                audit::check(receipt.to_string().as_bytes(), &net.anchors(), Some(&net.auditor())).unwrap();
                if receipt["attempts"][0]["outcome"] == "missed" {
                    disturbed = true;
                    break;
                }
            }
            assert!(disturbed, "no run was disturbed after piece {at}");
        }
    }
    net.daemon.signal("TERM");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs clients from pip and npm; make test-long"]
async fn the_official_clients_work_unmodified() {
    let net = RealNet::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/run");
    let status = Command::new(script).args([&net.client.base, MODEL]).status().unwrap();
    assert!(status.success());
}

/// `kill -9` of the sequencer at random moments under eight clients, a hundred times: every receipt that a client was
/// given is there and valid afterwards.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a hundred crashes; make test-long"]
async fn no_receipt_is_lost_in_a_hundred_crashes() {
    const CRASHES: u32 = 100;
    const RECEIPTS: usize = 1_000;
    const CLIENTS: u64 = 8;
    let mut net = Net::start(&[NodePlan::default(); 3]).await;
    let given: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|c| {
            let (client, given, stop) = (net.client.clone(), given.clone(), stop.clone());
            tokio::spawn(async move {
                let mut n = c << 32;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let body = chat(&format!("Question {n}"), 6 + (n % 20) as u32, Some(n));
                    if let Some(id) = ask(&client, &body, n % 4 == 0).await {
                        given.lock().unwrap().insert(id);
                    }
                }
            })
        })
        .collect();
    let mut random = StdRng::seed_from_u64(1);
    let mut crashes = 0;
    while crashes < CRASHES || given.lock().unwrap().len() < RECEIPTS {
        let before = given.lock().unwrap().len();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..1_500))).await;
        net.sequencer.take().unwrap().kill();
        crashes += 1;
        net.start_sequencer();
        // A crash during recovery is as good as any other, but clients must come through now and then.
        if crashes % 3 == 0 {
            for _ in 0..1_000 {
                if given.lock().unwrap().len() > before {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(crashes < 20 * CRASHES, "the clients hardly get any answers");
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let given = given.lock().unwrap().clone();
    net.wait_for_nodes(3).await;
    net.save_anchors().await;
    let (anchors, auditor) = (net.anchors(), net.auditor());
    for id in &given {
        let (status, receipt) = net.client.try_get(&format!("/receipts/{id}")).await.unwrap();
        assert_eq!(status, 200, "{id} is lost");
        audit::check(receipt.to_string().as_bytes(), &anchors, Some(&auditor))
            .unwrap_or_else(|e| panic!("{id}: {e}"));
    }
    println!("{crashes} crashes, {} receipts, none lost", given.len());
}

/// The id of an answer whose end has come, whatever came after it.
async fn ask(client: &Client, body: &Value, whole: bool) -> Option<String> {
    if whole {
        let request = reqwest::Client::builder().no_proxy().build().ok()?;
        let url = format!("{}/chat/completions", client.base);
        let answer: Value =
            request.post(url).bearer_auth("test").json(body).send().await.ok()?.json().await.ok()?;
        return Some(answer["id"].as_str()?.to_owned());
    }
    let answer = match client.begin(body).await {
        Ok(chunks) => chunks.rest().await,
        Err(_) => {
            // The sequencer is down; trying again at once would only burn the processor it needs to come back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            return None;
        }
    };
    answer.finish.is_some().then_some(answer.id)
}
