//! One session with one sequencer: the handshake, then jobs down and tokens up.

use super::desk::{Desk, NoSeat};
use super::dial::{Socket, Target};
use super::job::{Answering, Note, refusal};
use super::load::Sampler;
use super::service::Service;
use super::slots::SlotKey;
use futures_util::{SinkExt as _, StreamExt as _};
use monai_protocol::Typed as _;
use monai_protocol::messages::{NodeHello, RefusalReason};
use monai_protocol::wire::{
    self, Challenge, Fault, FaultCode, Hello, Job, NodeFrame, SequencerFrame, WIRE_VERSION, Welcome,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

/// For the sequencer's part of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reports of load.
const STATS_INTERVAL: Duration = Duration::from_secs(5);
/// Frames that may wait for the socket before jobs wait for it.
const OUTGOING_FRAMES: usize = 1024;
/// For one frame to be taken by the other side; a sequencer that reads nothing is treated as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Pings that may be missing before the session is given up.
const MISSING_PINGS: u32 = 3;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The connection failed.
    #[error("connection: {0}")]
    Connection(#[from] tokio_tungstenite::tungstenite::Error),
    /// The other side closed it.
    #[error("the sequencer closed the connection")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing came from the sequencer for {0:?}")]
    Silent(Duration),
    /// It takes nothing.
    #[error("the sequencer takes no frames")]
    Stuck,
    /// It broke the protocol.
    #[error("the sequencer broke the protocol: {0}")]
    Protocol(String),
    /// It is not the sequencer, or not the deployment, that this node serves.
    #[error("{0}")]
    Stranger(String),
    /// It ended the session.
    #[error("the sequencer ended the session ({code:?}): {message}")]
    Fault {
        /// Its code.
        code: FaultCode,
        /// Its words.
        message: String,
    },
    /// This node can't sign.
    #[error("{0}")]
    Own(#[from] crate::error::Error),
}

/// How a session ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All jobs are done after the order to drain.
    Drained,
}

/// An open session.
pub(super) struct Session {
    service: Arc<Service>,
    target: Target,
    socket: Socket,
    credits: u32,
}

impl Session {
    /// Makes the session of a fresh connection.
    pub(super) fn new(service: Arc<Service>, target: Target, socket: Socket, credits: u32) -> Self {
        Self { service, target, socket, credits }
    }

    /// Proves who this node is.
    ///
    /// # Errors
    /// A sequencer that is not the expected one, or that does not want this node.
    pub(super) async fn open(&mut self) -> Result<Welcome, SessionError> {
        let challenge = match self.handshake_frame().await? {
            SequencerFrame::Challenge(challenge) => challenge,
            other => return Err(unexpected(&other)),
        };
        self.check(&challenge)?;
        let models = self.service.offers(self.credits)?;
        let hello = NodeHello {
            challenge: challenge.challenge,
            node: self.service.address(),
            sequencer: self.target.sequencer,
            credits: models.iter().map(|m| m.credit.clone()).collect(),
        };
        let signature = hello
            .sign(&self.service.domain, &self.service.key)
            .map_err(|e| crate::error::Error::Local(e.to_string()))?;
        let software = concat!("monai ", env!("CARGO_PKG_VERSION")).to_owned();
        let hello = Hello { version: WIRE_VERSION, hello, signature, models, software };
        send(&mut self.socket, &NodeFrame::Hello(Box::new(hello))).await?;
        match self.handshake_frame().await? {
            SequencerFrame::Welcome(welcome) => Ok(welcome),
            other => Err(unexpected(&other)),
        }
    }

    fn check(&self, challenge: &Challenge) -> Result<(), SessionError> {
        if challenge.version != WIRE_VERSION {
            let ours = WIRE_VERSION;
            return Err(SessionError::Stranger(format!(
                "it speaks wire version {}, this node {ours}",
                challenge.version
            )));
        }
        if challenge.domain != self.service.domain {
            return Err(SessionError::Stranger(format!(
                "it serves chain {} and rollup {}, this node chain {} and rollup {}",
                challenge.domain.chain_id,
                challenge.domain.rollup,
                self.service.domain.chain_id,
                self.service.domain.rollup
            )));
        }
        if challenge.sequencer != self.target.sequencer {
            return Err(SessionError::Stranger(format!(
                "it has the key {}, expected {}",
                challenge.sequencer, self.target.sequencer
            )));
        }
        Ok(())
    }

    async fn handshake_frame(&mut self) -> Result<SequencerFrame, SessionError> {
        timeout(HANDSHAKE_TIMEOUT, async {
            loop {
                let message = self.socket.next().await.ok_or(SessionError::Closed)??;
                if let Some(frame) = frame(&message)? {
                    return Ok(frame);
                }
            }
        })
        .await
        .map_err(|_| SessionError::Silent(HANDSHAKE_TIMEOUT))?
    }

    /// Serves until the connection ends, or until all is done after `drain` turned true.
    ///
    /// # Errors
    /// Why the session ended. All its jobs are dropped then: the sequencer gives them to others.
    pub(super) async fn serve(
        self,
        welcome: Welcome,
        mut drain: watch::Receiver<bool>,
    ) -> Result<Ended, SessionError> {
        let Self { service, target, socket, credits } = self;
        let (mut sink, mut source) = socket.split();
        let (outgoing, mut queue) = mpsc::channel::<NodeFrame>(OUTGOING_FRAMES);
        // Writing has its own task: a slow socket must not keep cancellations and pings from being read.
        let mut writer = tokio::spawn(async move {
            while let Some(frame) = queue.recv().await {
                send(&mut sink, &frame).await?;
            }
            let _ = timeout(SEND_TIMEOUT, sink.close()).await;
            Ok::<_, SessionError>(())
        });
        let (notes, mut noted) = mpsc::channel::<Note>(OUTGOING_FRAMES);
        let mut floor = Floor {
            service: service.clone(),
            target,
            credits,
            desk: Desk::default(),
            notes,
            jobs: JoinSet::new(),
        };
        let silence = Duration::from_millis(welcome.ping_ms.clamp(100, 60_000)) * MISSING_PINGS;
        let mut heard = Instant::now();
        let mut sampler = Sampler::new(&service.meter, Instant::now());
        let mut stats = interval(STATS_INTERVAL);
        stats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = false;
        loop {
            if draining && floor.desk.len() == 0 {
                // The queue is emptied and the socket closed in order before the session counts as drained.
                drop(outgoing);
                return writer.await.map_err(|_| SessionError::Closed)?.map(|()| Ended::Drained);
            }
            let reply = tokio::select! {
                message = source.next() => {
                    heard = Instant::now();
                    let message = message.ok_or(SessionError::Closed)??;
                    match frame(&message)? {
                        Some(frame) => floor.take(frame, draining)?,
                        None => None,
                    }
                }
                note = noted.recv() => match note {
                    Some(Note::Frame(frame)) => Some(*frame),
                    Some(Note::Ended(job)) => { floor.desk.leave(job); None }
                    None => None,
                },
                result = &mut writer => {
                    return Err(match result { Ok(Err(e)) => e, _ => SessionError::Closed });
                }
                Ok(()) = wait_for(&mut drain), if !draining => {
                    draining = true;
                    Some(NodeFrame::Drain {})
                }
                _ = stats.tick() => {
                    Some(NodeFrame::Stats(sampler.sample(&service.meter, Instant::now(), floor.desk.len(), service.queued())))
                }
                () = tokio::time::sleep_until(heard + silence) => return Err(SessionError::Silent(silence)),
            };
            if let Some(reply) = reply {
                outgoing.send(reply).await.map_err(|_| SessionError::Closed)?;
            }
            while floor.jobs.try_join_next().is_some() {}
        }
    }
}

/// Resolves once the order to drain is given; an error means that it never will be.
async fn wait_for(drain: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    drain.wait_for(|d| *d).await.map(|_| ())
}

/// The jobs of a session. Dropping it aborts them, and with them their work in the engine.
struct Floor {
    service: Arc<Service>,
    target: Target,
    credits: u32,
    desk: Desk,
    notes: mpsc::Sender<Note>,
    jobs: JoinSet<()>,
}

impl Floor {
    fn take(&mut self, frame: SequencerFrame, draining: bool) -> Result<Option<NodeFrame>, SessionError> {
        match frame {
            SequencerFrame::Job(job) => self.begin(*job, draining),
            SequencerFrame::Cancel(order) => {
                self.desk.order(order);
                Ok(None)
            }
            SequencerFrame::Ping(probe) => Ok(Some(NodeFrame::Pong(probe))),
            SequencerFrame::Fault(Fault { code, message }) => Err(SessionError::Fault { code, message }),
            other @ (SequencerFrame::Challenge(_) | SequencerFrame::Welcome(_)) => Err(unexpected(&other)),
        }
    }

    fn begin(&mut self, job: Job, draining: bool) -> Result<Option<NodeFrame>, SessionError> {
        // R is computed here from the ids, never taken over: it is what this node will sign.
        let intake = job.intake();
        let request = intake.request;
        let service = self.service.clone();
        let refuse = |reason, active| refusal(&service, &job, request, reason, active);
        if job.request.domain != service.domain
            || intake.verify(&service.domain, &job.intake_signature, self.target.sequencer).is_err()
        {
            return Ok(refuse(RefusalReason::Malformed, Vec::new()));
        }
        if draining {
            return Ok(refuse(RefusalReason::Draining, Vec::new()));
        }
        let key = SlotKey::new(&service.domain, job.request.model, job.lane, job.slot);
        let claim = match service.slots.claim(key, request) {
            Ok(claim) => claim,
            Err(error) => {
                tracing::warn!(job = job.job.0, lane = %job.lane, slot = %job.slot, %error, "refusing a slot");
                return Ok(refuse(error.reason(), Vec::new()));
            }
        };
        match self.desk.sit(job.job, job.request.model, request, self.credits) {
            Ok(orders) => {
                let answering = Answering::new(service, job, request, claim, self.notes.clone());
                self.jobs.spawn(answering.run(orders));
                Ok(None)
            }
            Err(NoSeat::Busy(active)) => Ok(refuse(RefusalReason::Busy, active)),
            Err(NoSeat::Taken) => Err(SessionError::Protocol(format!("job {} exists", job.job.0))),
        }
    }
}

async fn send<S>(sink: &mut S, frame: &NodeFrame) -> Result<(), SessionError>
where
    S: futures_util::Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
{
    let text =
        wire::encode(frame).map_err(|e| SessionError::Protocol(format!("a frame of this node: {e}")))?;
    // `send` flushes: each token is on the wire before the next is looked at.
    timeout(SEND_TIMEOUT, sink.send(Message::text(text))).await.map_err(|_| SessionError::Stuck)??;
    Ok(())
}

/// The frame in a message; `None` for the transport's own messages.
fn frame(message: &Message) -> Result<Option<SequencerFrame>, SessionError> {
    match message {
        Message::Text(text) => {
            wire::decode(text.as_bytes()).map(Some).map_err(|e| SessionError::Protocol(e.to_string()))
        }
        Message::Binary(_) => Err(SessionError::Protocol("a binary message".into())),
        Message::Close(_) => Err(SessionError::Closed),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

fn unexpected(frame: &SequencerFrame) -> SessionError {
    match frame {
        SequencerFrame::Fault(Fault { code, message }) => {
            SessionError::Fault { code: *code, message: message.clone() }
        }
        SequencerFrame::Challenge(_) => SessionError::Protocol("a second challenge".into()),
        SequencerFrame::Welcome(_) => SessionError::Protocol("a welcome out of turn".into()),
        SequencerFrame::Job(_) => SessionError::Protocol("a job before the welcome".into()),
        SequencerFrame::Cancel(_) => SessionError::Protocol("an order before the welcome".into()),
        SequencerFrame::Ping(_) => SessionError::Protocol("a ping before the welcome".into()),
    }
}
