//! From a chat to a verified proof, and the queue of proofs of a node.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use support::client::{Client, chat};
use support::home::PASSWORD;
use support::net::{Net, NodePlan};
use support::process::{Daemon, monai, run};

fn text(output: &Output) -> (i32, String, String) {
    let utf8 = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    (output.status.code().unwrap(), utf8(&output.stdout), utf8(&output.stderr))
}

fn call(net: &Net, arguments: &[&str]) -> (i32, String, String) {
    text(&run(monai(net.home.path()).args(arguments)))
}

/// A chat's receipt as a file.
async fn receipt(net: &Net, name: &str, question: &str, seed: Option<u64>) -> PathBuf {
    let answer = net.client.chat(&chat(question, 6, seed)).await;
    let receipt = net.client.get(&format!("/receipts/{}", answer["id"].as_str().unwrap())).await;
    let path = net.home.path().join(name);
    std::fs::write(&path, serde_json::to_vec_pretty(&receipt).unwrap()).unwrap();
    path
}

fn commitment(net: &Net) -> (String, PathBuf) {
    let (code, out, err) = call(net, &["model", "commit", "tiny", "--json"]);
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    assert!(made["setup"].as_str().unwrap().contains("INSECURE"), "{made}");
    (made["model_commitment"].as_str().unwrap().to_owned(), made["path"].as_str().unwrap().into())
}

fn str_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_proved_from_its_receipt_and_verified_without_the_model() {
    let net = Net::start(&[NodePlan::default()]).await;
    let greedy = receipt(&net, "greedy.json", "Hi", None).await;
    let sampled = receipt(&net, "sampled.json", "Hi", Some(7)).await;
    let (m, file) = commitment(&net);

    let (code, out, err) = call(&net, &["prove", str_of(&greedy), "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("proving: opening") && err.contains("INSECURE"), "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let proof = PathBuf::from(made["proof"].as_str().unwrap());
    assert_eq!((&proof, made["model_commitment"].as_str()), (&greedy.with_extension("proof"), Some(&m[..])));
    assert!(made["stages"].as_array().unwrap().len() > 5);

    // A stranger has the proof and M, and nothing else of this home.
    let stranger = tempfile::tempdir().unwrap();
    let verify = |arguments: &[&str]| {
        text(&run(monai(stranger.path())
            .args(["verify", str_of(&proof), "--model-commitment"])
            .args(arguments)))
    };
    let (code, out, _) = verify(&[&m, "--json"]);
    assert_eq!(code, 0);
    let found: Value = serde_json::from_str(&out).unwrap();
    let signed: Value = serde_json::from_slice(&std::fs::read(&greedy).unwrap()).unwrap();
    assert_eq!(found["answers"][0]["output"], signed["response"]["message"]["output"]);
    assert_eq!(found["secure_setup"], json!(false));
    assert_eq!(verify(&[str_of(&file)]).0, 0);
    assert_eq!(verify(&[&m, "--receipt", str_of(&greedy)]).0, 0);
    let (code, _, err) = verify(&[&m, "--receipt", str_of(&sampled)]);
    assert!(code == 1 && err.contains("another answer"), "{err}");
    assert_eq!(verify(&[&m, "--require-ceremony"]).0, 1);
    assert_eq!(verify(&[&m.replace(&m[10..12], if &m[10..12] == "00" { "11" } else { "00" })]).0, 1);
    assert_eq!(verify(&["absent.commitment"]).0, 3);
    let mut bytes = std::fs::read(&proof).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = stranger.path().join("bad.proof");
    std::fs::write(&bad, bytes).unwrap();
    let (code, _, err) =
        text(&run(monai(stranger.path()).args(["verify", str_of(&bad), "--model-commitment", &m])));
    assert_eq!(code, 1, "{err}");

    // An answer that the model did not give: the receipt that shows it is refused before any proof.
    let mut altered = signed.clone();
    let id = altered["output"][0].as_u64().unwrap();
    altered["output"][0] = json!(if id == 50 { 51 } else { 50 });
    let lie = net.home.path().join("lie.json");
    std::fs::write(&lie, altered.to_string()).unwrap();
    let (code, _, err) = call(&net, &["prove", str_of(&lie)]);
    assert!(code == 1 && err.contains("re-execution"), "{err}");
    assert!(!lie.with_extension("proof").exists());

    let anchors = net.anchors_path();
    let (code, out, err) =
        call(&net, &["audit", str_of(&sampled), "--prove", "--anchors", str_of(&anchors), "--json"]);
    assert_eq!(code, 0, "{out} {err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["receipts"][0]["proof"], json!(str_of(&sampled.with_extension("proof"))));

    let (code, out, _) = call(&net, &["prove", "--limits", "tiny", "--json"]);
    let limits: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert!(limits["most_ids"].as_u64().unwrap() > 64, "{limits}");
}

/// A node that takes jobs of proofs; the sequencer that it dials is not there.
fn prover(net: &Net) -> (Daemon, Client) {
    let mut command = monai(net.home.path());
    command.args(["node", "--sequencer", "ws://127.0.0.1:1", "--key", "node-0", "--threads", "1"]);
    command.args(["--kv-mib", "64", "--prove-listen", "127.0.0.1:0", "--prove-threads", "1"]);
    command.arg("--anchors").arg(net.anchors_path()).env("MONAI_PASSWORD", PASSWORD);
    let daemon = Daemon::start(&mut command, &net.log("prover"));
    let url = daemon.line("proving ");
    let token = std::fs::read_to_string(net.home.path().join("prove/token")).unwrap();
    (daemon, Client::new(&url, &token))
}

/// Asks for a job until it is in one of these states.
async fn until(client: &Client, id: &str, states: &[&str]) -> Value {
    for _ in 0..4000 {
        let job = client.get(&format!("/prove/{id}")).await;
        if states.contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    panic!("{id} is never {states:?}");
}

async fn submit(client: &Client, receipt: &Path) -> (u16, Value) {
    client.post("/prove", &serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_a_kill_and_are_bounded_by_their_token() {
    let mut net = Net::start(&[NodePlan::default()]).await;
    let first = receipt(&net, "first.json", "Hi", None).await;
    let second = receipt(&net, "second.json", "Ho", Some(3)).await;
    let (m, _) = commitment(&net);
    // The node's key is the prover's from here on.
    net.nodes[0].take().unwrap().kill();

    let (mut daemon, client) = prover(&net);
    let stranger = Client::new(&client.base, "guess");
    assert_eq!(submit(&stranger, &first).await.0, 401);
    assert_eq!(client.post("/prove", &json!({"version": 1})).await.0, 400);
    assert_eq!(client.try_get("/prove/../token").await.unwrap().0, 404);

    let (status, job) = submit(&client, &first).await;
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().unwrap().to_owned();
    let (status, other) = submit(&client, &second).await;
    assert_eq!(status, 202);
    let other = other["id"].as_str().unwrap().to_owned();
    assert_eq!(submit(&client, &first).await, (200, client.get(&format!("/prove/{id}")).await));
    assert_eq!(client.try_get(&format!("/prove/{other}/proof")).await.unwrap().0, 409);
    until(&client, &id, &["running"]).await;
    daemon.kill();

    // Both are still there, the first one begins again, the second is no longer wanted.
    let (mut daemon, client) = prover(&net);
    let listed = client.get("/prove").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "{listed}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = std::fs::read_to_string(net.home.path().join("prove/token")).unwrap();
    let url = format!("{}/prove/{other}", client.base);
    let cancelled: Value = http.delete(&url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(cancelled["state"], "cancelled");
    let done = until(&client, &id, &["done", "failed"]).await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(client.get(&format!("/prove/{other}")).await["state"], "cancelled");
    let url = format!("{}/prove/{id}/proof", client.base);
    let bytes = http.get(&url).bearer_auth(&token).send().await.unwrap().bytes().await.unwrap();
    let proof = net.home.path().join("fetched.proof");
    std::fs::write(&proof, bytes).unwrap();
    let check = ["verify", str_of(&proof), "--model-commitment", &m, "--receipt", str_of(&first)];
    assert_eq!(call(&net, &check).0, 0);

    // The command that sends a job and waits for it.
    let out = net.home.path().join("second.proof");
    let (code, _, err) =
        call(&net, &["prove", str_of(&second), "--node", &client.base, "--out", str_of(&out)]);
    assert_eq!(code, 0, "{err}");
    let check = ["verify", str_of(&out), "--model-commitment", &m, "--receipt", str_of(&second)];
    assert_eq!(call(&net, &check).0, 0);
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_cancelled_ends_soon_and_leaves_nothing() {
    let net = Net::start(&[NodePlan::default()]).await;
    let path = receipt(&net, "r.json", "Hi", None).await;
    commitment(&net);
    let mut command = monai(net.home.path());
    command.args(["prove", str_of(&path), "--threads", "1"]);
    let mut proving = Daemon::start(&mut command, &net.log("prove"));
    let log = net.log("prove");
    let deadline = std::time::Instant::now() + support::process::PATIENCE;
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("proving: ") {
        assert!(std::time::Instant::now() < deadline, "proving never begins");
        std::thread::sleep(Duration::from_millis(2));
    }
    proving.signal("INT");
    let code = proving.wait().code();
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("cancelled"), "{said}");
    assert!(!path.with_extension("proof").exists());
}
