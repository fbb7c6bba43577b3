//! A node's WebSocket: challenge, hello, then frames both ways until one side has enough.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use monai_protocol::messages::Typed as _;
use monai_protocol::wire::{
    Challenge, Fault, FaultCode, Hello, ModelOffer, NodeFrame, Probe, SequencerFrame, WIRE_VERSION, Welcome,
    decode, encode,
};
use monai_protocol::{Address, Keccak};
use rand::Rng as _;
use tokio::sync::mpsc;

use super::Hub;
use super::session::{FrameFault, JobEvent, OUT_QUEUE, Session};
use crate::clock::now_ms;
use crate::config::ms;

/// Pings without answer before a session is given up.
const MISSED_PINGS: usize = 3;
/// How long a frame may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

type Sink = SplitSink<WebSocket, Message>;
type Source = SplitStream<WebSocket>;

/// Answers `GET /v1/node`.
pub(crate) fn serve(hub: Arc<Hub>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(hub.frame_bytes)
        .max_frame_size(hub.frame_bytes)
        .on_upgrade(move |socket| run(hub, socket))
}

async fn run(hub: Arc<Hub>, socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let stranger = hub.strangers.enter();
    let hello = tokio::select! {
        hello = tokio::time::timeout(ms(hub.timeouts.hello_ms), handshake(&hub, &mut sink, &mut source)) => hello,
        () = stranger.evicted() => return,
    };
    drop(stranger);
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(fault)) => {
            hub.metrics.bad_frames.with_label_values(&["hello"]).inc();
            tracing::warn!(code = ?fault.code, message = fault.message, "a node was turned away");
            if send(&mut sink, &SequencerFrame::Fault(fault)).await.is_err() {
                tracing::debug!("it had gone already");
            }
            return;
        }
        Err(_) => return,
    };
    // Only registered operators come this far, so strangers can't take these places.
    let Ok(_place) = hub.places.clone().try_acquire_owned() else {
        let full = fault(FaultCode::Protocol, "this sequencer has no place for another node");
        tracing::error!(node = %hello.hello.node, "no place for a registered node: raise limits.node_connections");
        let _ = send(&mut sink, &SequencerFrame::Fault(full)).await;
        return;
    };
    let (out, outbox) = mpsc::channel(OUT_QUEUE);
    let session =
        Session::new(hub.next_number(), hello.hello.node, hello.software, now_ms(), out, hello.models);
    let ping_ms = (hub.timeouts.heartbeat_ms / MISSED_PINGS as u64).max(1);
    session.send(SequencerFrame::Welcome(Welcome { session: session.number, ping_ms }));
    tracing::info!(node = %session.node, session = session.number, software = session.software, "node connected");
    hub.insert(session.clone());
    let writer = tokio::spawn(write(session.clone(), sink, outbox));
    let fault = pump(&hub, &session, &mut source, ms(ping_ms)).await;
    if let Some(fault) = fault {
        hub.metrics.bad_frames.with_label_values(&[fault.label()]).inc();
        tracing::warn!(node = %session.node, %fault, "a node broke the protocol");
        session.close(FaultCode::Protocol, &fault.to_string());
    }
    session.over.cancel();
    hub.remove(&session);
    drop(writer.await);
    tracing::info!(node = %session.node, session = session.number, "node disconnected");
}

fn fault(code: FaultCode, message: &str) -> Fault {
    Fault { code, message: message.into() }
}

async fn send(sink: &mut Sink, frame: &SequencerFrame) -> Result<(), ()> {
    let text = encode(frame).map_err(|error| {
        tracing::error!(%error, "a frame could not be encoded");
    })?;
    match tokio::time::timeout(WRITE_TIMEOUT, sink.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}

async fn handshake(hub: &Hub, sink: &mut Sink, source: &mut Source) -> Result<Hello, Fault> {
    let challenge = Keccak(rand::rng().random());
    let opening = SequencerFrame::Challenge(Challenge {
        version: WIRE_VERSION,
        challenge,
        domain: hub.domain,
        sequencer: hub.sequencer,
    });
    let protocol = |m| fault(FaultCode::Protocol, m);
    send(sink, &opening).await.map_err(|()| protocol("the connection closed"))?;
    let first = loop {
        match source.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(protocol("expected a hello")),
        }
    };
    match decode::<NodeFrame>(first.as_bytes()) {
        Ok(NodeFrame::Hello(hello)) => {
            check_hello(hub, challenge, &hello)?;
            Ok(*hello)
        }
        _ => Err(protocol("expected a hello")),
    }
}

fn check_hello(hub: &Hub, challenge: Keccak, hello: &Hello) -> Result<(), Fault> {
    let authentication = |m| fault(FaultCode::Authentication, m);
    if hello.version != WIRE_VERSION {
        return Err(fault(FaultCode::Version, &format!("this sequencer speaks version {WIRE_VERSION}")));
    }
    if hello.hello.challenge != challenge {
        return Err(authentication("the hello answers another challenge"));
    }
    if hello.hello.sequencer != hub.sequencer {
        return Err(authentication("the hello is for another sequencer"));
    }
    let node = hello.hello.node;
    hello
        .hello
        .verify(&hub.domain, &hello.signature, node)
        .map_err(|_| authentication("the hello is not signed by its node"))?;
    let same = hello.hello.credits.len() == hello.models.len()
        && hello.hello.credits.iter().zip(&hello.models).all(|(c, m)| *c == m.credit);
    if !same {
        return Err(authentication("the hello's credits are not those of its models"));
    }
    for offer in &hello.models {
        check_offer(hub, node, offer).map_err(|_| authentication("a credit is not signed by the node"))?;
    }
    if !hub.is_registered(&node) {
        return Err(fault(FaultCode::UnknownNode, "the node is not a registered operator"));
    }
    Ok(())
}

fn check_offer(hub: &Hub, node: Address, offer: &ModelOffer) -> Result<(), FrameFault> {
    offer.credit.verify(&hub.domain, &offer.signature, node).map_err(|_| FrameFault::Signature("credit"))
}

/// Sends what is queued; ends with the session, after its last words.
async fn write(session: Arc<Session>, mut sink: Sink, mut outbox: mpsc::Receiver<SequencerFrame>) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = outbox.recv() => frame,
            () = session.over.cancelled() => outbox.try_recv().ok(),
        };
        let Some(frame) = frame else { break };
        if send(&mut sink, &frame).await.is_err() {
            break;
        }
    }
    session.over.cancel();
    drop(tokio::time::timeout(WRITE_TIMEOUT, sink.close()).await);
}

/// Reads until the session is over. Returns the fault if the node is to blame.
async fn pump(hub: &Hub, session: &Session, source: &mut Source, ping: Duration) -> Option<FrameFault> {
    let mut pings = tokio::time::interval(ping);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unanswered: VecDeque<u64> = VecDeque::new();
    loop {
        tokio::select! {
            message = source.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let Ok(frame) = decode::<NodeFrame>(text.as_bytes()) else {
                        return Some(FrameFault::Malformed);
                    };
                    match take(hub, session, frame, &mut unanswered) {
                        Ok(true) => {}
                        Ok(false) => return None,
                        Err(fault) => return Some(fault),
                    }
                }
                Some(Ok(Message::Binary(_))) => return Some(FrameFault::Malformed),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            },
            _ = pings.tick() => {
                if unanswered.len() >= MISSED_PINGS {
                    tracing::warn!(node = %session.node, "a node went silent");
                    return None;
                }
                let nonce = rand::rng().random();
                unanswered.push_back(nonce);
                if !session.send(SequencerFrame::Ping(Probe { nonce })) {
                    return None;
                }
            }
            () = session.over.cancelled() => return None,
            () = hub.closing.cancelled() => {
                session.close(FaultCode::Shutdown, "the sequencer is shutting down");
                return None;
            }
        }
    }
}

/// Takes one frame in; `false` ends the session without blame.
fn take(
    hub: &Hub,
    session: &Session,
    frame: NodeFrame,
    unanswered: &mut VecDeque<u64>,
) -> Result<bool, FrameFault> {
    match frame {
        NodeFrame::Accepted { job } => session.deliver(job, JobEvent::Accepted)?,
        NodeFrame::Token(t) => session.deliver(t.job, JobEvent::Token(t))?,
        NodeFrame::Progress(p) => session.deliver(p.job, JobEvent::Progress(Box::new(p)))?,
        NodeFrame::Done(d) => session.deliver(d.job, JobEvent::Done(d))?,
        NodeFrame::Refuse(r) => session.deliver(r.job, JobEvent::Refuse(r))?,
        NodeFrame::Pong(p) => {
            let place = unanswered.iter().position(|n| *n == p.nonce);
            let place = place.ok_or(FrameFault::Unexpected("pong"))?;
            unanswered.drain(..=place);
        }
        NodeFrame::Credit(offer) => {
            check_offer(hub, session.node, &offer)?;
            session.update_credit(offer);
            hub.notify();
        }
        NodeFrame::Stats(stats) => session.set_stats(stats),
        NodeFrame::Drain {} => {
            session.set_draining();
            hub.notify();
        }
        NodeFrame::Hello(_) => return Err(FrameFault::Unexpected("hello")),
        NodeFrame::Fault(f) => {
            tracing::warn!(node = %session.node, code = ?f.code, message = f.message, "a node ends its session");
            return Ok(false);
        }
    }
    Ok(true)
}
