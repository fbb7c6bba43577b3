//! Answers that everybody may ask for without a key, computed at most so often whoever asks.

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
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Published {
    /// Nothing is computed before somebody asks.
    pub(crate) fn new(max_age: Duration) -> Self {
        Self { max_age, last: Mutex::new(None) }
    }

    /// The document, from `compute` if the last one is too old. `compute` runs on a thread that may block.
    pub(crate) async fn get(
        &self,
        compute: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
    ) -> Response {
        let mut last = self.last.lock().await;
        let bytes = match &*last {
            Some((at, bytes)) if at.elapsed() < self.max_age => bytes.clone(),
            _ => match tokio::task::spawn_blocking(compute).await {
                Ok(Ok(bytes)) => {
                    let bytes = Bytes::from(bytes);
                    *last = Some((Instant::now(), bytes.clone()));
                    bytes
                }
                // A failure is not kept: the next one tries again.
                Ok(Err(e)) => return e.into_response(),
                Err(_) => return ApiError::internal().into_response(),
            },
        };
        drop(last);
        ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
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
    async fn a_failure_is_not_kept() {
        let p = Published::new(Duration::MAX);
        assert_eq!(p.get(|| Err(ApiError::internal())).await.status(), 500);
        assert_eq!(p.get(|| Ok(b"{}".to_vec())).await.status(), 200);
    }
}
