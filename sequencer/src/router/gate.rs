//! Who waits, and for how long, before a request gets a slot.
//!
//! A slot that meets only busy nodes ends without an answer. So requests wait here, in order, until the nodes
//! of the epoch's table have room in their signed credits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use monai_protocol::ModelId;
use tokio::sync::Notify;

/// One model's door.
#[derive(Debug, Default)]
struct Door {
    inside: AtomicUsize,
    changed: Notify,
    /// Held by whoever is next; tokio's mutex is fair, so this is the queue.
    queue: tokio::sync::Mutex<()>,
}

/// All doors.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    doors: Mutex<BTreeMap<ModelId, Arc<Door>>>,
}

/// A place inside. Dropping it lets the next in.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Door>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Gate {
    fn door(&self, model: ModelId) -> Arc<Door> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).entry(model).or_default().clone()
    }

    /// Waits at most `patience` until fewer than `room()` are inside. `None` if time is up.
    pub(crate) async fn enter(
        &self,
        model: ModelId,
        patience: Duration,
        room: impl Fn() -> usize,
    ) -> Option<Inside> {
        let door = self.door(model);
        tokio::time::timeout(patience, async {
            let _first = door.queue.lock().await;
            loop {
                let changed = door.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if door.inside.load(Ordering::Acquire) < room() {
                    // Only the head of the queue adds, so the check still holds.
                    door.inside.fetch_add(1, Ordering::AcqRel);
                    return Inside(door.clone());
                }
                changed.await;
            }
        })
        .await
        .ok()
    }

    /// Enters without waiting, whatever the room: for slots that exist already.
    pub(crate) fn force(&self, model: ModelId) -> Inside {
        let door = self.door(model);
        door.inside.fetch_add(1, Ordering::AcqRel);
        Inside(door)
    }

    /// Room may have changed: a node came, went or signed another credit.
    pub(crate) fn room_changed(&self) {
        for door in self.doors.lock().unwrap_or_else(PoisonError::into_inner).values() {
            door.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: ModelId = ModelId([1; 32]);

    #[tokio::test]
    async fn waits_for_room_in_order() {
        let gate = Arc::new(Gate::default());
        let long = Duration::from_secs(30);
        let first = gate.enter(M, long, || 1).await.unwrap();
        assert!(gate.enter(M, Duration::from_millis(5), || 1).await.is_none());
        let (g1, g2) = (gate.clone(), gate.clone());
        let second = tokio::spawn(async move { g1.enter(M, long, || 1).await });
        tokio::task::yield_now().await;
        let third = tokio::spawn(async move { g2.enter(M, long, || 1).await });
        tokio::task::yield_now().await;
        drop(first);
        let inside = second.await.unwrap().unwrap();
        assert!(!third.is_finished());
        drop(inside);
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn no_room_at_all_and_then_some() {
        let gate = Arc::new(Gate::default());
        let room = Arc::new(AtomicUsize::new(0));
        let (g, r) = (gate.clone(), room.clone());
        let waiting =
            tokio::spawn(
                async move { g.enter(M, Duration::from_secs(30), || r.load(Ordering::Acquire)).await },
            );
        tokio::task::yield_now().await;
        room.store(1, Ordering::Release);
        gate.room_changed();
        waiting.await.unwrap().unwrap();
    }
}
