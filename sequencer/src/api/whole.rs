//! An answer in one piece: nothing leaves before every choice has its receipt on disk.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::complete::{Begun, Choice, route_error};
use super::error::ApiError;
use super::shape::{Frame, Logprobs, Usage, answer_json, intake_json};
use crate::router::{Answer, AnswerEvent, RouteError};

pub(crate) async fn respond(begun: Begun) -> Result<Response, ApiError> {
    let Begun { frame, choices, mut permit, logprobs } = begun;
    // If one fails, the others are dropped with the future, which cancels them.
    let done = futures_util::future::try_join_all(choices.into_iter().map(|c| gather(&frame, c, logprobs)));
    let done = done.await.map_err(route_error)?;
    let mut usage = Usage::default();
    let mut values = Vec::with_capacity(done.len());
    for (value, one) in done {
        usage.input += one.input;
        usage.output += one.output;
        values.push(value);
    }
    permit.settle(usage.input + usage.output);
    Ok(Json(frame.whole(values, usage)).into_response())
}

async fn gather(frame: &Frame, mut choice: Choice, logprobs: bool) -> Result<(Value, Usage), RouteError> {
    let mut text = String::new();
    let fresh = || logprobs.then(|| Logprobs::new(frame.endpoint));
    let mut scores = fresh();
    let answer: Answer = loop {
        match choice.answering.events.recv().await {
            Some(AnswerEvent::Id(id, score)) => {
                if choice.pipe.stopped() {
                    continue;
                }
                if let (Some(scores), Some(score)) = (&mut scores, score) {
                    scores.push(&frame.served, id, &score, choice.echo.len() + text.len());
                }
                text.push_str(&choice.pipe.push(id));
                if choice.pipe.stopped() {
                    choice.answering.enough.cancel();
                }
            }
            Some(AnswerEvent::Reset) => {
                text.clear();
                choice.pipe.reset();
                scores = fresh();
            }
            Some(AnswerEvent::Finished(answer)) => break *answer,
            Some(AnswerEvent::Failed(error)) => return Err(error),
            None => return Err(RouteError::Internal),
        }
    };
    text.push_str(&choice.pipe.finish());
    let finish = choice.pipe.finish_reason(answer.finish);
    let shown = format!("{}{text}", choice.echo);
    let mut monai = intake_json(&choice.answering.intake, choice.prompt_ids.as_deref());
    monai["answer"] = answer_json(&answer);
    let value = frame.choice(choice.index, &shown, finish, scores.as_mut().map(Logprobs::take), monai);
    Ok((value, Usage { input: choice.n_in, output: answer.ids.len() as u64 }))
}
