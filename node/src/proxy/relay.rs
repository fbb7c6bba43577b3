//! One answer on its way through: passed on as it comes, its end only once it is verified.

use super::fault::Fault;
use super::fields::{Ask, Kind};
use super::state::{Prepared, Proxy};
use super::verify::{Told, intake};
use crate::openai::{SseParser, read_limited};
use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use monai_sequencer::openai::StopFilter;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Events that may wait for a slow client; then the sequencer's stream waits, too.
const EVENTS: usize = 64;
/// Most bytes of an answer that is not streamed.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Answers without a stream.
pub(super) async fn whole(
    proxy: &Proxy,
    ask: &Ask,
    prepared: &Prepared,
    upstream: reqwest::Response,
) -> Result<Response, Fault> {
    let bytes = read_limited(upstream, MAX_ANSWER_BYTES).await.map_err(Fault::upstream)?;
    let mut answer: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Fault::upstream(format!("the answer is not JSON: {e}")))?;
    let choice = &answer["choices"][0];
    let text = match ask.kind {
        Kind::Chat => &choice["message"]["content"],
        Kind::Text => &choice["text"],
    };
    let Some(text) = text.as_str().map(str::to_owned) else {
        return Err(Fault::unverified("the answer has no text"));
    };
    if answer["choices"].as_array().is_some_and(|c| c.len() != 1) {
        return Err(Fault::unverified("the answer has several choices, one was asked for"));
    }
    let told = Told {
        text: text.clone(),
        finish: choice["finish_reason"].as_str().unwrap_or_default().to_owned(),
        usage: answer["usage"].clone(),
        intake: Some(intake(&answer["choices"][0]["monai"], &prepared.signed, proxy.anchors()?.sequencer())?),
    };
    let id = answer["id"].as_str().unwrap_or_default().to_owned();
    proxy.confirm(prepared, &id, told).await?;
    let mut trimmer = StopFilter::new(ask.stops.clone());
    let mut shown = prepared.signed.echo.clone();
    shown.push_str(&trimmer.push(&text));
    shown.push_str(&trimmer.finish());
    let choice = &mut answer["choices"][0];
    match ask.kind {
        Kind::Chat => choice["message"]["content"] = shown.into(),
        Kind::Text => choice["text"] = shown.into(),
    }
    if trimmer.stopped() {
        choice["finish_reason"] = "stop".into();
    }
    Ok(Json(answer).into_response())
}

/// Answers with a stream.
pub(super) fn stream(
    proxy: Arc<Proxy>,
    ask: Ask,
    prepared: Prepared,
    upstream: reqwest::Response,
) -> Response {
    let (events, receiver) = mpsc::channel::<Result<Event, Infallible>>(EVENTS);
    tokio::spawn(async move {
        let mut relay = Relay::new(&ask, events);
        // A client that has left takes no error either; dropping the upstream response ends it there.
        if let Err(End::Fault(fault)) = relay.run(&proxy, &prepared, upstream).await {
            tracing::error!(error = fault.message(), "an answer is not passed on");
            let _ = relay.events.send(Ok(Event::default().data(fault.body.to_string()))).await;
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()).into_response()
}

/// Why a relay ends early.
enum End {
    /// Something is wrong: the client is told.
    Fault(Fault),
    /// The client has left.
    Gone,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

struct Relay {
    kind: Kind,
    include_usage: bool,
    trimmer: StopFilter,
    events: mpsc::Sender<Result<Event, Infallible>>,
    id: String,
    told: Told,
    /// The chunk with the finish reason, kept back until the answer is verified.
    last: Option<Value>,
    usage: Option<Value>,
}

impl Relay {
    fn new(ask: &Ask, events: mpsc::Sender<Result<Event, Infallible>>) -> Self {
        Self {
            kind: ask.kind,
            include_usage: ask.include_usage,
            trimmer: StopFilter::new(ask.stops.clone()),
            events,
            id: String::new(),
            told: Told::default(),
            last: None,
            usage: None,
        }
    }

    async fn run(
        &mut self,
        proxy: &Proxy,
        prepared: &Prepared,
        mut upstream: reqwest::Response,
    ) -> Result<(), End> {
        let broken = |what: String| Fault::upstream(format!("The sequencer's stream {what}."));
        let mut parser = SseParser::default();
        let mut echo = prepared.signed.echo.clone();
        loop {
            let bytes = tokio::select! {
                bytes = upstream.chunk() => bytes.map_err(|e| broken(format!("broke off: {e}")))?,
                () = self.events.closed() => return Err(End::Gone),
            };
            let Some(bytes) = bytes else { return Err(broken("broke off before its end".into()).into()) };
            for data in parser.push(&bytes).map_err(|e| broken(format!("is malformed: {e}")))? {
                if data == "[DONE]" {
                    return self.finish(proxy, prepared).await;
                }
                let chunk: Value = serde_json::from_str(&data)
                    .map_err(|e| broken(format!("has an event that is no JSON: {e}")))?;
                self.take(chunk, &mut echo, proxy, prepared).await?;
            }
        }
    }

    async fn take(
        &mut self,
        mut chunk: Value,
        echo: &mut String,
        proxy: &Proxy,
        prepared: &Prepared,
    ) -> Result<(), End> {
        if chunk["error"].is_object() {
            // The sequencer's own error, in its own words.
            return Err(Fault { status: axum::http::StatusCode::BAD_GATEWAY, body: chunk }.into());
        }
        let id = chunk["id"].as_str().unwrap_or_default();
        if self.id.is_empty() {
            id.clone_into(&mut self.id);
            // Before any text: the request has its slot, and it is the request that was signed.
            let sequencer = proxy.anchors()?.sequencer();
            self.told.intake = Some(
                intake(&chunk["choices"][0]["monai"], &prepared.signed, sequencer).map_err(Fault::from)?,
            );
        } else if id != self.id {
            return Err(Fault::unverified("the completion id changes within the stream").into());
        }
        if chunk["usage"].is_object() && chunk["choices"].as_array().is_none_or(Vec::is_empty) {
            self.told.usage = chunk["usage"].clone();
            self.usage = Some(chunk);
            return Ok(());
        }
        if self.last.is_some() {
            return Err(Fault::unverified("text goes on after the finish reason").into());
        }
        let text = self.text(&chunk).to_owned();
        self.told.text.push_str(&text);
        let finish = chunk["choices"][0]["finish_reason"].as_str().map(str::to_owned);
        let mut shown = std::mem::take(echo);
        shown.push_str(&self.trimmer.push(&text));
        if finish.is_some() {
            shown.push_str(&self.trimmer.finish());
        }
        let opening = self.kind == Kind::Chat && chunk["choices"][0]["delta"]["role"].is_string();
        self.set_text(&mut chunk, &shown, !text.is_empty() || !shown.is_empty());
        match finish {
            Some(finish) => {
                self.told.finish = finish;
                self.last = Some(chunk);
                Ok(())
            }
            None if shown.is_empty() && !opening => Ok(()),
            None => self.send(chunk.to_string()).await,
        }
    }

    /// Verifies all, then lets the end go.
    async fn finish(&mut self, proxy: &Proxy, prepared: &Prepared) -> Result<(), End> {
        let Some(mut last) = self.last.take() else {
            return Err(Fault::unverified("the stream has no finish reason").into());
        };
        proxy.confirm(prepared, &self.id, std::mem::take(&mut self.told)).await?;
        if self.trimmer.stopped() {
            last["choices"][0]["finish_reason"] = json!("stop");
        }
        self.send(last.to_string()).await?;
        if let Some(usage) = self.usage.take().filter(|_| self.include_usage) {
            self.send(usage.to_string()).await?;
        }
        self.send("[DONE]".into()).await
    }

    fn text<'a>(&self, chunk: &'a Value) -> &'a str {
        let choice = &chunk["choices"][0];
        let text = match self.kind {
            Kind::Chat => &choice["delta"]["content"],
            Kind::Text => &choice["text"],
        };
        text.as_str().unwrap_or_default()
    }

    fn set_text(&self, chunk: &mut Value, text: &str, present: bool) {
        let choice = &mut chunk["choices"][0];
        match self.kind {
            // The first and the last chunk of a chat have no content, or an empty one; that stays as it is.
            Kind::Chat if present => choice["delta"]["content"] = text.into(),
            Kind::Chat => {}
            Kind::Text => choice["text"] = text.into(),
        }
    }

    async fn send(&self, data: String) -> Result<(), End> {
        self.events.send(Ok(Event::default().data(data))).await.map_err(|_| End::Gone)
    }
}
