//! A plain client of the OpenAI API that sees every chunk.

use monai_node::openai::SseParser;
use serde_json::{Value, json};
use std::time::Duration;

/// No answer of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone)]
pub struct Client {
    pub base: String,
    key: String,
    http: reqwest::Client,
}

/// A stream that is read chunk by chunk.
pub struct Chunks {
    response: reqwest::Response,
    parser: SseParser,
    waiting: std::collections::VecDeque<Value>,
    pub done: bool,
}

/// A streamed answer, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Streamed {
    pub id: String,
    pub text: String,
    pub finish: Option<String>,
    pub error: Option<Value>,
    /// Chunks with text.
    pub pieces: usize,
    /// `[DONE]` came.
    pub done: bool,
}

impl Client {
    pub fn new(base: &str, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { base: base.into(), key: key.into(), http }
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn try_get(&self, path: &str) -> reqwest::Result<(u16, Value)> {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.key).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.unwrap_or(Value::Null)))
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key).json(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// As [`Client::post`], with the body as it came.
    pub async fn post_text(&self, path: &str, body: &Value) -> (u16, String) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.key).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn chat(&self, body: &Value) -> Value {
        let (status, answer) = self.post("/chat/completions", body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Begins a stream.
    pub async fn begin(&self, body: &Value) -> reqwest::Result<Chunks> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let request =
            self.http.post(format!("{}/chat/completions", self.base)).bearer_auth(&self.key).json(&body);
        let response = request.send().await?.error_for_status()?;
        Ok(Chunks { response, parser: SseParser::default(), waiting: Default::default(), done: false })
    }

    /// A stream from beginning to end.
    pub async fn stream(&self, body: &Value) -> Streamed {
        self.begin(body).await.unwrap().rest().await
    }
}

impl Chunks {
    /// The next chunk; `None` at the end, however it came.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(chunk) = self.waiting.pop_front() {
                return Some(chunk);
            }
            let bytes = self.response.chunk().await.ok()??;
            for data in self.parser.push(&bytes).unwrap() {
                if data == "[DONE]" {
                    self.done = true;
                } else {
                    self.waiting.push_back(serde_json::from_str(&data).unwrap());
                }
            }
        }
    }

    /// All that is left, added up.
    pub async fn rest(mut self) -> Streamed {
        let mut all = Streamed::new();
        while let Some(chunk) = self.next().await {
            all.take(&chunk);
        }
        all.done = self.done;
        all
    }
}

impl Streamed {
    pub fn new() -> Self {
        Self { id: String::new(), text: String::new(), finish: None, error: None, pieces: 0, done: false }
    }

    pub fn take(&mut self, chunk: &Value) {
        if !chunk["error"].is_null() {
            self.error = Some(chunk["error"].clone());
            return;
        }
        self.id = chunk["id"].as_str().unwrap().into();
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str()
            && !text.is_empty()
        {
            self.text.push_str(text);
            self.pieces += 1;
        }
        if let Some(finish) = chunk["choices"][0]["finish_reason"].as_str() {
            self.finish = Some(finish.into());
        }
    }
}

/// A chat body for the tiny model.
pub fn chat(question: &str, max_tokens: u32, seed: Option<u64>) -> Value {
    let mut body = json!({
        "model": "tiny",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": 0,
    });
    if let Some(seed) = seed {
        body["temperature"] = json!(1.0);
        body["seed"] = json!(seed);
    }
    body
}
