//! Text from ids as they come.

use super::codec::TextCodec;

/// Turns ids into text, one by one. Only whole characters come out; bytes that are no UTF-8 become U+FFFD, as
/// `String::from_utf8_lossy` does it, so all pieces together are [`TextCodec::decode`] of all ids.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    /// Bytes that may be the start of a character.
    pending: Vec<u8>,
    started: bool,
}

impl TextStream {
    /// A stream at its start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text that becomes certain with this id; often empty.
    #[must_use]
    pub fn push(&mut self, codec: &TextCodec, id: u32) -> String {
        let mut bytes = codec.token_bytes(id);
        if !self.started && !bytes.is_empty() {
            self.started = true;
            if codec.strips_first_space() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.pending.extend_from_slice(bytes);
        let mut out = String::new();
        let mut done = 0;
        loop {
            match std::str::from_utf8(&self.pending[done..]) {
                Ok(text) => {
                    out.push_str(text);
                    done = self.pending.len();
                    break;
                }
                Err(e) => {
                    let valid = done + e.valid_up_to();
                    out.push_str(&String::from_utf8_lossy(&self.pending[done..valid]));
                    done = valid;
                    // Without an error length the rest is the start of a character that may still be completed.
                    let Some(bad) = e.error_len() else { break };
                    out.push(char::REPLACEMENT_CHARACTER);
                    done += bad;
                }
            }
        }
        self.pending.drain(..done);
        out
    }

    /// What is left when no id comes any more: nothing, or the replacement of a character that was never completed.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}
