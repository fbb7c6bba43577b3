//! The API as clients see it: shapes, streams, errors, limits.
#![allow(clippy::unwrap_used)]

mod world;

use serde_json::{Value, json};
use world::{KEY, MODEL, TIGHT_KEY, World, chat, events, streamed_text};

#[tokio::test]
async fn an_answer_has_the_usual_shape_and_a_valid_receipt() {
    let (world, _peers) = World::with_peers().await;
    let answer = world.ask("/v1/chat/completions", &chat(20)).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], MODEL);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert!(["stop", "length"].contains(&choice["finish_reason"].as_str().unwrap()));
    let id = answer["id"].as_str().unwrap();
    assert_eq!(id.len(), "chatcmpl-".len() + 32);
    let (receipt, report) = world.checked(id).await;
    assert_eq!(answer["usage"]["prompt_tokens"], receipt.request.prompt.len());
    assert_eq!(answer["usage"]["completion_tokens"], receipt.output.len());
    assert_eq!(serde_json::to_value(&receipt.intake).unwrap(), choice["monai"]["intake"]);
    assert_eq!(report.charge.0, 3 * receipt.request.prompt.len() as u128 + 5 * receipt.output.len() as u128);
    let (_, report) = world.batched(id).await;
    assert!(report.draw_verified);
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_answer() {
    let (world, _peers) = World::with_peers().await;
    let whole = world.ask("/v1/chat/completions", &chat(40)).await;
    let mut body = chat(40);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let events = world.stream("/v1/chat/completions", &body).await;
    assert_eq!(streamed_text(&events, 0), whole["choices"][0]["message"]["content"].as_str().unwrap());
    let first = events[0].as_ref().unwrap();
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert!(first["choices"][0]["monai"]["intake"]["signature"].is_string());
    assert!(events.last().unwrap().is_none(), "the last event is [DONE]");
    let usage = events[events.len() - 2].as_ref().unwrap();
    assert_eq!((usage["choices"].as_array().unwrap().len(), &usage["usage"]), (0, &whole["usage"]));
    let last = events[events.len() - 3].as_ref().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    for chunk in &events[..events.len() - 3] {
        assert!(chunk.as_ref().unwrap()["choices"][0]["finish_reason"].is_null());
    }
    world.checked(first["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn each_choice_has_its_own_receipt() {
    let (world, _peers) = World::with_peers().await;
    let mut body = chat(8);
    body["n"] = 3.into();
    body["temperature"] = 1.0.into();
    let answer = world.ask("/v1/chat/completions", &body).await;
    let id = answer["id"].as_str().unwrap();
    let mut slots = std::collections::BTreeSet::new();
    for k in 0..3 {
        assert_eq!(answer["choices"][k]["index"], k);
        let (receipt, _) = world.checked(&format!("{id}?choice={k}")).await;
        slots.insert(receipt.intake.message.slot);
    }
    assert_eq!(slots.len(), 3);
    // The same seed for all would make them one answer.
    body["seed"] = 7.into();
    let seeded = world.ask("/v1/chat/completions", &body).await;
    let again = world.ask("/v1/chat/completions", &body).await;
    let texts = |v: &Value| -> Vec<String> {
        v["choices"].as_array().unwrap().iter().map(|c| c["message"]["content"].to_string()).collect()
    };
    assert_eq!(texts(&seeded), texts(&again));
    assert!(texts(&seeded).windows(2).any(|w| w[0] != w[1]));
}

#[tokio::test]
async fn text_completions_take_text_ids_and_lists() {
    let (world, _peers) = World::with_peers().await;
    let one = json!({"model": MODEL, "prompt": "ab", "max_tokens": 6, "temperature": 0});
    let text = world.ask("/v1/completions", &one).await;
    assert_eq!(text["object"], "text_completion");
    let ids = world.ask("/tokenize", &json!({"model": MODEL, "prompt": "ab"})).await["tokens"].clone();
    let by_ids = world
        .ask("/v1/completions", &json!({"model": MODEL, "prompt": ids, "max_tokens": 6, "temperature": 0}))
        .await;
    assert_eq!(text["choices"][0]["text"], by_ids["choices"][0]["text"]);
    let back = world.ask("/detokenize", &json!({"model": MODEL, "tokens": ids})).await;
    assert_eq!(back["prompt"], "ab");
    let list = world
        .ask("/v1/completions", &json!({"model": MODEL, "prompt": ["ab", "cd"], "n": 2, "max_tokens": 6, "temperature": 0, "echo": true}))
        .await;
    let shown: Vec<&str> =
        list["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0], format!("ab{}", text["choices"][0]["text"].as_str().unwrap()));
    assert!(shown[0] == shown[1] && shown[2].starts_with("cd"));
}

#[tokio::test]
async fn a_stop_string_trims_the_text_and_cancels_the_rest() {
    let (world, _peers) = World::with_peers().await;
    let whole = world.ask("/v1/chat/completions", &chat(120)).await;
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(text.chars().count() > 8, "the tiny model should say something: {text:?}");
    let stop: String = text.chars().skip(3).take(2).collect();
    let want = &text[..text.find(&stop).unwrap()];
    for stream in [false, true] {
        let mut body = chat(120);
        body["stop"] = json!([stop]);
        body["stream"] = stream.into();
        let (got, reason, id) = if stream {
            let events = world.stream("/v1/chat/completions", &body).await;
            let last = events[events.len() - 2].as_ref().unwrap();
            (streamed_text(&events, 0), last["choices"][0]["finish_reason"].clone(), last["id"].clone())
        } else {
            let v = world.ask("/v1/chat/completions", &body).await;
            let c = &v["choices"][0];
            (
                c["message"]["content"].as_str().unwrap().to_owned(),
                c["finish_reason"].clone(),
                v["id"].clone(),
            )
        };
        assert_eq!((got.as_str(), reason), (want, json!("stop")));
        // The receipt has every id that was decoded, the stop string's included.
        let (receipt, _) = world.checked(id.as_str().unwrap()).await;
        assert!(receipt.output.len() >= 4);
    }
}

#[tokio::test]
async fn log_probabilities_come_in_both_forms() {
    let (world, _peers) = World::with_peers().await;
    let mut body = chat(5);
    body["logprobs"] = true.into();
    body["top_logprobs"] = 2.into();
    let v = world.ask("/v1/chat/completions", &body).await;
    let content = v["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(content[0]["logprob"], -0.5);
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 2);
    body["stream"] = true.into();
    let events = world.stream("/v1/chat/completions", &body).await;
    let streamed: usize = events
        .iter()
        .flatten()
        .filter_map(|e| e["choices"][0]["logprobs"]["content"].as_array())
        .map(Vec::len)
        .sum();
    assert!(streamed > 0 && streamed <= content.len());
    let v = world
        .ask("/v1/completions", &json!({"model": MODEL, "prompt": "ab", "max_tokens": 3, "logprobs": 1}))
        .await;
    let l = &v["choices"][0]["logprobs"];
    assert_eq!(l["tokens"].as_array().unwrap().len(), l["token_logprobs"].as_array().unwrap().len());
}

#[tokio::test]
async fn models_network_health_and_metrics() {
    let (world, peers) = World::with_peers().await;
    let list = world.get("/v1/models").await;
    let m = &list["data"][0];
    assert_eq!(
        (&m["id"], &m["max_positions"], &m["price"]["output"]),
        (&json!(MODEL), &json!(256), &json!("5"))
    );
    assert_eq!(world.get(&format!("/v1/models/{MODEL}")).await["model_id"], m["model_id"]);
    assert_eq!(world.get(&format!("/v1/models/{}", m["model_id"].as_str().unwrap())).await["id"], MODEL);
    world.ask("/v1/chat/completions", &chat(4)).await;
    let network = world.get("/v1/network").await;
    let nodes = network["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), peers.len());
    assert!(nodes.iter().all(|n| n["connected"] == true));
    let total: f64 = nodes.iter().map(|n| n["models"][0]["probability"].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert_eq!(world.get("/health").await["status"], "ok");
    let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for want in [
        "monai_slots_total{finish=",
        "monai_tokens_total{direction=\"output\",model=\"tiny\"}",
        "monai_first_token_seconds_count{model=\"tiny\"} 1",
        "monai_node_sessions 3",
        "monai_http_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1",
        "monai_store_write_seconds_count",
    ] {
        assert!(text.contains(want), "{want} in {text}");
    }
}

struct Case {
    what: &'static str,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
    body: Vec<u8>,
}

#[tokio::test]
async fn bad_input_gets_a_clear_error() {
    let (world, _peers) = World::with_peers().await;
    let case = |what, status, code, param, body: Value| Case {
        what,
        status,
        code,
        param,
        body: body.to_string().into_bytes(),
    };
    let with = |key: &str, value: Value| {
        let mut body = chat(5);
        body[key] = value;
        body
    };
    let long = "x ".repeat(2_000);
    let cases = [
        Case {
            what: "no JSON",
            status: 400,
            code: "invalid_json",
            param: None,
            body: b"{\"model\": ".to_vec(),
        },
        Case {
            what: "no UTF-8",
            status: 400,
            code: "invalid_json",
            param: None,
            body: b"{\"model\": \"\xff\"}".to_vec(),
        },
        Case { what: "empty", status: 400, code: "invalid_json", param: None, body: Vec::new() },
        Case {
            what: "deep",
            status: 400,
            code: "invalid_json",
            param: None,
            body: "[".repeat(200_000).into_bytes(),
        },
        Case {
            what: "huge",
            status: 413,
            code: "request_too_large",
            param: None,
            body: vec![b' '; 10 << 20],
        },
        case("an array", 400, "invalid_json", None, json!([])),
        case("no model", 400, "missing_required_parameter", Some("model"), json!({"messages": []})),
        case("unknown model", 404, "model_not_found", Some("model"), with("model", json!("gpt-9"))),
        case("model of a wrong type", 400, "invalid_type", Some("model"), with("model", json!(7))),
        case("no messages", 400, "invalid_type", Some("messages"), with("messages", json!("hi"))),
        case("negative limit", 400, "invalid_value", Some("max_tokens"), with("max_tokens", json!(-1))),
        case("wrong type", 400, "invalid_type", Some("temperature"), with("temperature", json!("hot"))),
        case("too hot", 400, "invalid_value", Some("temperature"), with("temperature", json!(3))),
        case("too many choices", 400, "invalid_value", Some("n"), with("n", json!(1_000_000))),
        case(
            "tools",
            400,
            "unsupported_parameter",
            Some("tools"),
            with("tools", json!([{"type": "function"}])),
        ),
        case("bias", 400, "unsupported_parameter", Some("logit_bias"), with("logit_bias", json!({"1": 5}))),
        case("proved", 400, "unsupported_parameter", Some("assurance"), with("assurance", json!("proved"))),
        case(
            "too long",
            400,
            "context_length_exceeded",
            Some("messages"),
            with("messages", json!([{"role": "user", "content": long}])),
        ),
        case("too much", 400, "context_length_exceeded", Some("messages"), with("max_tokens", json!(250))),
        case("price", 400, "invalid_value", Some("max_price"), with("max_price", json!("1"))),
        case("signed", 400, "missing_required_parameter", Some("monai.user"), with("monai", json!({}))),
        case(
            "provider",
            400,
            "invalid_value",
            Some("provider"),
            with("provider", json!({"only": ["0x0000000000000000000000000000000000000001"]})),
        ),
    ];
    for c in cases {
        let response = world
            .http
            .post(world.url("/v1/chat/completions"))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(c.body)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        assert!(response.headers().contains_key("x-ratelimit-remaining-requests"), "{}", c.what);
        let body: Value = response.json().await.unwrap();
        let error = &body["error"];
        assert_eq!((status, error["code"].as_str()), (c.status, Some(c.code)), "{}: {body}", c.what);
        assert_eq!(error["param"].as_str(), c.param, "{}: {body}", c.what);
        assert!(error["message"].is_string() && error["type"].is_string());
    }
    // Nothing of that used up a place or broke anything.
    world.ask("/v1/chat/completions", &chat(3)).await;
    assert_eq!(world.get("/health").await["in_flight"], 0);
}

#[tokio::test]
async fn keys_and_paths_are_checked() {
    let (world, _peers) = World::with_peers().await;
    for (key, header) in
        [(None, "authorization"), (Some("Bearer nope"), "authorization"), (Some("nope"), "x-api-key")]
    {
        let mut request = world.http.post(world.url("/v1/chat/completions")).json(&chat(3));
        if let Some(key) = key {
            request = request.header(header, key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "invalid_api_key");
    }
    let ok = world.http.get(world.url("/v1/models")).header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(ok.status(), 200);
    let nowhere = world.http.get(world.url("/v1/nowhere")).send().await.unwrap();
    assert_eq!(
        (nowhere.status().as_u16(), nowhere.json::<Value>().await.unwrap()["error"]["code"].clone()),
        (404, json!("not_found"))
    );
    let wrong = world.http.get(world.url("/v1/chat/completions")).send().await.unwrap();
    assert_eq!(wrong.status(), 405);
    // A receipt is for the key that asked; for others it does not exist.
    let id = world.ask("/v1/chat/completions", &chat(3)).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/receipts/{id}");
    let other = world.http.get(world.url(&path)).bearer_auth(world::OTHER_KEY).send().await.unwrap();
    assert_eq!(other.status(), 404);
    let choice =
        world.http.get(world.url(&format!("{path}?choice=1"))).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(choice.status(), 404);
}

#[tokio::test]
async fn limits_say_when_to_come_back() {
    let (world, _peers) = World::with_peers().await;
    let ask = |tokens: u32| {
        world
            .http
            .post(world.url("/v1/completions"))
            .bearer_auth(TIGHT_KEY)
            .json(&json!({"model": MODEL, "prompt": "ab", "max_tokens": tokens}))
            .send()
    };
    let first = ask(4).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["x-ratelimit-limit-requests"], "3");
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "2");
    let too_many = ask(99).await.unwrap();
    assert_eq!(too_many.status(), 400, "more than the key may ever use");
    let tokens = ask(97).await.unwrap();
    assert_eq!(tokens.status(), 429);
    assert!(tokens.headers().contains_key("retry-after"));
    assert_eq!(tokens.json::<Value>().await.unwrap()["error"]["type"], "tokens");
    let requests = ask(1).await.unwrap();
    assert_eq!(requests.status(), 429);
    let wait: u32 = requests.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait));
}

#[tokio::test]
async fn nobody_there_is_said_before_a_stream_begins() {
    let world = World::start().await;
    let mut body = chat(5);
    body["stream"] = true.into();
    let response = world.post("/v1/chat/completions", &body).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "no_node_available");
    assert!(events("data: [DONE]\n\n")[0].is_none());
}

#[tokio::test]
async fn a_slow_body_and_a_slow_head_are_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start().await;
    let mut slow = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = slow.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut silent = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
    silent.write_all(b"POST /v1/chat").await.unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn texts_that_no_prompt_is_as_long_as_are_refused_unread() {
    let (world, _peers) = World::with_peers().await;
    // 256 positions of at most 4 bytes.
    let long = "x".repeat(256 * 4 + 1);
    let message = json!([{"role": "user", "content": long}]);
    for (path, body, param) in [
        ("/v1/completions", json!({"model": MODEL, "prompt": long}), "prompt"),
        ("/v1/chat/completions", json!({"model": MODEL, "messages": message}), "messages"),
        ("/tokenize", json!({"model": MODEL, "prompt": long}), "prompt"),
    ] {
        let answer = world.post(path, &body).await;
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        let error = &answer["error"];
        let said = (status, error["code"].as_str().unwrap(), error["param"].as_str().unwrap());
        assert_eq!(said, (400, "context_length_exceeded", param), "{path}");
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("1024 bytes") && text.contains("1025 bytes"), "{text}");
    }
}

#[tokio::test]
async fn tokenising_counts_against_the_rate_of_ids() {
    let (world, _peers) = World::with_peers().await;
    let ask = async |path: &str, body: &Value| {
        world.http.post(world.url(path)).bearer_auth(TIGHT_KEY).json(body).send().await.unwrap()
    };
    // The key has a hundred ids a minute. A text that is refused takes none of them.
    let long = json!({"model": MODEL, "prompt": "x".repeat(2_000)});
    let refused = ask("/tokenize", &long).await;
    let left: u32 = refused.headers()["x-ratelimit-remaining-tokens"].to_str().unwrap().parse().unwrap();
    assert_eq!((refused.status().as_u16(), left), (400, 100));
    let text = json!({"model": MODEL, "prompt": "b".repeat(90)});
    let first = ask("/tokenize", &text).await;
    assert!(first.status().is_success());
    let left: u32 = first.headers()["x-ratelimit-remaining-tokens"].to_str().unwrap().parse().unwrap();
    assert!(left <= 20, "{left}");
    let second = ask("/tokenize", &text).await;
    assert_eq!(second.status().as_u16(), 429);
    let error: Value = second.json().await.unwrap();
    assert_eq!(error["error"]["type"], "tokens");
}

#[tokio::test]
async fn whoever_sends_too_much_sees_the_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start().await;
    // A client that writes all before it reads, as the simplest do.
    let mut stream = tokio::net::TcpStream::connect(world.addr()).await.unwrap();
    let body = vec![b' '; 10 << 20];
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("request_too_large"), "{answer}");
}
