//! TCP connections: how many, how slow they may be, and how they end.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Limits, Timeouts, ms};

/// Serves until `stop`, then lets connections end for `grace` and drops the rest.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    timeouts: Timeouts,
    stop: CancellationToken,
    grace: Duration,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits.connections_per_ip);
    let connections = TaskTracker::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, from)) => match peers.enter(from.ip()) {
                Some(peer) => (stream, peer),
                None => {
                    refuse(&stream);
                    continue;
                }
            },
            Err(error) => {
                // Out of file descriptors, for one: waiting helps, and the loop must not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Tokens are small and must leave at once.
        drop(stream.set_nodelay(true));
        let io = TokioIo::new(Timed::new(stream, ms(timeouts.client_write_ms)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ms(timeouts.client_headers_ms))
            .max_buf_size(64 << 10)
            .serve_connection(io, TowerToHyperService::new(app.clone()))
            .with_upgrades();
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // Errors here are clients that went away or sent what is not HTTP; hyper has answered if it could.
            tokio::select! {
                ended = connection.as_mut() => drop(ended),
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    drop(connection.await);
                }
            }
            drop((place, peer));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "some connections did not end in time");
    }
}

/// Tells a peer with too many connections so. Best effort: a peer that does not read is not waited for.
fn refuse(stream: &TcpStream) {
    const BODY: &str = r#"{"error":{"message":"Too many connections from this address.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    drop(stream.try_write(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()));
}

/// Connections by where they come from.
#[derive(Clone, Debug)]
struct Peers {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place among those of its address; dropping it leaves.
struct Peer {
    of: IpAddr,
    peers: Peers,
}

impl Peers {
    fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// A place, unless the address has as many as it may have.
    fn enter(&self, ip: IpAddr) -> Option<Peer> {
        // Whoever has one IPv6 address has the 2^64 of its network.
        let of = match ip.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
            v4 => v4,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(of).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Peer { of, peers: self.clone() })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

/// A stream whose writes fail once nothing has left for a while: a peer that stops reading frees its resources.
struct Timed {
    inner: TcpStream,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    fn new(inner: TcpStream, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server of one page on loopback.
    async fn server(limits: Limits, timeouts: Timeouts) -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let app = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, app, limits, timeouts, stop.clone(), Duration::ZERO));
        (addr, stop)
    }

    async fn all(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text).await);
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn headers_that_never_end_free_their_connection() {
        let timeouts = Timeouts { client_headers_ms: 200, ..Timeouts::default() };
        let limits = Limits { connections: 2, connections_per_ip: 2, ..Limits::default() };
        let (addr, _stop) = server(limits, timeouts).await;
        // Each has sent half of its headers, and goes on byte by byte.
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-").await.unwrap();
            slow.push(stream);
        }
        let drip = tokio::spawn(async move {
            for stream in &mut slow {
                while stream.write_all(b"a").await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        });
        // All places are taken: this one waits in the kernel's queue until the slow ones are closed.
        let answer = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
                let answer = all(&mut stream).await;
                if answer.starts_with("HTTP/1.1 200") {
                    return answer;
                }
            }
        });
        assert!(answer.await.unwrap().ends_with("here"));
        drip.await.unwrap();
    }

    #[tokio::test]
    async fn one_address_has_no_more_than_its_share() {
        let limits = Limits { connections: 8, connections_per_ip: 2, ..Limits::default() };
        let (addr, _stop) = server(limits, Timeouts::default()).await;
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(ask).await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            held.push(stream);
        }
        let refused = all(&mut TcpStream::connect(addr).await.unwrap()).await;
        assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("rate_limit_exceeded"), "{refused}");
        drop(held.pop());
        // The place is free as soon as the server has seen the end of the other.
        let answer = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await);
                if all(&mut stream).await.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
        });
        answer.await.unwrap();
    }

    #[test]
    fn networks_share_what_they_have() {
        let peers = Peers::new(1);
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let first = peers.enter(ip("2001:db8::1")).unwrap();
        assert!(peers.enter(ip("2001:db8::ffff:1:2:3")).is_none());
        assert!(peers.enter(ip("2001:db8:0:1::1")).is_some());
        let mapped = peers.enter(ip("::ffff:1.2.3.4")).unwrap();
        assert!(peers.enter(ip("1.2.3.4")).is_none());
        drop((first, mapped));
        assert!(peers.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut timed = Timed::new(stream, Duration::from_millis(50));
        let chunk = vec![0u8; 1 << 16];
        let error = loop {
            if let Err(error) = timed.write_all(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(silent);
    }
}
