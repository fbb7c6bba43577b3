//! `POST /v1/chat/completions` and `POST /v1/completions`: from a body to answers on their way.

use std::sync::Arc;

use axum::response::Response;
use monai_model::text::{Message, TextError};
use monai_protocol::{Address, Amount};
use rand::Rng as _;

use super::Api;
use super::ask::Ask;
use super::auth::KeyIndex;
use super::error::ApiError;
use super::fields::{Fields, parse_object};
use super::limits::Permit;
use super::prompt::{TextPrompt, messages, prompts};
use super::shape::{Endpoint, Frame};
use super::text::TextPipe;
use crate::catalogue::Served;
use crate::clock::now_secs;
use crate::router::slots::AssignError;
use crate::router::{Answering, Order, RouteError};

/// A prompt as ids, with its text where the client wants it echoed.
struct Prompt {
    ids: Vec<u32>,
    echo: String,
}

/// One choice on its way.
pub(crate) struct Choice {
    pub(crate) index: u32,
    pub(crate) answering: Answering,
    pub(crate) pipe: TextPipe,
    pub(crate) echo: String,
    /// Shown to users with their own key, who check them.
    pub(crate) prompt_ids: Option<Vec<u32>>,
    pub(crate) n_in: u64,
}

/// All choices of a request, and the right to have them.
pub(crate) struct Begun {
    pub(crate) frame: Frame,
    pub(crate) choices: Vec<Choice>,
    pub(crate) permit: Permit,
    pub(crate) logprobs: bool,
}

/// What the text of a body asks for.
enum Asked {
    Chat(Vec<Message>),
    Text { prompts: Vec<TextPrompt>, echo: bool },
}

impl Api {
    /// Answers a request of a known key.
    pub(crate) async fn complete(
        self: &Arc<Self>,
        key: KeyIndex,
        endpoint: Endpoint,
        body: &[u8],
    ) -> Result<Response, ApiError> {
        let (ask, served, asked) = self.read(endpoint, body)?;
        self.limiter.solvent(key)?;
        let (ask, prompts) = self.tokenise(ask, served.clone(), asked).await?;
        let begun = self.begin(key, endpoint, &ask, &served, prompts).await?;
        if ask.delivery.stream {
            super::stream::respond(self.clone(), begun).await
        } else {
            super::whole::respond(begun).await
        }
    }

    fn read(&self, endpoint: Endpoint, body: &[u8]) -> Result<(Ask, Arc<Served>, Asked), ApiError> {
        let object = parse_object(body)?;
        let f = Fields::root(&object);
        let served = self.model(f.string("model")?)?;
        let ask = Ask::read(&f, &self.limits, served.arch.vocab)?;
        let asked = match endpoint {
            Endpoint::Chat => Asked::Chat(messages(&f)?),
            Endpoint::Text => {
                let echo = f.boolean("echo")?.unwrap_or(false);
                if echo && ask.logprobs.is_some() {
                    return Err(ApiError::unsupported(
                        "echo",
                        "'echo' together with 'logprobs' is not supported: prompts have no log-probabilities here.",
                    ));
                }
                let prompts = prompts(&f, served.arch.vocab, self.limits.choices as usize)?;
                Asked::Text { prompts, echo }
            }
        };
        Ok((ask, served, asked))
    }

    /// The model of a request: by name or hex id; none is needed where only one is served.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
        match name {
            Some(name) => self.catalogue.find(name).cloned().ok_or_else(|| ApiError::model_not_found(name)),
            None => Err(ApiError::missing("model")),
        }
    }

    /// Text becomes ids.
    async fn tokenise(
        &self,
        ask: Ask,
        served: Arc<Served>,
        asked: Asked,
    ) -> Result<(Ask, Vec<Prompt>), ApiError> {
        let work = move || match asked {
            Asked::Chat(messages) => {
                let ids = served.codec.chat_ids(&messages).map_err(|e| text_error(&e, "messages"))?;
                Ok(vec![Prompt { ids, echo: String::new() }])
            }
            Asked::Text { prompts, echo } => prompts
                .into_iter()
                .map(|prompt| {
                    let ids = match &prompt {
                        TextPrompt::Text(text) => {
                            served.codec.prompt_ids(text).map_err(|e| text_error(&e, "prompt"))?
                        }
                        TextPrompt::Ids(ids) => ids.clone(),
                    };
                    let echo = match prompt {
                        _ if !echo => String::new(),
                        TextPrompt::Text(text) => text,
                        TextPrompt::Ids(ids) => served.codec.decode(&ids),
                    };
                    Ok(Prompt { ids, echo })
                })
                .collect(),
        };
        let prompts = self.tokenise_with(work).await?;
        Ok((ask, prompts))
    }

    async fn begin(
        self: &Arc<Self>,
        key: KeyIndex,
        endpoint: Endpoint,
        ask: &Ask,
        served: &Arc<Served>,
        prompts: Vec<Prompt>,
    ) -> Result<Begun, ApiError> {
        if ask.signed.is_some() && prompts.len() != 1 {
            return Err(ApiError::invalid("prompt", "A signed request has one prompt."));
        }
        let choices = ask.n.saturating_mul(prompts.len() as u32);
        if choices > self.limits.choices {
            let most = self.limits.choices;
            return Err(ApiError::invalid("n", format!("Prompts times 'n' must not exceed {most}.")));
        }
        let mut tokens = 0u64;
        let mut planned = Vec::new();
        for prompt in &prompts {
            let max_tokens = self.max_tokens(ask, served, endpoint, prompt.ids.len())?;
            self.check_price(ask, served, prompt.ids.len(), max_tokens)?;
            tokens =
                tokens.saturating_add(u64::from(ask.n) * (prompt.ids.len() as u64 + u64::from(max_tokens)));
            planned.push(max_tokens);
        }
        let permit = self.limiter.admit(key, choices, tokens)?;
        let providers = self.providers(ask, served)?;
        self.router.check_available(&served.id, providers.as_deref()).map_err(route_error)?;

        let id = completion_id(endpoint);
        let mut begun = Vec::with_capacity(choices as usize);
        for (p, (prompt, max_tokens)) in prompts.iter().zip(planned).enumerate() {
            for k in 0..ask.n {
                let index = p as u32 * ask.n + k;
                let (request, user_signature) = self.request(ask, served, &prompt.ids, max_tokens, index)?;
                let stop_ids = request.params.stop_ids.clone();
                let order = Order {
                    completion: id.clone(),
                    choice: index,
                    owner: self.keys.get(key).hash,
                    served: served.clone(),
                    request,
                    user_signature,
                    providers: providers.clone(),
                    stream: ask.delivery.stream,
                    logprobs: ask.logprobs,
                };
                // If a later choice gets no slot, those begun are dropped here, which cancels them.
                let answering = self.router.begin(order).await.map_err(route_error)?;
                begun.push(Choice {
                    index,
                    answering,
                    pipe: TextPipe::new(served.clone(), &stop_ids, ask.stop.clone()),
                    echo: prompt.echo.clone(),
                    prompt_ids: ask.signed.is_some().then(|| prompt.ids.clone()),
                    n_in: prompt.ids.len() as u64,
                });
            }
        }
        let frame = Frame {
            endpoint,
            id,
            created: now_secs(),
            served: served.clone(),
            include_usage: ask.delivery.include_usage,
        };
        Ok(Begun { frame, choices: begun, permit, logprobs: ask.logprobs.is_some() })
    }

    /// The most output ids of an answer to a prompt of `n_in` ids.
    fn max_tokens(
        &self,
        ask: &Ask,
        served: &Served,
        endpoint: Endpoint,
        n_in: usize,
    ) -> Result<u32, ApiError> {
        let param = if endpoint == Endpoint::Chat { "messages" } else { "prompt" };
        if n_in == 0 {
            return Err(ApiError::invalid(param, "The prompt has no tokens: there is nothing to continue."));
        }
        let most = served.arch.max_positions;
        let room = most.saturating_sub(n_in);
        let wanted = ask.signed.as_ref().map(|s| s.params.max_tokens).or(ask.max_tokens);
        match wanted {
            _ if room == 0 => Err(ApiError::context_length(most, n_in, None, param)),
            Some(n) if n as usize > room => Err(ApiError::context_length(most, n_in, Some(n), param)),
            Some(n) => Ok(n),
            None => Ok(self.limits.default_max_tokens.min(u32::try_from(room).unwrap_or(u32::MAX))),
        }
    }

    fn check_price(&self, ask: &Ask, served: &Served, n_in: usize, max_tokens: u32) -> Result<(), ApiError> {
        let limit = ask.signed.as_ref().map(|s| s.max_price).or(ask.max_price);
        let Some(limit) = limit else { return Ok(()) };
        match served.charge(n_in as u32, max_tokens) {
            Some(worst) if worst <= limit => Ok(()),
            worst => {
                let worst =
                    worst.map_or_else(|| "more than can be written".into(), |w: Amount| w.to_string());
                Err(ApiError::invalid(
                    "max_price",
                    format!(
                        "The answer may cost {worst}, and 'max_price' is {limit}. Lower '{}'.",
                        ask.max_tokens_field
                    ),
                ))
            }
        }
    }

    /// The nodes to ask, in order, if the client has a say in it.
    fn providers(&self, ask: &Ask, served: &Served) -> Result<Option<Vec<Address>>, ApiError> {
        let Some(preference) = &ask.preference else { return Ok(None) };
        let view = self
            .router
            .model_view(&served.id)
            .ok_or_else(|| route_error(RouteError::Assign(AssignError::NoTable)))?;
        let nodes = preference.arrange(&view.nodes());
        if nodes.is_empty() {
            return Err(ApiError::invalid(
                "provider",
                "No node of this epoch's table is left by 'provider'.",
            ));
        }
        Ok(Some(nodes))
    }
}

/// 128 random bits: nobody finds another's receipt by guessing.
fn completion_id(endpoint: Endpoint) -> String {
    let random: [u8; 16] = rand::rng().random();
    let prefix = if endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
    format!("{prefix}-{}", hex::encode(random))
}

pub(crate) fn text_error(e: &TextError, param: &str) -> ApiError {
    match e {
        TextError::NoChat => ApiError::unsupported(
            "messages",
            "This is a base model without a chat template; use /v1/completions.",
        ),
        TextError::TooLong { bytes, most } => ApiError::context_bytes(*most, *bytes, param),
        TextError::Messages(_)
        | TextError::Role(_)
        | TextError::Refused(_)
        | TextError::TemplateLimit
        | TextError::UnknownId(_) => ApiError::invalid(param, e.to_string()),
        TextError::Tokenizer(_) | TextError::Template(_) => {
            tracing::error!(error = %e, "text could not be processed");
            ApiError::internal()
        }
    }
}

pub(crate) fn route_error(e: RouteError) -> ApiError {
    match &e {
        RouteError::Assign(AssignError::Expired) => ApiError::signed_request("expired", e.to_string()),
        RouteError::Assign(AssignError::NonceUsed) => ApiError::conflict("nonce_used", e.to_string()),
        RouteError::Assign(AssignError::NoTable) | RouteError::NoNode => {
            ApiError::unavailable("no_node_available", e.to_string())
        }
        RouteError::Assign(AssignError::ChainExhausted) | RouteError::Busy => {
            ApiError::unavailable("overloaded", e.to_string())
        }
        RouteError::Closing => ApiError::unavailable("shutting_down", e.to_string()),
        RouteError::NodesFailed => ApiError::nodes_failed(e.to_string()),
        RouteError::Assign(AssignError::Store(_)) | RouteError::Internal => ApiError::internal(),
    }
}
