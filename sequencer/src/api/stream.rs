//! An answer as server-sent events.
//!
//! A task of its own writes into a short channel that the connection reads from. A client that stops reading
//! fills it; after a while the task gives up, drops the answers, and with that cancels them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use monai_protocol::wire::TokenLogprobs;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};

use super::Api;
use super::complete::{Begun, Choice, route_error};
use super::error::ApiError;
use super::limits::Permit;
use super::shape::{Frame, Logprobs, Usage, answer_json, intake_json};
use crate::config::ms;
use crate::router::{Answer, AnswerEvent, RouteError};

/// Chunks that wait for the connection.
const BACKLOG: usize = 32;

type Events = SelectAll<futures_util::stream::BoxStream<'static, (usize, AnswerEvent)>>;

/// One choice while it streams.
struct Flow {
    choice: Choice,
    scores: Option<Logprobs>,
    shown: usize,
    done: Option<u64>,
}

struct Writer {
    frame: Frame,
    flows: Vec<Flow>,
    out: mpsc::Sender<Result<Bytes, Infallible>>,
    patience: Duration,
    permit: Permit,
}

/// The client is gone, or the stream broke: nothing more can be sent.
struct Over;

pub(crate) async fn respond(api: Arc<Api>, begun: Begun) -> Result<Response, ApiError> {
    let Begun { frame, choices, permit, logprobs } = begun;
    let (out, body) = mpsc::channel(BACKLOG);
    let mut events: Events = SelectAll::new();
    let mut flows = Vec::with_capacity(choices.len());
    for (i, mut choice) in choices.into_iter().enumerate() {
        let (_, none) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(std::mem::replace(&mut choice.answering.events, none));
        events.push(stream.map(move |e| (i, e)).boxed());
        let scores = logprobs.then(|| Logprobs::new(frame.endpoint));
        flows.push(Flow { choice, scores, shown: 0, done: None });
    }
    // Headers wait for the first sign of life, so that a request that nobody can answer gets a proper status;
    // but not for long, or proxies in between would give up on a long prompt.
    let first = tokio::time::timeout(ms(api.timeouts.keepalive_ms), events.next()).await;
    if let Ok(Some((_, AnswerEvent::Failed(error)))) = first {
        return Err(route_error(error));
    }
    let keepalive = ms(api.timeouts.keepalive_ms);
    let writer = Writer { frame, flows, out, patience: ms(api.timeouts.client_write_ms), permit };
    tokio::spawn(async move {
        // An error means that nobody listens; dropping the writer cancels the answers.
        drop(writer.run(first.ok().flatten(), events, keepalive).await);
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Writer {
    async fn run(
        mut self,
        first: Option<(usize, AnswerEvent)>,
        mut events: Events,
        keepalive: Duration,
    ) -> Result<(), Over> {
        for i in 0..self.flows.len() {
            let c = &self.flows[i].choice;
            let monai = intake_json(&c.answering.intake, c.prompt_ids.as_deref());
            let chunk = self.frame.first(c.index, &c.echo, monai);
            self.flows[i].shown = self.flows[i].choice.echo.len();
            self.send(&chunk).await?;
        }
        if let Some((i, event)) = first {
            self.take(i, event).await?;
        }
        while self.flows.iter().any(|f| f.done.is_none()) {
            let next = tokio::select! {
                next = tokio::time::timeout(keepalive, events.next()) => next,
                () = self.out.closed() => return Err(Over),
            };
            match next {
                Err(_) => self.write(Bytes::from_static(b": keep-alive\n\n")).await?,
                Ok(Some((i, event))) => self.take(i, event).await?,
                Ok(None) => {
                    self.broken(RouteError::Internal).await?;
                }
            }
        }
        let usage = Usage {
            input: self.flows.iter().map(|f| f.choice.n_in).sum(),
            output: self.flows.iter().filter_map(|f| f.done).sum(),
        };
        self.permit.settle(usage.input + usage.output);
        if self.frame.include_usage {
            self.send(&self.frame.usage(usage)).await?;
        }
        self.write(Bytes::from_static(b"data: [DONE]\n\n")).await
    }

    async fn take(&mut self, i: usize, event: AnswerEvent) -> Result<(), Over> {
        match event {
            AnswerEvent::Id(id, score) => self.id(i, id, score).await,
            AnswerEvent::Finished(answer) => self.finished(i, &answer).await,
            AnswerEvent::Failed(error) => self.broken(error).await,
            // Never sent for streams: what was shown can't be taken back.
            AnswerEvent::Reset => self.broken(RouteError::Internal).await,
        }
    }

    async fn id(&mut self, i: usize, id: u32, score: Option<Box<TokenLogprobs>>) -> Result<(), Over> {
        let Some(flow) = self.flows.get_mut(i) else { return Ok(()) };
        if flow.choice.pipe.stopped() {
            return Ok(());
        }
        if let (Some(scores), Some(score)) = (&mut flow.scores, score) {
            scores.push(&self.frame.served, id, &score, flow.shown);
        }
        let text = flow.choice.pipe.push(id);
        flow.shown += text.len();
        if flow.choice.pipe.stopped() {
            flow.choice.answering.enough.cancel();
        }
        if text.is_empty() {
            // A part of a character, the beginning of a stop string, or an end id: nothing to show yet.
            return Ok(());
        }
        let scores = flow.scores.as_mut().map(Logprobs::take);
        let chunk = self.frame.delta(flow.choice.index, &text, scores);
        self.send(&chunk).await
    }

    async fn finished(&mut self, i: usize, answer: &Answer) -> Result<(), Over> {
        let Some(flow) = self.flows.get_mut(i) else { return Ok(()) };
        let rest = flow.choice.pipe.finish();
        let index = flow.choice.index;
        let reason = flow.choice.pipe.finish_reason(answer.finish);
        flow.done = Some(answer.ids.len() as u64);
        if !rest.is_empty() {
            let scores = flow.scores.as_mut().map(Logprobs::take);
            let chunk = self.frame.delta(index, &rest, scores);
            self.send(&chunk).await?;
        }
        let last = self.frame.last(index, reason, answer_json(answer));
        self.send(&last).await
    }

    /// Says why the stream ends early. No `[DONE]` follows, so nobody takes it for complete.
    async fn broken(&mut self, error: RouteError) -> Result<(), Over> {
        let body = route_error(error).body();
        self.send(&body).await?;
        Err(Over)
    }

    async fn send(&self, value: &Value) -> Result<(), Over> {
        self.write(Bytes::from(format!("data: {value}\n\n"))).await
    }

    async fn write(&self, bytes: Bytes) -> Result<(), Over> {
        self.out.send_timeout(Ok(bytes), self.patience).await.map_err(|_| Over)
    }
}
