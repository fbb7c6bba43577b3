//! Server-sent events, as far as the OpenAI API uses them: `data:` lines, a blank line ends an event.

/// Most bytes of one event; a chunk with log-probabilities has some kilobytes.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// Why a stream is no stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is longer than anything real.
    #[error("an event exceeds {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

/// Cuts bytes, as they come, into the data of events. Bytes of one character may come in two pieces.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_cr: bool,
}

impl SseParser {
    /// Takes bytes in and returns the data of all events that they complete.
    ///
    /// # Errors
    /// [`SseError`]; the parser is of no use after it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            // A line ends with LF, CR, or CR LF.
            if byte == b'\n' && std::mem::take(&mut self.after_cr) {
                continue;
            }
            self.after_cr = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                events.extend(self.end_line()?);
            } else {
                self.line.push(byte);
                if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                    return Err(SseError::TooLong);
                }
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<String>, SseError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(std::mem::take(&mut self.has_data).then(|| std::mem::take(&mut self.data)));
        }
        let line = String::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        // Comments, and fields that this API does not use, are skipped.
        if let Some(value) = line.strip_prefix("data:") {
            if self.has_data {
                self.data.push('\n');
            }
            self.has_data = true;
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_events() {
        let text = ": keep-alive\n\ndata: {\"a\":\"é\"}\r\n\r\nevent: x\ndata:1\ndata: 2\n\ndata: [DONE]\n\n";
        let expected = ["{\"a\":\"é\"}", "1\n2", "[DONE]"];
        for cut in 0..=text.len() {
            let mut parser = SseParser::default();
            let (a, b) = text.as_bytes().split_at(cut);
            let mut events = parser.push(a).unwrap();
            events.extend(parser.push(b).unwrap());
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn endless_events_end() {
        let mut parser = SseParser::default();
        assert_eq!(parser.push(&vec![b'x'; MAX_EVENT_BYTES + 1]), Err(SseError::TooLong));
        assert_eq!(SseParser::default().push(b"data: \xff\n\n"), Err(SseError::NotUtf8));
    }
}
