//! The jobs of one session: who is being answered, and whether there is room for one more.

use monai_protocol::ModelId;
use monai_protocol::types::RequestCommitment;
use monai_protocol::wire::{CancelJob, JobId};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Signed orders that may wait for one job. A valid one ends it; the room is for invalid ones before it.
const WAITING_ORDERS: usize = 64;

/// A running job as its session sees it.
#[derive(Debug)]
struct Seat {
    model: ModelId,
    request: RequestCommitment,
    orders: mpsc::Sender<CancelJob>,
    abandoned: CancellationToken,
}

/// Where the orders of a job come in.
#[derive(Debug)]
pub(super) struct Orders {
    inbox: mpsc::Receiver<CancelJob>,
    abandoned: CancellationToken,
}

impl Orders {
    /// The next signed order; `None` once the answer is wanted no more or the session is gone.
    /// To abandon wins over all orders that wait.
    pub(super) async fn recv(&mut self) -> Option<CancelJob> {
        tokio::select! {
            biased;
            () = self.abandoned.cancelled() => None,
            order = self.inbox.recv() => order,
        }
    }
}

/// Why a job gets no seat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// The signed credit is in use by these requests, in ascending order.
    Busy(Vec<RequestCommitment>),
    /// The number is taken: the other side broke the protocol.
    Taken,
}

/// Seats of one session.
#[derive(Debug, Default)]
pub(super) struct Desk {
    seats: BTreeMap<JobId, Seat>,
}

impl Desk {
    /// Takes a seat for a job, if fewer than `credits` jobs of its model run. Returns where its
    /// orders come in.
    ///
    /// # Errors
    /// [`NoSeat`].
    pub(super) fn sit(
        &mut self,
        job: JobId,
        model: ModelId,
        request: RequestCommitment,
        credits: u32,
    ) -> Result<Orders, NoSeat> {
        if self.seats.contains_key(&job) {
            return Err(NoSeat::Taken);
        }
        let mut active: Vec<_> =
            self.seats.values().filter(|s| s.model == model).map(|s| s.request).collect();
        if active.len() >= credits as usize {
            active.sort_unstable();
            active.dedup();
            return Err(NoSeat::Busy(active));
        }
        let (orders, inbox) = mpsc::channel(WAITING_ORDERS);
        let abandoned = CancellationToken::new();
        self.seats.insert(job, Seat { model, request, orders, abandoned: abandoned.clone() });
        Ok(Orders { inbox, abandoned })
    }

    /// Passes an order to its job; one for a job that has just ended is dropped.
    pub(super) fn order(&self, order: CancelJob) {
        if let Some(seat) = self.seats.get(&order.job) {
            if order.signature.is_none() {
                seat.abandoned.cancel();
            } else if let Err(error) = seat.orders.try_send(order) {
                tracing::warn!(%error, "dropping a cancel order");
            }
        }
    }

    /// Frees the seat of a job that has ended.
    pub(super) fn leave(&mut self, job: JobId) {
        self.seats.remove(&job);
    }

    /// Jobs running.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_protocol::Fr;

    fn r(n: u64) -> RequestCommitment {
        RequestCommitment(Fr::from(n))
    }

    #[test]
    fn busy_lists_the_requests_that_use_the_credit() {
        let (a, b) = (ModelId([1; 32]), ModelId([2; 32]));
        let mut desk = Desk::default();
        desk.sit(JobId(1), a, r(9), 2).unwrap();
        desk.sit(JobId(2), b, r(5), 2).unwrap();
        desk.sit(JobId(3), a, r(4), 2).unwrap();
        assert_eq!(desk.sit(JobId(4), a, r(1), 2).unwrap_err(), NoSeat::Busy(vec![r(4), r(9)]));
        desk.sit(JobId(5), b, r(1), 2).unwrap();
        assert_eq!(desk.sit(JobId(5), b, r(1), 9).unwrap_err(), NoSeat::Taken);
        desk.leave(JobId(1));
        desk.sit(JobId(6), a, r(1), 2).unwrap();
        assert_eq!(desk.len(), 4);
    }

    #[tokio::test]
    async fn orders_reach_their_job_only_and_abandoning_wins() {
        let signed = |job, up_to| CancelJob {
            job: JobId(job),
            up_to,
            signature: Some(monai_protocol::Signature([0; 65])),
        };
        let mut desk = Desk::default();
        let mut first = desk.sit(JobId(1), ModelId([1; 32]), r(1), 9).unwrap();
        let mut second = desk.sit(JobId(2), ModelId([1; 32]), r(2), 9).unwrap();
        desk.order(signed(2, 3));
        desk.order(signed(2, 4));
        desk.order(CancelJob { job: JobId(7), up_to: 3, signature: None });
        assert!(first.inbox.try_recv().is_err());
        assert_eq!(second.recv().await.unwrap().up_to, 3);
        (0..100).for_each(|n| desk.order(signed(2, n)));
        desk.order(CancelJob { job: JobId(2), up_to: 0, signature: None });
        assert_eq!(second.recv().await, None);
    }
}
