//! Connecting to a sequencer: `ws://` or `wss://`, always from the node outwards.

use crate::error::{Error, Result};
use monai_protocol::Address;
use monai_protocol::wire::MAX_FRAME_BYTES;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// The path of the nodes' endpoint, where a URL names none.
const NODE_PATH: &str = "/v1/node";

/// A connection.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A sequencer to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The endpoint.
    pub url: String,
    /// The key that it has to have; hellos are signed for this key only.
    pub sequencer: Address,
}

impl Target {
    /// Reads `ws://host[:port][/path][#0xaddress]`. The address after `#` wins over `default`.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn parse(text: &str, default: Option<Address>) -> Result<Self> {
        let (url, address) = match text.split_once('#') {
            Some((url, address)) => {
                let address = address.to_ascii_lowercase().parse();
                (url, Some(address.map_err(|e| Error::Usage(format!("{text}: the key after #: {e}")))?))
            }
            None => (text, default),
        };
        let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
        let Some(rest) = rest.filter(|r| !r.is_empty()) else {
            return Err(Error::Usage(format!("{text:?} is no ws:// or wss:// URL")));
        };
        let sequencer = address.ok_or_else(|| {
            Error::Missing(format!(
                "the key of {url} is not known: give an anchors file, or the URL as {url}#0xADDRESS"
            ))
        })?;
        let url = match rest.split_once('/') {
            None => format!("{url}{NODE_PATH}"),
            Some((_, "")) => format!("{}{NODE_PATH}", url.trim_end_matches('/')),
            Some(_) => url.to_owned(),
        };
        Ok(Self { url, sequencer })
    }

    /// Opens a connection. Small frames leave at once (no Nagle).
    pub(super) async fn connect(&self) -> std::result::Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        let (socket, _) = connect_async_with_config(self.url.as_str(), Some(limits), true).await?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_get_the_path_and_the_key() {
        let a = Address([1; 20]);
        let t = |s: &str| Target::parse(s, Some(a)).unwrap();
        assert_eq!(t("ws://h:1").url, "ws://h:1/v1/node");
        assert_eq!(t("wss://h/").url, "wss://h/v1/node");
        assert_eq!(t("wss://h/x/node").url, "wss://h/x/node");
        let own = t(&format!("ws://h#0x{}", "Ab".repeat(20)));
        assert_eq!((own.url.as_str(), own.sequencer), ("ws://h/v1/node", Address([0xab; 20])));
        for bad in ["http://h", "ws://", "h:1", "ws://h#0x12"] {
            assert!(Target::parse(bad, Some(a)).is_err(), "{bad}");
        }
        assert!(matches!(Target::parse("ws://h", None), Err(Error::Missing(_))));
    }

    /// TLS has a crypto provider, and what does not speak it is an error, not a panic.
    #[tokio::test]
    async fn a_server_without_tls_is_an_error() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        });
        let error = Target::parse(&url, Some(Address([1; 20]))).unwrap().connect().await.unwrap_err();
        assert!(
            matches!(
                error,
                tokio_tungstenite::tungstenite::Error::Io(_) | tokio_tungstenite::tungstenite::Error::Tls(_)
            ),
            "{error}"
        );
        server.await.unwrap();
    }
}
