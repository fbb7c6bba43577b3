//! A real network of processes: chat, receipts, failover, drain.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use monai_node::audit;
use monai_protocol::Typed as _;
use monai_protocol::receipt::Receipt;
use serde_json::{Value, json};
use support::client::{Client, Streamed, chat};
use support::net::{Net, NodePlan};
use support::process::{monai, run};

/// Writes a receipt to a file of the home.
fn keep(net: &Net, name: &str, receipt: &Value) -> std::path::PathBuf {
    let path = net.home.path().join(name);
    std::fs::write(&path, serde_json::to_vec_pretty(receipt).unwrap()).unwrap();
    path
}

/// `monai audit` with the net's anchors: exit code and standard output.
fn audit_cli(net: &Net, arguments: &[&std::ffi::OsStr]) -> (i32, String) {
    let mut command = monai(net.home.path());
    command.arg("audit").arg("--anchors").arg(net.anchors_path()).args(arguments);
    let output = run(&mut command);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_have_receipts_that_anyone_can_reexecute() {
    let net = Net::start(&[NodePlan::default(); 3]).await;
    let body = chat("Hello there", 24, Some(7));
    let whole = net.client.chat(&body).await;
    let streamed = net.client.stream(&body).await;
    assert!(streamed.done && streamed.error.is_none());
    assert_eq!(whole["choices"][0]["message"]["content"], streamed.text);
    assert_eq!(whole["choices"][0]["finish_reason"], json!(streamed.finish));

    // There as soon as the answer ends, for the key that asked and for no other.
    let id = whole["id"].as_str().unwrap();
    let fresh = net.client.get(&format!("/receipts/{id}")).await;
    let (status, _) =
        Client::new(&net.client.base, "other").try_get(&format!("/receipts/{id}")).await.unwrap();
    assert_eq!(status, 404);

    let path = keep(&net, "fresh.json", &fresh);
    let (code, out) = audit_cli(&net, &["--reexecute".as_ref(), "--json".as_ref(), path.as_ref()]);
    assert_eq!(code, 0, "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["valid"], &report["receipts"][0]["reexecuted"]), (&json!(true), &json!(true)));

    let batched = net.batched_receipt(id).await;
    let path = keep(&net, "batched.json", &batched);
    let (code, out) = audit_cli(&net, &["--reexecute".as_ref(), path.as_ref()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("recomputed: this node was drawn"), "{out}");
    assert!(out.contains("pending"), "{out}");

    // Two receipts of two slots agree with each other; a slot that is given twice does not.
    let other = net.batched_receipt(&streamed.id).await;
    let second = keep(&net, "second.json", &other);
    assert_eq!(audit_cli(&net, &[path.as_ref(), second.as_ref()]).0, 0);

    let output =
        run(monai(net.home.path()).args(["network", "--url", &net.client.base, "--api-key", "test"]));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(net.addresses.iter().all(|a| table.contains(&a.to_string())), "{table}");

    let mut command = monai(net.home.path());
    command.args([
        "chat",
        "Hello there",
        "--temperature",
        "1",
        "--seed",
        "7",
        "--max-tokens",
        "24",
        "--json",
    ]);
    let output = run(command.args(["--url", &net.client.base, "--api-key", "test", "--model", "tiny"]));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["text"], whole["choices"][0]["message"]["content"]);
}

/// Every leaf of a JSON document, as a path of keys.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(o) => o.iter().for_each(|(k, v)| leaves(v, &format!("{at}/{k}"), found)),
        Value::Array(a) => a.iter().enumerate().for_each(|(i, v)| leaves(v, &format!("{at}/{i}"), found)),
        _ => found.push(at.to_owned()),
    }
}

/// Other values of the same type, as an attacker would choose them.
fn mutations(leaf: &Value) -> Vec<Value> {
    match leaf {
        Value::Null => vec![json!("0x00"), json!(0)],
        Value::Bool(b) => vec![json!(!b)],
        Value::Number(n) => {
            let n = n.as_u64().unwrap();
            vec![json!(n + 1), json!(n.wrapping_sub(1)), json!(n ^ 64)]
        }
        Value::String(s) => match s.strip_prefix("0x") {
            Some(digits) => {
                // The first and the last digit changed, so both ends of every field are covered.
                let flip = |at: usize| {
                    let mut bytes = digits.as_bytes().to_vec();
                    bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                    json!(format!("0x{}", String::from_utf8(bytes).unwrap()))
                };
                vec![flip(0), flip(digits.len() - 1), json!(s.to_uppercase())]
            }
            None if s.parse::<u128>().is_ok() => {
                let n: u128 = s.parse().unwrap();
                vec![json!((n + 1).to_string()), json!(format!("0{s}"))]
            }
            None => ["stop", "length", "cancelled", "signed", "sampled", "other"]
                .iter()
                .filter(|w| *w != s)
                .map(|w| json!(w))
                .collect(),
        },
        _ => unreachable!("not a leaf"),
    }
}

/// Changes every leaf below `prefix` in turn; none may pass.
fn reject_changes(net: &Net, receipt: &Value, prefix: &str) -> usize {
    let (anchors, auditor) = (net.anchors(), net.auditor());
    let text = |v: &Value| serde_json::to_vec(v).unwrap();
    audit::check(&text(receipt), &anchors, Some(&auditor)).unwrap();
    let mut paths = Vec::new();
    leaves(receipt, "", &mut paths);
    paths.retain(|p| p.starts_with(prefix));
    let mut accepted = Vec::new();
    for path in &paths {
        for value in mutations(receipt.pointer(path).unwrap()) {
            let mut changed = receipt.clone();
            *changed.pointer_mut(path).unwrap() = value.clone();
            match audit::check(&text(&changed), &anchors, Some(&auditor)) {
                Ok(_) => accepted.push(format!("{path} = {value}")),
                Err(error) => assert_eq!(error.exit_code(), 1, "{path}: {error}"),
            }
        }
    }
    assert!(accepted.is_empty(), "accepted: {accepted:#?}");
    paths.len()
}

/// The batched receipt of an answer that is longer than one block of signed progress.
async fn long_receipt(net: &Net, question: &str) -> Value {
    for seed in 0..200 {
        let answer = net.client.chat(&chat(question, 80, Some(seed))).await;
        if answer["choices"][0]["finish_reason"] == "length" {
            return net.batched_receipt(answer["id"].as_str().unwrap()).await;
        }
    }
    panic!("no seed gives a long answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_rejects_every_changed_leaf_and_names_it() {
    let net = Net::start(&[NodePlan::default(); 2]).await;
    let receipt = long_receipt(&net, "Tell me a long story").await;
    assert_eq!(receipt["progress"].as_array().unwrap().len(), 1);
    assert!(reject_changes(&net, &receipt, "") > 100);

    // Parts of two true receipts don't fit together.
    let other = long_receipt(&net, "Tell me another story").await;
    for part in ["request", "intake", "output", "response", "attestation", "inclusion", "progress"] {
        let mut swapped = receipt.clone();
        assert_ne!(swapped[part], other[part], "{part}");
        swapped[part] = other[part].clone();
        assert!(audit::check(swapped.to_string().as_bytes(), &net.anchors(), None).is_err(), "{part}");
    }

    // Doubled and re-assigned slots show between receipts, each of which is valid by itself.
    let sequencer = net.home.unlock("sequencer");
    let mut doubled: Receipt = serde_json::from_value(receipt.clone()).unwrap();
    doubled.intake.message.received_ms -= 1;
    doubled.intake.signature = doubled.intake.message.sign(&doubled.request.domain, &sequencer).unwrap();
    doubled.attestation.message.dispatched_ms += 1;
    doubled.attestation.message.first_token_ms += 1;
    doubled.attestation.message.done_ms += 1;
    doubled.attestation.signature =
        doubled.attestation.message.sign(&doubled.request.domain, &sequencer).unwrap();
    let one = keep(&net, "one.json", &receipt);
    let two = keep(&net, "two.json", &serde_json::to_value(&doubled).unwrap());
    assert_eq!(audit_cli(&net, &[two.as_ref()]).0, 0, "valid by itself");
    let (code, out) = audit_cli(&net, &[one.as_ref(), two.as_ref()]);
    assert_eq!(code, 1);
    assert!(out.contains("equivocation"), "{out}");

    // A forged receipt convicts nobody: only its own signatures are looked at, and they are stale.
    let mut forged = receipt.clone();
    forged["intake"]["message"]["request"] = json!(format!("0x{:064x}", 1));
    let forged = keep(&net, "forged.json", &forged);
    let (code, out) = audit_cli(&net, &["--json".as_ref(), one.as_ref(), forged.as_ref()]);
    let out: Value = serde_json::from_str(&out).unwrap();
    let valid: Vec<_> = out["receipts"].as_array().unwrap().iter().map(|r| r["valid"].clone()).collect();
    assert_eq!((code, valid), (1, vec![json!(true), json!(false)]), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_one_spelling() {
    let net = Net::start(&[NodePlan::default(); 1]).await;
    let answer = net.client.chat(&chat("Hello", 8, Some(1))).await;
    let receipt = net.client.get(&format!("/receipts/{}", answer["id"].as_str().unwrap())).await;
    let text = receipt.to_string();
    let audit = |text: &str| {
        let path = net.home.path().join("spelt.json");
        std::fs::write(&path, text).unwrap();
        audit_cli(&net, &[path.as_ref()]).0
    };
    assert_eq!(audit(&text), 0);
    assert_eq!(audit(&format!("[{text}]")), 0);
    assert_eq!(audit(&format!(r#"{{"data":[{text},{text}]}}"#)), 0);
    // Nothing is not right.
    for empty in ["[]", r#"{"data":[]}"#, "{}", "", "null", "[null]"] {
        assert_eq!(audit(empty), 1, "{empty}");
    }
    // A field twice, alone and in a list; words beside a list; an object as a list; a null that is left out.
    let output = format!(r#""output":{}"#, receipt["output"]);
    let doubled = text.replace(&output, &format!(r#""output":[1,2,3],{output}"#));
    assert_ne!(doubled, text);
    let intake = &receipt["intake"];
    let as_list = json!([intake["message"], intake["signature"]]);
    let listed = text.replace(&intake.to_string(), &as_list.to_string());
    assert_ne!(listed, text);
    let short = text.replace(r#""user_signature":null"#, "").replace(",,", ",").replace(",}", "}");
    assert_ne!(short, text);
    for (what, wrong) in [
        ("doubled", doubled.clone()),
        ("doubled in a list", format!("[{doubled}]")),
        ("words beside a list", format!(r#"{{"note":"it was 42","data":[{text}]}}"#)),
        ("an object as a list", listed),
        ("a field left out", short),
    ] {
        assert_eq!(audit(&wrong), 1, "{what}");
    }
}

/// A question whose answer has enough pieces to be cut between them, with the undisturbed answer.
async fn long_question(net: &Net, seed: Option<u64>) -> (Value, Streamed) {
    for i in 0..60u64 {
        let body = chat(&format!("Question {i}"), 12, seed.map(|s| s + i));
        let answer = net.client.stream(&body).await;
        if answer.pieces >= 5 && answer.finish.as_deref() == Some("length") {
            return (body, answer);
        }
    }
    panic!("no question has a long answer");
}

/// The serving node dies after the first, a middle and the last piece but one: the client sees the same
/// bytes as if nothing had happened, and the receipt says what did.
async fn survives_kills(seed: Option<u64>) {
    let mut net = Net::start(&[NodePlan { rate: Some(8.0) }; 3]).await;
    let (body, calm) = long_question(&net, seed).await;
    for at in [1, calm.pieces / 2, calm.pieces - 1] {
        let mut chunks = net.client.begin(&body).await.unwrap();
        let mut seen = Streamed::new();
        let mut killed = None;
        while let Some(chunk) = chunks.next().await {
            seen.take(&chunk);
            if seen.pieces >= at && killed.is_none() {
                let serving = net.serving().await;
                net.nodes[serving].take().unwrap().kill();
                killed = Some(serving);
            }
        }
        assert!(chunks.done, "after {at}: {seen:?}");
        assert_eq!((&seen.text, &seen.finish, &seen.error), (&calm.text, &calm.finish, &None), "after {at}");
        let receipt = net.batched_receipt(&seen.id).await;
        let killed = killed.unwrap();
        let missed = &receipt["attempts"][0];
        assert_eq!(missed["outcome"], "missed", "after {at}");
        assert_eq!(missed["message"]["node"], net.addresses[killed].to_string());
        assert!(receipt["attestation"]["message"]["resumed_from"].as_u64().unwrap() >= 1, "after {at}");
        assert!(reject_changes(&net, &receipt, "/attempts") > 8);
        net.start_node(killed);
        net.wait_for_nodes(3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn greedy_answers_survive_the_death_of_their_node() {
    survives_kills(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_answers_survive_the_death_of_their_node() {
    survives_kills(Some(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_finishes_its_answers() {
    let mut net = Net::start(&[NodePlan { rate: Some(10.0) }; 1]).await;
    let (body, calm) = long_question(&net, Some(200)).await;
    let mut chunks = net.client.begin(&body).await.unwrap();
    let mut seen = Streamed::new();
    let mut told = false;
    while let Some(chunk) = chunks.next().await {
        seen.take(&chunk);
        if seen.pieces >= 1 && !told {
            net.nodes[0].as_ref().unwrap().signal("TERM");
            told = true;
        }
    }
    assert_eq!((&seen.text, &seen.finish), (&calm.text, &calm.finish));
    let receipt = net.client.get(&format!("/receipts/{}", seen.id)).await;
    assert_eq!(receipt["attempts"], json!([]));
    assert_eq!(net.nodes[0].as_mut().unwrap().wait().code(), Some(0));
    // Nobody is left to answer, and that is said at once.
    let (status, error) = net.client.post("/chat/completions", &body).await;
    assert_eq!((status, error["error"]["type"].as_str()), (503, Some("server_error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sequencer_backs_itself_up() {
    let mut net = Net::start(&[NodePlan::default(); 1]).await;
    let answer = net.client.chat(&chat("Remember me", 8, Some(1))).await;
    let store = |dir: &std::path::Path, to: &str| {
        let mut command = monai(net.home.path());
        command.args(["store", "backup", "--dir"]).arg(dir).arg("--to").arg(net.home.path().join(to));
        run(&mut command).status.code()
    };
    let live = net.home.path().join("sequencer").join("store");
    assert_eq!(store(&live, "locked"), Some(5), "the running sequencer holds the lock");
    let sequencer = net.sequencer.as_ref().unwrap();
    sequencer.signal("USR1");
    let old = std::path::PathBuf::from(sequencer.line("backup "));
    assert_eq!(store(&old, "copy of the copy"), Some(0));
    // It goes on. A copy that holds all slots gives the receipt when it is put in the store's place; the older one
    // would have slots signed again, and is refused (by the sequencer's own tests).
    assert_eq!(net.client.chat(&chat("And me", 8, Some(2))).await["object"], "chat.completion");
    let sequencer = net.sequencer.as_ref().unwrap();
    sequencer.signal("USR1");
    let copy = std::path::PathBuf::from(sequencer.line("backup "));
    assert_ne!(copy, old);
    net.sequencer.take().unwrap().kill();
    std::fs::remove_dir_all(&live).unwrap();
    std::fs::rename(&copy, &live).unwrap();
    net.start_sequencer();
    let receipt = net.client.get(&format!("/receipts/{}", answer["id"].as_str().unwrap())).await;
    assert!(audit::check(receipt.to_string().as_bytes(), &net.anchors(), None).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_survive_a_killed_sequencer() {
    let mut net = Net::start(&[NodePlan::default(); 2]).await;
    let mut ids = Vec::new();
    for round in 0..3u64 {
        for i in 0..4u64 {
            let answer = net.client.chat(&chat("Remember me", 8, Some(10 * round + i))).await;
            ids.push(answer["id"].as_str().unwrap().to_owned());
        }
        net.sequencer.take().unwrap().kill();
        net.start_sequencer();
        net.wait_for_nodes(2).await;
    }
    for id in &ids {
        let receipt = net.batched_receipt(id).await;
        audit::check(receipt.to_string().as_bytes(), &net.anchors(), Some(&net.auditor())).unwrap();
    }
}

/// The first chunk leaves before the second token is computed: with two tokens a second, the answer's pieces come one
/// by one and the first long before the last.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_chunk_does_not_wait_for_the_second_token() {
    let net = Net::start(&[NodePlan { rate: Some(4.0) }; 1]).await;
    let (body, calm) = long_question(&net, Some(300)).await;
    let mut chunks = net.client.begin(&body).await.unwrap();
    let (mut seen, mut times) = (Streamed::new(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let before = seen.pieces;
        seen.take(&chunk);
        if seen.pieces > before {
            times.push(std::time::Instant::now());
        }
    }
    assert_eq!(times.len(), calm.pieces);
    // Pieces are at least a token apart, which takes 250 ms; a relay that gathers would send them together.
    assert!(times.windows(2).all(|w| w[1] - w[0] > std::time::Duration::from_millis(100)), "{times:?}");
}
