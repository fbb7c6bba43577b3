//! Requests that users sign with their own key.
#![allow(clippy::unwrap_used)]

mod world;

use monai_model::text::TextCodec;
use monai_protocol::messages::{RequestMessage, Typed as _};
use monai_protocol::{Amount, Assurance, Blinding, Request, SecretKey, SelectionParams};
use serde_json::{Value, json};
use world::{MODEL, World, chat, now, secret};

struct User {
    key: SecretKey,
    codec: TextCodec,
    world_domain: monai_protocol::Domain,
    model: monai_protocol::ModelId,
}

impl User {
    fn of(world: &World) -> Self {
        Self {
            key: secret(50),
            codec: TextCodec::of(&world.model).unwrap(),
            world_domain: world.config.domain(),
            model: world.model.id,
        }
    }

    /// What a proxy makes of a chat body.
    fn sign(&self, body: &Value, nonce: u64, expiry: u64) -> (Value, Request) {
        let messages = monai_sequencer::openai::chat_messages(body).unwrap();
        let prompt = self.codec.chat_ids(&messages).unwrap();
        let request = Request {
            domain: self.world_domain,
            model: self.model,
            params: SelectionParams { seed: 9, tau: 3, ..SelectionParams::greedy(8) },
            prompt: prompt.clone(),
            user: self.key.address(),
            nonce,
            blinding: Blinding(77 + u128::from(nonce)),
            expiry,
            max_price: Amount(100_000),
            by_preference: false,
            assurance: Assurance::Sampled,
        };
        let message = RequestMessage {
            request: request.commitment(),
            model: self.model,
            max_price: request.max_price,
            nonce,
            expiry,
        };
        let signature = message.sign(&self.world_domain, &self.key).unwrap();
        let monai = json!({
            "user": request.user,
            "nonce": nonce.to_string(),
            "blinding": request.blinding,
            "expiry": expiry.to_string(),
            "max_price": request.max_price,
            "params": request.params,
            "prompt_ids": prompt,
            "signature": signature,
        });
        (monai, request)
    }
}

fn with(mut body: Value, monai: Value) -> Value {
    body["monai"] = monai;
    body
}

#[tokio::test]
async fn a_signed_request_is_answered_as_signed() {
    let (world, _peers) = World::with_peers().await;
    let user = User::of(&world);
    let (monai, request) = user.sign(&chat(1), 5, now() + 60);
    let answer = world.ask("/v1/chat/completions", &with(chat(1), monai.clone())).await;
    let shown = &answer["choices"][0]["monai"];
    assert_eq!(shown["prompt_ids"], json!(request.prompt));
    assert_eq!(shown["intake"]["message"]["request"], json!(request.commitment()));
    let (receipt, report) = world.batched(answer["id"].as_str().unwrap()).await;
    assert_eq!(receipt.request, request);
    assert!(receipt.user_signature.is_some() && report.draw_verified);

    // Once.
    let again = world.post("/v1/chat/completions", &with(chat(1), monai)).await;
    assert_eq!(again.status(), 409);
    assert_eq!(again.json::<Value>().await.unwrap()["error"]["code"], "nonce_used");

    // In a stream, the first chunk has what the proxy checks.
    let (monai, request) = user.sign(&chat(1), 6, now() + 60);
    let mut body = with(chat(1), monai);
    body["stream"] = true.into();
    let events = world.stream("/v1/chat/completions", &body).await;
    let first = &events[0].as_ref().unwrap()["choices"][0]["monai"];
    assert_eq!(first["prompt_ids"], json!(request.prompt));
}

#[tokio::test]
async fn what_was_not_signed_is_not_answered() {
    let (world, _peers) = World::with_peers().await;
    let user = User::of(&world);
    type Change = Box<dyn Fn(&mut Value)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        ("other text", "prompt_ids_mismatch", Box::new(|b| b["messages"][0]["content"] = json!("bye"))),
        ("other parameters", "signature_mismatch", Box::new(|b| b["monai"]["params"]["seed"] = json!("10"))),
        ("other price", "signature_mismatch", Box::new(|b| b["monai"]["max_price"] = json!("100001"))),
        ("other nonce", "signature_mismatch", Box::new(|b| b["monai"]["nonce"] = json!("123"))),
        ("other assurance", "signature_mismatch", Box::new(|b| b["assurance"] = json!("signed"))),
        ("other user", "signature_mismatch", Box::new(|b| b["monai"]["user"] = json!(secret(51).address()))),
        ("no signature", "missing_required_parameter", Box::new(|b| b["monai"]["signature"] = Value::Null)),
        (
            "malformed",
            "malformed_signature",
            Box::new(|b| b["monai"]["signature"] = json!(format!("0x{}", "00".repeat(65)))),
        ),
        ("two choices", "invalid_value", Box::new(|b| b["n"] = json!(2))),
        ("too long ago", "expiry_out_of_range", Box::new(|b| b["monai"]["expiry"] = json!("1000"))),
    ];
    for (nonce, (what, code, change)) in (20..).zip(cases) {
        let (monai, _) = user.sign(&chat(1), nonce, now() + 60);
        let mut body = with(chat(1), monai);
        change(&mut body);
        let response = world.post("/v1/chat/completions", &body).await;
        assert!(response.status().is_client_error());
        let v: Value = response.json().await.unwrap();
        assert_eq!(v["error"]["code"], code, "{what}: {v}");
    }
    let network = world.get("/v1/network").await;
    assert_eq!(network["next_batch"], 0, "none of them got a slot");
    assert_eq!(MODEL, "tiny");
}
