//! The proxy in front of a true sequencer and in front of one that lies.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use monai_node::cli::{ProxyOptions, Reexecute};
use monai_node::proxy;
use serde_json::{Value, json};
use support::client::{Client, chat};
use support::meddler::{Change, Meddler};
use support::net::{Net, NodePlan};

async fn proxy_before(
    net: &Net,
    url: &str,
    key: &str,
    reexecute: Reexecute,
) -> (proxy::RunningProxy, Client) {
    let options = ProxyOptions {
        listen: Some("127.0.0.1:0".into()),
        url: Some(url.into()),
        api_key: Some("test".into()),
        anchors: Some(net.anchors_path()),
        reexecute: Some(reexecute),
        receipts: Some(net.home.path().join("verified")),
        threads: Some(1),
        ..ProxyOptions::default()
    };
    let running = proxy::start(options, &net.home.home, net.home.key(key)).await.unwrap();
    let client = Client::new(&format!("http://{}/v1", running.address()), "unused");
    (running, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_answers_look_like_any_other() {
    let net = Net::start(&[NodePlan::default(); 2]).await;
    let (_running, client) = proxy_before(&net, &net.client.base, "user", Reexecute::Always).await;
    for seed in [None, Some(3), Some(4)] {
        let body = chat("Hello there", 20, seed);
        let direct = net.client.chat(&body).await;
        let whole = client.chat(&body).await;
        let streamed = client.stream(&body).await;
        // The same parameters and prompt give the same answer, whoever asks.
        assert_eq!(whole["choices"][0]["message"], direct["choices"][0]["message"]);
        assert_eq!(whole["usage"], direct["usage"]);
        assert_eq!(streamed.text, direct["choices"][0]["message"]["content"].as_str().unwrap());
        assert!(streamed.done && streamed.error.is_none(), "{streamed:?}");
        // The kept receipt holds the user's own key and signature.
        let kept = std::fs::read_dir(net.home.path().join("verified")).unwrap();
        let receipts = kept.map(|f| std::fs::read(f.unwrap().path()).unwrap());
        let receipts = receipts.map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
        let receipt = receipts.filter(|r| r["request"]["user"].is_string()).last().unwrap();
        assert!(receipt["user_signature"].is_string());
        assert_ne!(receipt["request"]["user"], receipt["attestation"]["message"]["node"]);
    }
    // Stop strings are trimmed here; the signed answer stays whole.
    let body = chat("Hello there", 20, Some(3));
    let text = client.chat(&body).await["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let cut = text.char_indices().nth(3).unwrap().0;
    let stop: String = text[cut..].chars().take(2).collect();
    let expected = &text[..text.find(&stop).unwrap()];
    let mut stopped = body.clone();
    stopped["stop"] = json!([stop]);
    let whole = client.chat(&stopped).await;
    assert_eq!(whole["choices"][0]["message"]["content"], expected);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(client.stream(&stopped).await.text, expected);

    let models = client.get("/models").await;
    assert_eq!(models["data"][0]["id"], "tiny");
    for (param, change) in [("logprobs", json!({"logprobs": true})), ("n", json!({"n": 2}))] {
        let mut body = body.clone();
        body[param] = change[param].clone();
        let (status, error) = client.post("/chat/completions", &body).await;
        assert_eq!((status, error["error"]["param"].as_str()), (400, Some(param)), "{error}");
    }
    let (status, error) = client.post("/chat/completions", &json!({"model": "nobody", "messages": []})).await;
    assert_eq!((status, error["error"]["code"].as_str()), (404, Some("model_not_found")));
}

/// A lie, and a word that the error has to contain.
const LIES: [(&str, &str, Change); 10] = [
    ("text", "differs from the receipt", |path, v| {
        if path.ends_with("/chat/completions") {
            for at in ["/choices/0/delta/content", "/choices/0/message/content"] {
                if let Some(text) = v.pointer_mut(at).filter(|t| t.as_str().is_some_and(|t| !t.is_empty())) {
                    *text = json!(format!("{}!", text.as_str().unwrap()));
                }
            }
        }
    }),
    ("output", "output", |path, v| {
        if path.contains("/receipts/") {
            let id = v["output"][0].as_u64().unwrap();
            v["output"][0] = json!(id ^ 1);
        }
    }),
    ("node's signature", "response.signature", |path, v| {
        if path.contains("/receipts/") {
            flip(&mut v["response"]["signature"]);
        }
    }),
    ("sequencer's signature", "attestation.signature", |path, v| {
        if path.contains("/receipts/") {
            flip(&mut v["attestation"]["signature"]);
        }
    }),
    ("user's signature", "user_signature", |path, v| {
        if path.contains("/receipts/") {
            flip(&mut v["user_signature"]);
        }
    }),
    ("prompt", "another request", |path, v| {
        if path.contains("/receipts/") {
            v["request"]["prompt"][0] = json!(5);
        }
    }),
    ("finish", "finish_reason", |path, v| {
        if path.ends_with("/chat/completions")
            && let Some(finish) = v.pointer_mut("/choices/0/finish_reason").filter(|f| f.is_string())
        {
            *finish = json!(if finish == "stop" { "length" } else { "stop" });
        }
    }),
    ("usage", "usage.completion_tokens", |path, v| {
        if path.ends_with("/chat/completions") && v["usage"].is_object() {
            v["usage"]["completion_tokens"] = json!(1_000);
        }
    }),
    ("intake", "intake", |path, v| {
        if let Some(intake) =
            v.pointer_mut("/choices/0/monai/intake/signature").filter(|_| path.ends_with("completions"))
        {
            flip(intake);
        }
    }),
    ("slot", "intake", |path, v| {
        if path.contains("/receipts/") {
            let slot = v["intake"]["message"]["slot"].as_u64().unwrap();
            v["intake"]["message"]["slot"] = json!(slot + 1);
        }
    }),
];

fn flip(hex: &mut Value) {
    let text = hex.as_str().unwrap();
    let last = if text.as_bytes()[9] == b'0' { "1" } else { "0" };
    *hex = json!(format!("{}{last}{}", &text[..9], &text[10..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_found_out_and_named() {
    let net = Net::start(&[NodePlan::default(); 2]).await;
    let meddler = Meddler::start(&net.client.base).await;
    let (_running, client) = proxy_before(&net, &meddler.url, "user", Reexecute::Never).await;
    let body = chat("Hello there", 20, Some(3));
    let honest = client.stream(&body).await;
    assert!(honest.done && honest.error.is_none(), "{honest:?}");
    for (lie, word, change) in LIES {
        meddler.set(change);
        let (status, answer) = client.post("/chat/completions", &body).await;
        assert_eq!(status, 502, "{lie}: {answer}");
        assert_eq!(answer["error"]["code"], "verification_failed", "{lie}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{lie}: {message}");
        let streamed = client.stream(&body).await;
        assert!(!streamed.done && streamed.finish.is_none(), "{lie}: {streamed:?}");
        let error = streamed.error.unwrap_or_else(|| panic!("{lie}: no error event"));
        assert_eq!(error["code"], "verification_failed", "{lie}");
        assert!(error["message"].as_str().unwrap().contains(word), "{lie}: {error}");
    }
    // A true receipt, but of another answer.
    meddler.set(|_, _| {});
    let foreign = client.get(&format!("/receipts/{}", honest.id)).await;
    meddler.set_foreign(Some(foreign));
    let (status, answer) = client.post("/chat/completions", &body).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (502, Some("verification_failed")));
    // No receipt at all.
    meddler.set_foreign(Some(json!({"error": {"message": "none"}})));
    let (status, _) = client.post("/chat/completions", &body).await;
    assert_eq!(status, 502);
    meddler.set_foreign(None);
    assert!(client.stream(&body).await.done);
}

/// What a lying sequencer adds that no check covers, and so must not reach the client.
const ADDITIONS: [(&str, Change); 6] = [
    ("tool calls", |_, v| {
        for at in ["/choices/0/delta", "/choices/0/message"] {
            if let Some(message) = v.pointer_mut(at) {
                message["tool_calls"] =
                    json!([{"index": 0, "id": "x", "function": {"name": "rm", "arguments": "{}"}}]);
            }
        }
    }),
    ("a refusal", |_, v| {
        for at in ["/choices/0/delta", "/choices/0/message"] {
            if let Some(message) = v.pointer_mut(at) {
                message["refusal"] = json!("I refuse");
                message["reasoning_content"] = json!("secretly");
                message["role"] = json!("system");
            }
        }
    }),
    ("another model", |path, v| {
        if path.ends_with("/chat/completions") {
            v["model"] = json!("evil");
            v["system_fingerprint"] = json!("evil");
            v["object"] = json!("evil");
        }
    }),
    ("logprobs", |path, v| {
        if path.ends_with("/chat/completions") && v["choices"][0].is_object() {
            v["choices"][0]["logprobs"] = json!({"content": [{"token": "evil"}]});
        }
    }),
    ("another node", |path, v| {
        if path.ends_with("/chat/completions") && v["choices"][0]["monai"].is_object() {
            v["choices"][0]["monai"]["answer"] = json!({"node": "evil"});
        }
    }),
    ("no usage", |path, v| {
        if path.ends_with("/chat/completions") && v["usage"].is_object() && v["choices"][0].is_object() {
            v["usage"] = Value::Null;
        }
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_checked_is_not_passed_on() {
    let net = Net::start(&[NodePlan::default(); 2]).await;
    let meddler = Meddler::start(&net.client.base).await;
    let (_running, client) = proxy_before(&net, &meddler.url, "user", Reexecute::Never).await;
    let body = chat("Hello there", 12, Some(3));
    // What differs between two honest answers to one question.
    let plain = |mut v: Value| {
        for name in ["id", "created"] {
            v[name] = Value::Null;
        }
        assert!(v["choices"][0]["monai"]["answer"]["node"].as_str().unwrap().starts_with("0x"), "{v}");
        v["choices"][0]["monai"] = Value::Null;
        v
    };
    let honest = plain(client.chat(&body).await);
    assert_eq!(honest["choices"][0]["message"]["role"], "assistant");
    assert_eq!(honest["model"], "tiny");
    let mut streaming = body.clone();
    streaming["stream"] = json!(true);
    for (addition, change) in ADDITIONS {
        meddler.set(change);
        assert_eq!(plain(client.chat(&body).await), honest, "{addition}");
        let (_, events) = client.post_text("/chat/completions", &streaming).await;
        for word in ["rm", "I refuse", "secretly", "system\"", "evil"] {
            assert!(!events.contains(word), "{addition}: {events}");
        }
    }
    // A second choice, or one that is not the first, is no answer to what was asked.
    let several: [Change; 3] = [
        |_, v| {
            if let Some(choices) = v["choices"].as_array_mut().filter(|c| !c.is_empty()) {
                let mut second = choices[0].clone();
                second["index"] = json!(1);
                choices.push(second);
            }
        },
        |_, v| {
            if v["choices"][0].is_object() {
                v["choices"][0]["index"] = json!(1);
            }
        },
        |_, v| {
            for at in ["/choices/0/delta/content", "/choices/0/message/content"] {
                if let Some(content) = v.pointer_mut(at) {
                    *content = json!(["a", "b"]);
                }
            }
        },
    ];
    for change in several {
        meddler.set(change);
        let (status, answer) = client.post("/chat/completions", &body).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (502, Some("verification_failed")));
        let streamed = client.stream(&body).await;
        assert_eq!(streamed.error.unwrap()["code"], "verification_failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_means_what_this_machine_says() {
    let net = Net::start(&[NodePlan::default()]).await;
    let meddler = Meddler::start(&net.client.base).await;
    let (_running, client) = proxy_before(&net, &meddler.url, "user", Reexecute::Never).await;
    meddler.set(|path, v| {
        if path.ends_with("/models") {
            v["data"][0]["model_id"] = json!(format!("0x{}", "77".repeat(32)));
        }
    });
    let (status, answer) = client.post("/chat/completions", &chat("Hello", 4, Some(1))).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("model_differs")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sequencer_does_not_set_prices_alone() {
    let net = Net::start(&[NodePlan::default()]).await;
    // The devnet lists 1 for an input token and 2 for an output token.
    for (name, ceiling, expected) in [("frugal", 1, 400), ("generous", 2, 200)] {
        let options = ProxyOptions {
            listen: Some("127.0.0.1:0".into()),
            url: Some(net.client.base.clone()),
            api_key: Some("test".into()),
            anchors: Some(net.anchors_path()),
            max_token_price: Some(ceiling),
            threads: Some(1),
            ..ProxyOptions::default()
        };
        let running = proxy::start(options, &net.home.home, net.home.key(name)).await.unwrap();
        let client = Client::new(&format!("http://{}/v1", running.address()), "unused");
        let (status, answer) = client.post("/chat/completions", &chat("Hello", 4, Some(1))).await;
        assert_eq!(status, expected, "{answer}");
        if expected == 400 {
            assert_eq!(answer["error"]["code"], "price_above_ceiling", "{answer}");
            assert!(
                answer["error"]["message"].as_str().unwrap().contains("2 for an output token"),
                "{answer}"
            );
        }
    }
}
