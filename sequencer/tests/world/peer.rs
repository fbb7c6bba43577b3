//! A node's side of the protocol, small and scriptable. Its answers are those of the reference engine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use monai_model::artefact::Model;
use monai_protocol::messages::{Credit, NodeHello, Progress, Refusal, RefusalReason, Response, Typed as _};
use monai_protocol::output::RunningHash;
use monai_protocol::wire::{
    CancelJob, Done, Hello, Job, JobId, ModelOffer, NodeFrame, ProgressFrame, Refuse, SequencerFrame, Token,
    TokenLogprobs, WIRE_VERSION, decode, encode,
};
use monai_protocol::{Domain, Finish, Keccak, OutputCommitment, SecretKey, output_commitment};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::model::answer;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a peer behaves.
#[derive(Clone)]
pub enum Behaviour {
    Honest,
    /// Sends so many tokens in all, then its connection breaks.
    DieAfter(u32),
    /// Takes jobs and says nothing.
    Mute,
    /// Sends a token for each permit.
    Gated(Arc<Semaphore>),
    /// Refuses every job.
    Refuse(RefusalReason),
    /// Signs an output commitment that is not of its tokens.
    WrongOutput,
    /// Signs a finish that the stop rule does not allow.
    WrongFinish,
    /// Leaves out its running hashes.
    NoProgress,
    /// Sends a token that the model does not select, signs nothing and dies.
    Lie,
}

pub struct Peer {
    pub key: SecretKey,
    /// Jobs that came, by number of attempts.
    pub jobs: Arc<AtomicU32>,
    /// True once the session is over.
    pub over: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a socket and reads the challenge.
pub async fn dial(addr: SocketAddr) -> (Socket, Keccak, Domain, monai_protocol::Address) {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{addr}/v1/node")).await.unwrap();
    match next(&mut socket).await {
        Some(SequencerFrame::Challenge(c)) => (socket, c.challenge, c.domain, c.sequencer),
        other => panic!("expected a challenge, got {other:?}"),
    }
}

pub async fn next(socket: &mut Socket) -> Option<SequencerFrame> {
    loop {
        match socket.next().await? {
            Ok(Message::Text(text)) => return Some(decode(text.as_bytes()).unwrap()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
}

pub async fn send(socket: &mut Socket, frame: &NodeFrame) {
    socket.send(Message::text(encode(frame).unwrap())).await.unwrap();
}

/// A correct hello.
pub fn hello(
    key: &SecretKey,
    challenge: Keccak,
    domain: &Domain,
    sequencer: monai_protocol::Address,
    model: &Model,
    credits: u32,
) -> Hello {
    let credit = Credit { model: model.id, credits, issued_ms: 1 };
    let offer = ModelOffer {
        signature: credit.sign(domain, key).unwrap(),
        credit: credit.clone(),
        max_positions: model.arch.max_positions as u32,
    };
    let hello = NodeHello { challenge, node: key.address(), sequencer, credits: vec![credit] };
    Hello {
        version: WIRE_VERSION,
        signature: hello.sign(domain, key).unwrap(),
        hello,
        models: vec![offer],
        software: "test".into(),
    }
}

impl Peer {
    /// Dials in and waits for the welcome.
    pub async fn join(addr: SocketAddr, key: SecretKey, model: Arc<Model>, behaviour: Behaviour) -> Self {
        Self::join_with(addr, key, model, behaviour, 8).await
    }

    pub async fn join_with(
        addr: SocketAddr,
        key: SecretKey,
        model: Arc<Model>,
        behaviour: Behaviour,
        credits: u32,
    ) -> Self {
        let (mut socket, challenge, domain, sequencer) = dial(addr).await;
        let hello = hello(&key, challenge, &domain, sequencer, &model, credits);
        send(&mut socket, &NodeFrame::Hello(Box::new(hello))).await;
        match next(&mut socket).await {
            Some(SequencerFrame::Welcome(_)) => {}
            other => panic!("expected a welcome, got {other:?}"),
        }
        let jobs = Arc::new(AtomicU32::new(0));
        let (ended, over) = watch::channel(false);
        let work = Work {
            key: key.clone(),
            domain,
            model,
            behaviour,
            sent: Arc::new(AtomicU32::new(0)),
            credits,
            active: Arc::default(),
        };
        let count = jobs.clone();
        let task = tokio::spawn(async move {
            serve(socket, work, count).await;
            let _ = ended.send(true);
        });
        Self { key, jobs, over, task }
    }
}

#[derive(Clone)]
struct Work {
    key: SecretKey,
    domain: Domain,
    model: Arc<Model>,
    behaviour: Behaviour,
    sent: Arc<AtomicU32>,
    credits: u32,
    active: Arc<Mutex<HashMap<u64, monai_protocol::RequestCommitment>>>,
}

enum Out {
    Frame(NodeFrame),
    Die,
}

async fn serve(socket: Socket, work: Work, count: Arc<AtomicU32>) {
    let (mut sink, mut source) = socket.split();
    let (out, mut outbox) = mpsc::unbounded_channel::<Out>();
    let mut orders: HashMap<u64, mpsc::UnboundedSender<CancelJob>> = HashMap::new();
    loop {
        tokio::select! {
            message = source.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                match decode::<SequencerFrame>(text.as_bytes()).unwrap() {
                    SequencerFrame::Job(job) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let (order, inbox) = mpsc::unbounded_channel();
                        orders.insert(job.job.0, order);
                        tokio::spawn(run(work.clone(), *job, inbox, out.clone()));
                    }
                    SequencerFrame::Cancel(c) => {
                        if let Some(order) = orders.get(&c.job.0) {
                            drop(order.send(c));
                        }
                    }
                    SequencerFrame::Ping(p) => drop(out.send(Out::Frame(NodeFrame::Pong(p)))),
                    SequencerFrame::Fault(_) => return,
                    SequencerFrame::Challenge(_) | SequencerFrame::Welcome(_) => panic!("out of turn"),
                }
            }
            frame = outbox.recv() => match frame {
                Some(Out::Frame(frame)) => {
                    if sink.send(Message::text(encode(&frame).unwrap())).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

async fn run(
    work: Work,
    job: Job,
    mut orders: mpsc::UnboundedReceiver<CancelJob>,
    out: mpsc::UnboundedSender<Out>,
) {
    let id = job.job.0;
    let busy: Option<Vec<_>> = {
        let mut active = work.active.lock().unwrap();
        if active.len() >= work.credits as usize {
            let mut list: Vec<_> = active.values().copied().collect();
            list.sort_unstable();
            Some(list)
        } else {
            active.insert(id, job.request.commitment());
            None
        }
    };
    if let Some(active) = busy {
        refuse(&work, &job, RefusalReason::Busy, active, &out);
        return;
    }
    answer_job(&work, &job, &mut orders, &out).await;
    work.active.lock().unwrap().remove(&id);
}

fn refuse(
    work: &Work,
    job: &Job,
    reason: RefusalReason,
    active: Vec<monai_protocol::RequestCommitment>,
    out: &mpsc::UnboundedSender<Out>,
) {
    let refusal = Refusal {
        request: job.request.commitment(),
        model: job.request.model,
        lane: job.lane,
        slot: job.slot,
        retry: job.retry,
        reason,
        at_ms: now_ms(),
        active,
    };
    let signature = refusal.sign(&work.domain, &work.key).unwrap();
    drop(out.send(Out::Frame(NodeFrame::Refuse(Box::new(Refuse { job: job.job, refusal, signature })))));
}

async fn answer_job(
    work: &Work,
    job: &Job,
    orders: &mut mpsc::UnboundedReceiver<CancelJob>,
    out: &mpsc::UnboundedSender<Out>,
) {
    let received_ms = now_ms();
    let r = job.request.commitment();
    let frame = |f| drop(out.send(Out::Frame(f)));
    match &work.behaviour {
        Behaviour::Refuse(reason) => return refuse(work, job, *reason, Vec::new(), out),
        Behaviour::Mute => {
            frame(NodeFrame::Accepted { job: job.job });
            // Only an order ends it, and it says nothing even then.
            orders.recv().await;
            return;
        }
        _ => {}
    }
    let (model, request) = (work.model.clone(), job.request.clone());
    let (ids, mut finish) =
        tokio::task::spawn_blocking(move || answer(&model, &request.prompt, &request.params)).await.unwrap();
    let resumed = job.resume.len();
    if ids.get(..resumed) != Some(&job.resume[..]) || resumed >= ids.len() {
        return refuse(work, job, RefusalReason::PrefixMismatch, Vec::new(), out);
    }
    frame(NodeFrame::Accepted { job: job.job });
    let mut running = RunningHash::new(r, job.request.blinding);
    for id in &ids[..resumed] {
        running.push(*id);
    }
    let mut sent = resumed;
    let mut first_token_ms = None;
    while sent < ids.len() {
        let gate = async {
            match &work.behaviour {
                Behaviour::Gated(gate) => gate.acquire().await.unwrap().forget(),
                // An order that is there already is obeyed first.
                _ => tokio::task::yield_now().await,
            }
        };
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some(order) = order else { return };
                if order.signature.is_none() {
                    return;
                }
                if order.up_to as usize <= sent {
                    sent = order.up_to as usize;
                    finish = Finish::Cancelled;
                    break;
                }
                continue;
            }
            () = gate => {}
        }
        if let Behaviour::DieAfter(n) = work.behaviour
            && work.sent.load(Ordering::SeqCst) >= n
        {
            drop(out.send(Out::Die));
            return;
        }
        let mut id = ids[sent];
        if matches!(work.behaviour, Behaviour::Lie) {
            id = (id + 1) % 256 + 3;
        }
        let logprobs = job.logprobs.map(|n| {
            Box::new(TokenLogprobs {
                chosen: -500_000,
                top: (0..u32::from(n)).map(|i| (i + 3, -1_000_000)).collect(),
            })
        });
        frame(NodeFrame::Token(Token { job: job.job, index: sent as u32, id, logprobs }));
        work.sent.fetch_add(1, Ordering::SeqCst);
        first_token_ms.get_or_insert_with(now_ms);
        sent += 1;
        if matches!(work.behaviour, Behaviour::Lie) && sent == resumed + 2 {
            drop(out.send(Out::Die));
            return;
        }
        if let Some((up_to, running)) = running.push(id)
            && !matches!(work.behaviour, Behaviour::NoProgress)
        {
            let progress = Progress {
                request: r,
                model: job.request.model,
                lane: job.lane,
                slot: job.slot,
                up_to,
                running,
            };
            let signature = progress.sign(&work.domain, &work.key).unwrap();
            frame(NodeFrame::Progress(ProgressFrame { job: job.job, progress, signature }));
        }
    }
    if let Behaviour::DieAfter(n) = work.behaviour
        && work.sent.load(Ordering::SeqCst) >= n
    {
        drop(out.send(Out::Die));
        return;
    }
    if matches!(work.behaviour, Behaviour::WrongFinish) {
        finish = if finish == Finish::Stop { Finish::Length } else { Finish::Stop };
    }
    let mut output = output_commitment(job.request.blinding, finish, &ids[..sent]);
    if matches!(work.behaviour, Behaviour::WrongOutput) {
        output = OutputCommitment(output.0 + monai_protocol::Fr::from(1u64));
    }
    let done_ms = now_ms();
    let response = Response {
        request: r,
        model: job.request.model,
        lane: job.lane,
        slot: job.slot,
        output,
        n_in: job.request.n_in(),
        n_out: sent as u32,
        finish,
        received_ms,
        first_token_ms: first_token_ms.unwrap_or(done_ms),
        done_ms,
    };
    let signature = response.sign(&work.domain, &work.key).unwrap();
    frame(NodeFrame::Done(Box::new(Done { job: job.job, response, signature })));
}

pub fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Waits until a condition holds, looking often; for states of another process that send no event.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the condition never held");
}

/// A job id that no sequencer gave.
pub const UNKNOWN_JOB: JobId = JobId(999_999);
