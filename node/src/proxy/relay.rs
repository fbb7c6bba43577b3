//! One answer on its way through: passed on as it comes, its end only once it is verified.

use super::fault::Fault;
use super::fields::Ask;
use super::spoken::{Spoken, only_choice, text_of};
use super::state::{Prepared, Proxy};
use super::verify::{Told, intake};
use crate::openai::{SseParser, read_limited};
use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use monai_sequencer::openai::StopFilter;
use serde_json::Value;
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
    let answer: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Fault::upstream(format!("the answer is not JSON: {e}")))?;
    let choice = only_choice(&answer)?;
    let text = text_of(ask.kind, "message", choice)?.to_owned();
    let finish = choice["finish_reason"].as_str().unwrap_or_default().to_owned();
    let intake = intake(&choice["monai"], &prepared.signed, proxy.anchors()?.sequencer())?;
    let told = Told {
        text: text.clone(),
        finish: finish.clone(),
        usage: answer["usage"].clone(),
        intake: Some(intake.clone()),
    };
    let id = answer["id"].as_str().unwrap_or_default().to_owned();
    let confirmed = proxy.confirm(prepared, &id, told).await?;
    let mut trimmer = StopFilter::new(ask.stops.clone());
    let mut shown = prepared.signed.echo.clone();
    shown.push_str(&trimmer.push(&text));
    shown.push_str(&trimmer.finish());
    let finish = if trimmer.stopped() { "stop" } else { finish.as_str() };
    let spoken = Spoken::new(ask, &prepared.signed, id);
    Ok(Json(spoken.whole(&shown, finish, confirmed.counts, &intake, confirmed.node)).into_response())
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
        let mut relay = Relay::new(ask, events);
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
    ask: Ask,
    trimmer: StopFilter,
    events: mpsc::Sender<Result<Event, Infallible>>,
    id: String,
    told: Told,
    /// Made when the stream's first chunk has shown that the request has its slot.
    spoken: Option<Arc<Spoken>>,
    /// Text of the chunk with the finish reason, kept back until the answer is verified.
    last: Option<String>,
}

impl Relay {
    fn new(ask: Ask, events: mpsc::Sender<Result<Event, Infallible>>) -> Self {
        Self {
            trimmer: StopFilter::new(ask.stops.clone()),
            ask,
            events,
            id: String::new(),
            told: Told::default(),
            spoken: None,
            last: None,
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
                self.take(&chunk, &mut echo, proxy, prepared).await?;
            }
        }
    }

    async fn take(
        &mut self,
        chunk: &Value,
        echo: &mut String,
        proxy: &Proxy,
        prepared: &Prepared,
    ) -> Result<(), End> {
        if chunk["error"].is_object() {
            // The sequencer's own error, in its own words.
            return Err(Fault::relayed(chunk).into());
        }
        let id = chunk["id"].as_str().unwrap_or_default();
        let spoken = match self.spoken.clone() {
            Some(_) if id != self.id => {
                return Err(Fault::unverified("the completion id changes within the stream").into());
            }
            Some(spoken) => spoken,
            None => {
                // Before any text: the request has its slot, and it is the request that was signed.
                let sequencer = proxy.anchors()?.sequencer();
                let intake = intake(&only_choice(chunk)?["monai"], &prepared.signed, sequencer)
                    .map_err(Fault::from)?;
                id.clone_into(&mut self.id);
                let spoken = Arc::new(Spoken::new(&self.ask, &prepared.signed, self.id.clone()));
                self.send(spoken.first(&intake).to_string()).await?;
                self.told.intake = Some(intake);
                self.spoken.insert(spoken).clone()
            }
        };
        if chunk["usage"].is_object() && chunk["choices"].as_array().is_some_and(Vec::is_empty) {
            self.told.usage = chunk["usage"].clone();
            return Ok(());
        }
        if self.last.is_some() {
            return Err(Fault::unverified("text goes on after the finish reason").into());
        }
        let shown = self.show(only_choice(chunk)?, echo)?;
        if let Some(last) = &mut self.last {
            *last = shown;
            Ok(())
        } else if shown.is_empty() {
            Ok(())
        } else {
            self.send(spoken.delta(&shown).to_string()).await
        }
    }

    /// Takes a choice's text in and says what of it may be shown. Notes its finish reason, if it has one.
    fn show(&mut self, choice: &Value, echo: &mut String) -> Result<String, Fault> {
        let text = text_of(self.ask.kind, "delta", choice)?;
        self.told.text.push_str(text);
        let mut shown = std::mem::take(echo);
        shown.push_str(&self.trimmer.push(text));
        if let Some(finish) = choice["finish_reason"].as_str() {
            finish.clone_into(&mut self.told.finish);
            shown.push_str(&self.trimmer.finish());
            self.last = Some(String::new());
        }
        Ok(shown)
    }

    /// Verifies all, then lets the end go.
    async fn finish(&mut self, proxy: &Proxy, prepared: &Prepared) -> Result<(), End> {
        let (Some(last), Some(spoken)) = (self.last.take(), self.spoken.take()) else {
            return Err(Fault::unverified("the stream has no finish reason").into());
        };
        let told = std::mem::take(&mut self.told);
        let finish = if self.trimmer.stopped() { "stop".into() } else { told.finish.clone() };
        let confirmed = proxy.confirm(prepared, &self.id, told).await?;
        self.send(spoken.last(&last, &finish, confirmed.node).to_string()).await?;
        if self.ask.include_usage {
            self.send(spoken.usage(confirmed.counts).to_string()).await?;
        }
        self.send("[DONE]".into()).await
    }

    async fn send(&self, data: String) -> Result<(), End> {
        self.events.send(Ok(Event::default().data(data))).await.map_err(|_| End::Gone)
    }
}
