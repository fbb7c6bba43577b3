//! Buckets and concurrency a key, and the headers that tell clients about them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::{ApiKeys, KeyIndex};
use super::error::ApiError;
use crate::config::{KeyLimits, Limits};

/// A bucket that fills to its capacity once a minute, evenly.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn full(capacity: u32, now: Instant) -> Self {
        Self { capacity: capacity.into(), level: capacity.into(), at: now }
    }

    fn refill(&mut self, now: Instant) {
        let minutes = now.saturating_duration_since(self.at).as_secs_f64() / 60.0;
        self.level = (self.level + minutes * self.capacity).min(self.capacity);
        self.at = now;
    }

    /// Seconds until `amount` is there; 0 if it is.
    fn wait(&self, amount: f64) -> f64 {
        if amount <= self.level { 0.0 } else { (amount - self.level) * 60.0 / self.capacity.max(1.0) }
    }
}

#[derive(Debug)]
struct Buckets {
    requests: Bucket,
    tokens: Bucket,
}

#[derive(Debug)]
struct KeyState {
    limits: KeyLimits,
    buckets: Mutex<Buckets>,
    concurrent: Arc<Semaphore>,
}

/// All buckets and semaphores.
#[derive(Debug)]
pub(crate) struct Limiter {
    keys: Vec<Arc<KeyState>>,
    global: Arc<Semaphore>,
}

/// The right to have some choices answered. Dropping it frees the concurrency; the tokens that were not
/// used go back to the bucket through [`Permit::settle`].
#[derive(Debug)]
pub(crate) struct Permit {
    key: Arc<KeyState>,
    reserved: u64,
    used: u64,
    _key: OwnedSemaphorePermit,
    _global: OwnedSemaphorePermit,
}

impl Permit {
    /// Says how many ids were used in the end.
    pub(crate) fn settle(&mut self, used: u64) {
        self.used = used.min(self.reserved);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut b = self.key.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        b.tokens.level = (b.tokens.level + (self.reserved - self.used) as f64).min(b.tokens.capacity);
    }
}

/// What the `x-ratelimit-*` headers say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Snapshot {
    limits: KeyLimits,
    requests: u32,
    tokens: u32,
    requests_reset: f64,
    tokens_reset: f64,
}

impl Snapshot {
    /// Adds the headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let mut number = |name: &'static str, n: u32| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(n));
        };
        number("x-ratelimit-limit-requests", self.limits.requests_per_minute);
        number("x-ratelimit-limit-tokens", self.limits.tokens_per_minute);
        number("x-ratelimit-remaining-requests", self.requests);
        number("x-ratelimit-remaining-tokens", self.tokens);
        let mut time = |name: &'static str, seconds: f64| {
            let text = format!("{}ms", (seconds * 1e3).ceil() as u64);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        time("x-ratelimit-reset-requests", self.requests_reset);
        time("x-ratelimit-reset-tokens", self.tokens_reset);
    }
}

impl Limiter {
    pub(crate) fn new(keys: &ApiKeys, limits: &Limits) -> Self {
        let now = Instant::now();
        let state = |i| {
            let limits = keys.limits(KeyIndex(i));
            Arc::new(KeyState {
                limits,
                buckets: Mutex::new(Buckets {
                    requests: Bucket::full(limits.requests_per_minute, now),
                    tokens: Bucket::full(limits.tokens_per_minute, now),
                }),
                concurrent: Arc::new(Semaphore::new(limits.concurrent as usize)),
            })
        };
        Self {
            keys: (0..keys.len() as u32).map(state).collect(),
            global: Arc::new(Semaphore::new(limits.concurrent as usize)),
        }
    }

    fn key(&self, key: KeyIndex) -> &Arc<KeyState> {
        &self.keys[key.0 as usize]
    }

    /// Counts one request, before anything else is done for it.
    pub(crate) fn request(&self, key: KeyIndex) -> Result<(), ApiError> {
        self.request_at(key, Instant::now())
    }

    fn request_at(&self, key: KeyIndex, now: Instant) -> Result<(), ApiError> {
        let mut b = self.key(key).buckets.lock().unwrap_or_else(PoisonError::into_inner);
        b.requests.refill(now);
        let wait = b.requests.wait(1.0);
        if wait > 0.0 {
            return Err(ApiError::rate_limited(
                "requests",
                "Rate limit reached for requests.",
                wait.ceil() as u32,
            ));
        }
        b.requests.level -= 1.0;
        Ok(())
    }

    /// Reserves `tokens` ids and `choices` places, or says why not and when.
    pub(crate) fn admit(&self, key: KeyIndex, choices: u32, tokens: u64) -> Result<Permit, ApiError> {
        self.admit_at(key, choices, tokens, Instant::now())
    }

    fn admit_at(&self, key: KeyIndex, choices: u32, tokens: u64, now: Instant) -> Result<Permit, ApiError> {
        let state = self.key(key);
        if tokens > u64::from(state.limits.tokens_per_minute) {
            // Waiting will not help, so this is no 429 that clients would retry.
            return Err(ApiError::invalid(
                "max_tokens",
                format!(
                    "The request needs {tokens} tokens; this key may use {} a minute.",
                    state.limits.tokens_per_minute
                ),
            ));
        }
        let busy = |what| {
            ApiError::rate_limited("requests", format!("Too many {what} are being answered for now."), 1)
        };
        let of_key =
            state.concurrent.clone().try_acquire_many_owned(choices).map_err(|_| busy("of your requests"))?;
        let of_all = self.global.clone().try_acquire_many_owned(choices).map_err(|_| busy("requests"))?;
        let mut b = state.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        b.tokens.refill(now);
        let wait = b.tokens.wait(tokens as f64);
        if wait > 0.0 {
            return Err(ApiError::rate_limited(
                "tokens",
                "Rate limit reached for tokens.",
                wait.ceil() as u32,
            ));
        }
        b.tokens.level -= tokens as f64;
        drop(b);
        Ok(Permit { key: state.clone(), reserved: tokens, used: tokens, _key: of_key, _global: of_all })
    }

    /// Reserves up to `ids` ids for work that no node does: no place is taken, and what exceeds a minute's worth is free.
    pub(crate) fn work(&self, key: KeyIndex, ids: usize) -> Result<Permit, ApiError> {
        let most = u64::from(self.key(key).limits.tokens_per_minute);
        self.admit(key, 0, most.min(ids as u64))
    }

    /// Says so before any work is done for a request of a key that has no id left.
    pub(crate) fn solvent(&self, key: KeyIndex) -> Result<(), ApiError> {
        self.work(key, 1).map(|mut permit| permit.settle(0))
    }

    /// The state of a key's buckets now.
    pub(crate) fn snapshot(&self, key: KeyIndex) -> Snapshot {
        let state = self.key(key);
        let mut b = state.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        b.requests.refill(now);
        b.tokens.refill(now);
        Snapshot {
            limits: state.limits,
            requests: b.requests.level.max(0.0) as u32,
            tokens: b.tokens.level.max(0.0) as u32,
            requests_reset: b.requests.wait(b.requests.capacity),
            tokens_reset: b.tokens.wait(b.tokens.capacity),
        }
    }

    /// Choices being answered now.
    pub(crate) fn in_flight(&self, limits: &Limits) -> usize {
        (limits.concurrent as usize).saturating_sub(self.global.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiKey;
    use crate::secret::ApiKeyHash;
    use std::time::Duration;

    fn limiter(per_key: KeyLimits, concurrent: u32) -> Limiter {
        let limits = Limits { per_key, concurrent, ..Limits::default() };
        let key = ApiKey { name: "k".into(), hash: ApiKeyHash::of("k"), limits: None, canary: false };
        Limiter::new(&ApiKeys::new(vec![key], &limits), &limits)
    }

    const KEY: KeyIndex = KeyIndex(0);

    #[test]
    fn requests_refill_with_time() {
        let l = limiter(KeyLimits { requests_per_minute: 2, ..KeyLimits::default() }, 8);
        let now = Instant::now();
        l.request_at(KEY, now).unwrap();
        l.request_at(KEY, now).unwrap();
        let e = l.request_at(KEY, now).unwrap_err();
        assert_eq!((e.status.as_u16(), e.retry_after), (429, Some(30)));
        l.request_at(KEY, now + Duration::from_secs(31)).unwrap();
    }

    #[test]
    fn unused_tokens_come_back() {
        let l = limiter(KeyLimits { tokens_per_minute: 100, ..KeyLimits::default() }, 8);
        let now = Instant::now();
        let mut p = l.admit_at(KEY, 1, 90, now).unwrap();
        assert_eq!(l.admit_at(KEY, 1, 20, now).unwrap_err().kind, "tokens");
        p.settle(10);
        drop(p);
        l.admit_at(KEY, 1, 90, now).unwrap();
        assert_eq!(l.admit_at(KEY, 1, 101, now).unwrap_err().status, 400);
    }

    #[test]
    fn places_are_freed() {
        let l = limiter(KeyLimits { concurrent: 2, ..KeyLimits::default() }, 3);
        let a = l.admit(KEY, 2, 1).unwrap();
        assert_eq!(l.admit(KEY, 1, 1).unwrap_err().status, 429);
        drop(a);
        l.admit(KEY, 2, 1).unwrap();
    }
}
