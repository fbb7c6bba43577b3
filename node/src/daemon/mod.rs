//! The node daemon: dials out to sequencers, answers what is drawn, signs what it answers.
//!
//! Absent: any port that others could reach (nodes sit behind NAT), and any store of texts. Prompts and
//! answers are in memory while they are answered, and in the prefix cache until it is evicted or the
//! process ends. On disk is only which commitments were signed for which slot. Receipts whose proof the
//! operator asks for are an exception: they stay in the queue of proofs (`prove`) with their proofs.

mod backoff;
mod desk;
mod dial;
mod job;
mod load;
mod pace;
mod prove;
mod service;
mod session;
mod slots;
mod start;

pub use dial::Target;
pub use service::{ServedModel, Service};
pub use start::run;

use backoff::Backoff;
use monai_protocol::wire::FaultCode;
use session::{Ended, Session, SessionError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For a TCP connection, TLS and the WebSocket upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another process runs with the same key; two of them would take each other's sessions for ever.
    #[error("{url}: another node with the key {key} took over; every node needs its own key")]
    Replaced {
        /// The sequencer.
        url: String,
        /// This node's address.
        key: String,
    },
    /// The streams did not end in time after the order to drain.
    #[error("some answers were still running after {0:?} and were dropped")]
    NotDrained(Duration),
}

/// Serves all targets until `drain` turns true and all answers have ended, or `deadline` after that.
///
/// Each target has its own session and its own share of the capacity: what is signed to one
/// sequencer is not promised to another.
///
/// # Errors
/// [`DaemonError`].
pub async fn serve(
    service: Arc<Service>,
    targets: Vec<Target>,
    mut drain: watch::Receiver<bool>,
    deadline: Duration,
) -> Result<(), DaemonError> {
    let share = u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
    let credits = (service.credits / share).max(1);
    let mut sessions = JoinSet::new();
    for target in targets {
        sessions.spawn(keep(service.clone(), target, credits, drain.clone()));
    }
    let all = async {
        while let Some(ended) = sessions.join_next().await {
            // A panic in a session is a bug of this program; the others go on, and the log has it.
            if let Ok(Err(error)) = ended {
                return Err(error);
            }
        }
        Ok(())
    };
    tokio::pin!(all);
    tokio::select! {
        outcome = &mut all => return outcome,
        _ = drain.wait_for(|d| *d) => {}
    }
    tracing::info!(?deadline, "draining: finishing running answers, refusing new ones");
    timeout(deadline, all).await.map_err(|_| DaemonError::NotDrained(deadline))?
}

/// Keeps a session with one sequencer, for ever or until drained.
async fn keep(
    service: Arc<Service>,
    target: Target,
    credits: u32,
    mut drain: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
    let mut backoff = Backoff::new();
    loop {
        match session(&service, &target, credits, &drain, &mut backoff).await {
            Ok(Ended::Drained) => return Ok(()),
            Err(SessionError::Fault { code: FaultCode::Replaced, .. }) => {
                let key = service.address().to_string();
                return Err(DaemonError::Replaced { url: target.url, key });
            }
            Err(error) => {
                let wait = backoff.next_wait();
                tracing::warn!(url = target.url, %error, ?wait, "no session");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = drain.wait_for(|d| *d) => return Ok(()),
                }
            }
        }
    }
}

async fn session(
    service: &Arc<Service>,
    target: &Target,
    credits: u32,
    drain: &watch::Receiver<bool>,
    backoff: &mut Backoff,
) -> Result<Ended, SessionError> {
    let mut watched = drain.clone();
    let open = async {
        let socket = timeout(CONNECT_TIMEOUT, target.connect())
            .await
            .map_err(|_| SessionError::Silent(CONNECT_TIMEOUT))??;
        let mut session = Session::new(service.clone(), target.clone(), socket, credits);
        let welcome = session.open().await?;
        Ok::<_, SessionError>((session, welcome))
    };
    let (session, welcome) = tokio::select! {
        opened = open => opened?,
        // Nothing runs before the session is open, so there is nothing to finish.
        _ = watched.wait_for(|d| *d) => return Ok(Ended::Drained),
    };
    backoff.reset();
    tracing::info!(url = target.url, session = welcome.session, credits, "serving");
    session.serve(welcome, drain.clone()).await
}
