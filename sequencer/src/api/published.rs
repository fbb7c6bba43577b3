//! Answers that everybody may ask for without a key, computed at most so often whoever asks.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ApiError;

/// How old an answer of `/v1/network` and `/v1/anchors` may be.
pub(crate) const MAX_AGE: Duration = Duration::from_millis(500);

/// One JSON document, kept for a while. However many strangers ask at once, one of them computes and the others
/// wait for what it finds, so the cost of a flood is that of sending bytes.
pub(crate) struct Published {
    max_age: Duration,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Published {
    /// Nothing is computed before somebody asks.
    pub(crate) fn new(max_age: Duration) -> Self {
        Self { max_age, last: Arc::default() }
    }

    /// The document, from `compute` if the last one is too old. `compute` runs on a thread that may block, and holds the
    /// document until it has ended even if who asked has left, so that leaving early does not start it again.
    pub(crate) async fn get(
        &self,
        compute: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
    ) -> Response {
        let mut last = self.last.clone().lock_owned().await;
        let document = match &*last {
            Some((at, bytes)) if at.elapsed() < self.max_age => Ok(bytes.clone()),
            _ => {
                let work = move || {
                    // A failure is not kept: the next one tries again.
                    let bytes = Bytes::from(compute()?);
                    *last = Some((Instant::now(), bytes.clone()));
                    Ok(bytes)
                };
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ApiError::internal()))
            }
        };
        document.map(|bytes| ([(header::CONTENT_TYPE, "application/json")], bytes)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn ask(p: &Published, computed: &Arc<AtomicU32>) -> Vec<u8> {
        let computed = computed.clone();
        let answer = p.get(move || Ok(vec![b'0' + computed.fetch_add(1, Ordering::SeqCst) as u8])).await;
        axum::body::to_bytes(answer.into_body(), 10).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_crowd_costs_as_much_as_one() {
        let (p, computed) = (Published::new(Duration::MAX), Arc::new(AtomicU32::new(0)));
        let all = futures_util::future::join_all((0..50).map(|_| ask(&p, &computed))).await;
        assert_eq!(all, vec![b"0".to_vec(); 50]);
        let (p, computed) = (Published::new(Duration::ZERO), Arc::new(AtomicU32::new(0)));
        assert_eq!((ask(&p, &computed).await, ask(&p, &computed).await), (b"0".to_vec(), b"1".to_vec()));
    }

    #[tokio::test]
    async fn leaving_early_does_not_start_it_again() {
        let p = Published::new(Duration::MAX);
        let (began, begun) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        let slow = p.get(move || {
            began.send(()).unwrap();
            released.recv().unwrap();
            Ok(b"first".to_vec())
        });
        tokio::select! {
            biased;
            _ = slow => panic!("it waits to be released"),
            done = begun => done.unwrap(),
        }
        // Its client has left; the next one waits for what was begun.
        let next = p.get(|| Ok(b"second".to_vec()));
        release.send(()).unwrap();
        assert_eq!(axum::body::to_bytes(next.await.into_body(), 10).await.unwrap(), "first");
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let p = Published::new(Duration::MAX);
        assert_eq!(p.get(|| Err(ApiError::internal())).await.status(), 500);
        assert_eq!(p.get(|| Ok(b"{}".to_vec())).await.status(), 200);
    }
}
