//! The sequencer's end of a node session, played by a test.

use futures_util::{SinkExt as _, StreamExt as _};
use monai_protocol::messages::{Intake, Typed as _};
use monai_protocol::types::{Amount, Assurance, Blinding, ChainId, Domain, Lane, Retry, Slot};
use monai_protocol::wire::{
    self, Challenge, Hello, Job, JobId, NodeFrame, SequencerFrame, WIRE_VERSION, Welcome,
};
use monai_protocol::{Address, ModelId, Request, SecretKey, SelectionParams};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// No test waits longer than this for one frame.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn domain() -> Domain {
    Domain { chain_id: ChainId(31_337), rollup: Address([0x11; 20]) }
}

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

pub fn now_ms() -> u64 {
    u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis())
        .unwrap()
}

/// A request for a model with a user key of the test.
pub fn request(model: ModelId, prompt: &[u32], params: SelectionParams, nonce: u64) -> Request {
    Request {
        domain: domain(),
        model,
        params,
        prompt: prompt.to_vec(),
        user: key(3).address(),
        nonce,
        blinding: Blinding(77 + u128::from(nonce)),
        expiry: now_ms() / 1000 + 600,
        max_price: Amount(1 << 60),
        by_preference: false,
        assurance: Assurance::Sampled,
    }
}

/// Listens for nodes.
pub struct FakeSequencer {
    pub listener: TcpListener,
    pub key: SecretKey,
}

impl FakeSequencer {
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), key: key(1) }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    /// Accepts the next node and opens its session.
    pub async fn accept(&self) -> (NodeEnd, Hello) {
        let (mut node, hello) = self.challenge(self.key.address()).await;
        node.send(&SequencerFrame::Welcome(Welcome { session: 1, ping_ms: 20_000 })).await;
        (node, hello)
    }

    /// Accepts the next node and challenges it in the name of `sequencer`; returns its hello.
    pub async fn challenge(&self, sequencer: Address) -> (NodeEnd, Hello) {
        let mut node = self.raw().await;
        let challenge = monai_protocol::types::Keccak([9; 32]);
        node.send(&SequencerFrame::Challenge(Challenge {
            version: WIRE_VERSION,
            challenge,
            domain: domain(),
            sequencer,
        }))
        .await;
        match node.next().await {
            NodeFrame::Hello(hello) => {
                hello.hello.verify(&domain(), &hello.signature, hello.hello.node).unwrap();
                assert_eq!(hello.hello.challenge, challenge);
                (node, *hello)
            }
            other => panic!("expected a hello, got {other:?}"),
        }
    }

    pub async fn raw(&self) -> NodeEnd {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        NodeEnd { socket: tokio_tungstenite::accept_async(stream).await.unwrap(), key: self.key.clone() }
    }
}

/// A connected node.
pub struct NodeEnd {
    socket: WebSocketStream<TcpStream>,
    key: SecretKey,
}

impl NodeEnd {
    pub async fn send(&mut self, frame: &SequencerFrame) {
        self.socket.send(Message::text(wire::encode(frame).unwrap())).await.unwrap();
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.unwrap();
    }

    /// The next frame that is not about load.
    pub async fn next(&mut self) -> NodeFrame {
        self.try_next().await.expect("the node closed the connection")
    }

    /// The same; `None` at the end of the connection.
    pub async fn try_next(&mut self) -> Option<NodeFrame> {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("no frame in time")?;
            match message {
                Ok(Message::Text(text)) => match wire::decode(text.as_bytes()).unwrap() {
                    NodeFrame::Stats(_) => {}
                    frame => return Some(frame),
                },
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// A job with an intake that this sequencer signs.
    pub fn job(&self, number: u64, request: Request, resume: Vec<u32>) -> Job {
        let intake = Intake {
            request: request.commitment(),
            model: request.model,
            lane: Lane(0),
            slot: Slot(number),
            received_ms: now_ms(),
        };
        Job {
            job: JobId(number),
            lane: intake.lane,
            slot: intake.slot,
            received_ms: intake.received_ms,
            intake_signature: intake.sign(&domain(), &self.key).unwrap(),
            retry: Retry(0),
            resume,
            deadline_ms: now_ms() + 120_000,
            logprobs: None,
            cache_scope: None,
            request,
        }
    }

    pub async fn give(&mut self, job: Job) {
        self.send(&SequencerFrame::Job(Box::new(job))).await;
    }
}
