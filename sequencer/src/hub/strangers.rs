//! Connections that have not said who they are.
//!
//! Anybody can open them, so they have room of their own, and when it is full the oldest one goes: idle connections of a
//! stranger can't keep a node out, whose hello takes milliseconds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Most connections without a hello.
const MAX_STRANGERS: usize = 64;

/// The connections, oldest first.
#[derive(Debug, Default, Clone)]
pub(super) struct Strangers {
    inside: Arc<Mutex<VecDeque<Arc<CancellationToken>>>>,
}

/// One of them; dropping it leaves.
#[derive(Debug)]
pub(super) struct Stranger {
    evicted: Arc<CancellationToken>,
    all: Strangers,
}

impl Strangers {
    /// Lets one in, and the oldest one out where there is no room.
    pub(super) fn enter(&self) -> Stranger {
        let evicted = Arc::new(CancellationToken::new());
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.push_back(evicted.clone());
        if inside.len() > MAX_STRANGERS
            && let Some(oldest) = inside.pop_front()
        {
            oldest.cancel();
        }
        Stranger { evicted, all: self.clone() }
    }
}

impl Stranger {
    /// Resolves when it has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut inside = self.all.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.retain(|token| !Arc::ptr_eq(token, &self.evicted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let all = Strangers::default();
        let first = all.enter();
        let second = all.enter();
        let others: Vec<Stranger> = (2..MAX_STRANGERS).map(|_| all.enter()).collect();
        assert!(!first.evicted.is_cancelled());
        drop(second);
        let _in_its_place = all.enter();
        assert!(!first.evicted.is_cancelled(), "who leaves makes room");
        let _one_more = all.enter();
        assert!(first.evicted.is_cancelled() && others.iter().all(|s| !s.evicted.is_cancelled()));
        drop(first);
        assert_eq!(all.inside.lock().unwrap().len(), MAX_STRANGERS);
    }
}
