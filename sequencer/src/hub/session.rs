//! An authenticated node session: what it offers, and the jobs that run on it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use monai_protocol::wire::{
    CancelJob, Done, Fault, FaultCode, JobId, ModelOffer, ProgressFrame, Refuse, SequencerFrame, Stats, Token,
};
use monai_protocol::{Address, ModelId, RequestCommitment};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Frames that wait for a node's socket. A node that reads so slowly is not going to answer in time.
pub(super) const OUT_QUEUE: usize = 1_024;
/// Frames for jobs that have ended on our side before a session is taken for a flood. Some are normal: a
/// token may be on its way while its job is cancelled.
const MAX_STALE_FRAMES: u64 = 100_000;
/// How long a job that ended still counts as one that the node may believe to be running.
const RECENT: Duration = Duration::from_secs(5);

/// What a node says about a job.
#[derive(Debug)]
pub(crate) enum JobEvent {
    Accepted,
    Token(Token),
    Progress(Box<ProgressFrame>),
    Done(Box<Done>),
    Refuse(Box<Refuse>),
}

/// A frame that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    /// Not a text message with a frame in it.
    #[error("malformed frame")]
    Malformed,
    /// A job that was never given to this session.
    #[error("frame for job {0}, which was never sent")]
    UnknownJob(u64),
    /// More frames for a job than it can have.
    #[error("too many frames for job {0}")]
    TooManyFrames(u64),
    /// Too many frames for jobs that ended.
    #[error("too many frames for jobs that ended")]
    Stale,
    /// A second hello, or a credit or pong that nobody asked for.
    #[error("unexpected {0} frame")]
    Unexpected(&'static str),
    /// A signature that is not the node's.
    #[error("bad signature on {0}")]
    Signature(&'static str),
}

impl FrameFault {
    /// The word that metrics count it under.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownJob(_) => "unknown_job",
            Self::TooManyFrames(_) => "too_many_frames",
            Self::Stale => "stale",
            Self::Unexpected(_) => "unexpected",
            Self::Signature(_) => "signature",
        }
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) node: Address,
    pub(crate) software: String,
    pub(crate) since_ms: u64,
    out: mpsc::Sender<SequencerFrame>,
    jobs: Mutex<Jobs>,
    offers: Mutex<BTreeMap<ModelId, ModelOffer>>,
    stats: Mutex<Option<Stats>>,
    draining: AtomicBool,
    stale: AtomicU64,
    /// Cancelled once the session is over.
    pub(crate) over: CancellationToken,
}

#[derive(Debug, Default)]
struct Jobs {
    next: u64,
    open: HashMap<u64, OpenJob>,
    /// Jobs that ended a moment ago: a refusal that lists one may have crossed its end on the wire.
    recent: VecDeque<(Instant, ModelId, RequestCommitment)>,
}

#[derive(Debug)]
struct OpenJob {
    events: mpsc::Sender<JobEvent>,
    model: ModelId,
    request: RequestCommitment,
}

/// The receiving end of a job. Dropping it forgets the job; frames that still come are ignored.
#[derive(Debug)]
pub(crate) struct JobChannel {
    pub(crate) id: JobId,
    pub(crate) session: Arc<Session>,
    events: mpsc::Receiver<JobEvent>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn new(
        number: u64,
        node: Address,
        software: String,
        since_ms: u64,
        out: mpsc::Sender<SequencerFrame>,
        offers: Vec<ModelOffer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            node,
            software,
            since_ms,
            out,
            jobs: Mutex::default(),
            offers: Mutex::new(offers.into_iter().map(|o| (o.credit.model, o)).collect()),
            stats: Mutex::new(None),
            draining: AtomicBool::new(false),
            stale: AtomicU64::new(0),
            over: CancellationToken::new(),
        })
    }

    /// True if the node said that it has the model.
    pub(crate) fn serves(&self, model: &ModelId) -> bool {
        lock(&self.offers).contains_key(model)
    }

    /// True if the node can take a job for the model now, as far as is known.
    pub(crate) fn accepts(&self, model: &ModelId) -> bool {
        !self.draining() && !self.over.is_cancelled() && self.serves(model)
    }

    /// The signed credits of a model.
    pub(crate) fn credits(&self, model: &ModelId) -> u32 {
        self.offer(model).map_or(0, |o| o.credit.credits)
    }

    /// The offer of a model.
    pub(crate) fn offer(&self, model: &ModelId) -> Option<ModelOffer> {
        lock(&self.offers).get(model).cloned()
    }

    /// All offers.
    pub(crate) fn offers(&self) -> Vec<ModelOffer> {
        lock(&self.offers).values().cloned().collect()
    }

    /// Takes a new credit in; the latest signed one counts.
    pub(super) fn update_credit(&self, offer: ModelOffer) {
        let mut offers = lock(&self.offers);
        let newer =
            offers.get(&offer.credit.model).is_none_or(|old| old.credit.issued_ms <= offer.credit.issued_ms);
        if newer {
            offers.insert(offer.credit.model, offer);
        }
    }

    pub(super) fn set_stats(&self, stats: Stats) {
        *lock(&self.stats) = Some(stats);
    }

    /// What the node last said about its load.
    pub(crate) fn stats(&self) -> Option<Stats> {
        lock(&self.stats).clone()
    }

    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// True if the node takes no new jobs.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Jobs that run now.
    pub(crate) fn active(&self) -> usize {
        lock(&self.jobs).open.len()
    }

    /// Sends a frame; `false` if the session is over or the node does not read.
    pub(crate) fn send(&self, frame: SequencerFrame) -> bool {
        !self.over.is_cancelled() && self.out.try_send(frame).is_ok()
    }

    /// Ends the session with last words.
    pub(crate) fn close(&self, code: FaultCode, message: &str) {
        self.send(SequencerFrame::Fault(Fault { code, message: message.into() }));
        self.over.cancel();
    }

    /// Opens a channel for a new job that may produce at most `frames` frames.
    pub(crate) fn open_job(
        self: &Arc<Self>,
        model: ModelId,
        request: RequestCommitment,
        frames: usize,
    ) -> JobChannel {
        let (events_in, events) = mpsc::channel(frames.max(1));
        let mut jobs = lock(&self.jobs);
        let id = jobs.next;
        jobs.next += 1;
        jobs.open.insert(id, OpenJob { events: events_in, model, request });
        JobChannel { id: JobId(id), session: self.clone(), events }
    }

    /// Requests of a model that the node is answering, or was a moment ago.
    pub(crate) fn active_requests(&self, model: &ModelId) -> BTreeSet<RequestCommitment> {
        let jobs = lock(&self.jobs);
        let open = jobs.open.values().filter(|j| j.model == *model).map(|j| j.request);
        let recent = jobs.recent.iter().filter(|(at, m, _)| m == model && at.elapsed() < RECENT);
        open.chain(recent.map(|(_, _, r)| *r)).collect()
    }

    /// Hands an event to its job.
    pub(super) fn deliver(&self, job: JobId, event: JobEvent) -> Result<(), FrameFault> {
        let jobs = lock(&self.jobs);
        if job.0 >= jobs.next {
            return Err(FrameFault::UnknownJob(job.0));
        }
        let Some(open) = jobs.open.get(&job.0) else {
            let stale = self.stale.fetch_add(1, Ordering::Relaxed);
            return if stale < MAX_STALE_FRAMES { Ok(()) } else { Err(FrameFault::Stale) };
        };
        match open.events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(FrameFault::TooManyFrames(job.0)),
        }
    }
}

impl JobChannel {
    /// The next event; `None` once the session is over and everything it had said was taken.
    pub(crate) async fn next(&mut self) -> Option<JobEvent> {
        tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = self.session.over.cancelled() => None,
        }
    }

    /// Tells the node to drop the job without signing anything.
    pub(crate) fn abandon(&self, up_to: u32) {
        self.session.send(SequencerFrame::Cancel(CancelJob { job: self.id, up_to, signature: None }));
    }
}

impl Drop for JobChannel {
    fn drop(&mut self) {
        let mut jobs = lock(&self.session.jobs);
        if let Some(job) = jobs.open.remove(&self.id.0) {
            jobs.recent.push_back((Instant::now(), job.model, job.request));
        }
        while jobs.recent.front().is_some_and(|(at, ..)| at.elapsed() >= RECENT) {
            jobs.recent.pop_front();
        }
    }
}
