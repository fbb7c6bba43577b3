//! A sequencer that lies: it passes everything to a true one and alters what comes back.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Alters a JSON body or event; gets the path.
pub type Change = fn(&str, &mut Value);

#[derive(Clone)]
struct Shared {
    upstream: String,
    http: reqwest::Client,
    change: Arc<Mutex<Change>>,
    /// A receipt that another answer had.
    foreign: Arc<Mutex<Option<Value>>>,
}

pub struct Meddler {
    pub url: String,
    change: Arc<Mutex<Change>>,
    foreign: Arc<Mutex<Option<Value>>>,
}

impl Meddler {
    /// Stands before the endpoint `upstream` (`…/v1`).
    pub async fn start(upstream: &str) -> Self {
        let change: Arc<Mutex<Change>> = Arc::new(Mutex::new(|_, _| {}));
        let foreign = Arc::new(Mutex::new(None));
        let shared = Shared {
            upstream: upstream.trim_end_matches("/v1").into(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            change: change.clone(),
            foreign: foreign.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = Router::new().fallback(meddle).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, change, foreign }
    }

    /// What it does from now on.
    pub fn set(&self, change: Change) {
        *self.change.lock().unwrap() = change;
    }

    /// Gives this receipt for every answer.
    pub fn set_foreign(&self, receipt: Option<Value>) {
        *self.foreign.lock().unwrap() = receipt;
    }
}

async fn meddle(State(s): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let bytes: Bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut upstream = s.http.request(parts.method, format!("{}{}", s.upstream, parts.uri)).body(bytes);
    for name in ["authorization", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            upstream = upstream.header(name, value);
        }
    }
    let Ok(answer) = upstream.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let kind = answer.headers().get("content-type").cloned();
    let stream = kind.as_ref().is_some_and(|k| k.to_str().unwrap().starts_with("text/event-stream"));
    let text = answer.text().await.unwrap();
    let change = *s.change.lock().unwrap();
    let foreign = s.foreign.lock().unwrap().clone();
    let altered = if stream {
        text.split_inclusive("\n\n").map(|event| alter_event(change, &path, event)).collect()
    } else if let (true, Some(foreign)) = (path.contains("/receipts/"), foreign) {
        foreign.to_string()
    } else {
        alter(change, &path, &text)
    };
    let mut response = Response::builder().status(status);
    if let Some(kind) = kind {
        response = response.header("content-type", kind);
    }
    response.body(Body::from(altered)).unwrap()
}

fn alter(change: Change, path: &str, text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            change(path, &mut value);
            value.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

fn alter_event(change: Change, path: &str, event: &str) -> String {
    match event.trim_end().strip_prefix("data: ") {
        Some(data) if data != "[DONE]" => format!("data: {}\n\n", alter(change, path, data)),
        _ => event.to_owned(),
    }
}
