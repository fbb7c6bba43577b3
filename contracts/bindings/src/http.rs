//! JSON-RPC over HTTP(S), carried by the workspace's own HTTP client.
//!
//! alloy's ready-made transport would bring a second HTTP client and a second TLS stack into every
//! program that reads L1. This one is a `tower` service of the same shape.

use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_provider::RootProvider;
use alloy_rpc_client::RpcClient;
use alloy_transport::{TransportError, TransportErrorKind, TransportFut, TransportResult};

/// Most bytes of an answer. A node table of 4096 slots takes about 1.3 MB as hex.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an endpoint can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not an HTTP URL.
    #[error("{url}: not an http:// or https:// URL of a JSON-RPC endpoint")]
    Url {
        /// What was given.
        url: String,
    },
    /// The HTTP client can't be made.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A provider that reads one endpoint. Makes no request yet.
///
/// `timeout` bounds each request from start to end.
///
/// # Errors
/// [`ConnectError`].
pub fn connect(url: &str, timeout: Duration) -> Result<RootProvider, ConnectError> {
    let wrong = || ConnectError::Url { url: url.to_owned() };
    let url: reqwest::Url = url.parse().map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    let local = url.host_str().is_some_and(|h| h == "127.0.0.1" || h == "localhost" || h == "[::1]");
    let mut client = reqwest::Client::builder().timeout(timeout).connect_timeout(CONNECT_TIMEOUT);
    if local {
        // A proxy of the environment knows nothing of this machine's own ports.
        client = client.no_proxy();
    }
    let transport = Http { client: client.build()?, url };
    Ok(RootProvider::new(RpcClient::new(transport, local)))
}

/// The transport.
#[derive(Clone, Debug)]
struct Http {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Http {
    async fn exchange(self, request: RequestPacket) -> TransportResult<ResponsePacket> {
        let mut answer =
            self.client.post(self.url).json(&request).send().await.map_err(TransportErrorKind::custom)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(TransportErrorKind::custom)? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
                return Err(TransportErrorKind::custom_str("the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        let text = || String::from_utf8_lossy(&body).into_owned();
        // Some endpoints send JSON-RPC errors with a status of their own; those that parse are taken as such.
        match serde_json::from_slice(&body) {
            Ok(packet) => Ok(packet),
            Err(_) if !status.is_success() => Err(TransportErrorKind::http_error(status.as_u16(), text())),
            Err(error) => Err(TransportError::deser_err(error, text())),
        }
    }
}

impl tower::Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
