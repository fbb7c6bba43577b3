//! Stop strings, found across the borders of chunks.
//!
//! The receipt holds the whole answer; trimming is the gateway's, as ids know nothing of strings.

/// Passes text through until a stop string appears, and holds back what may be the beginning of one.
#[derive(Clone, Debug)]
pub struct StopFilter {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopFilter {
    /// A filter for these strings; empty ones are ignored.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|s| !s.is_empty()).collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// True once a stop string has appeared.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes text in and returns what may be shown now.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let keep = self.stops.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// The answer is over: what was held back was no stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest proper prefix of `stop` that `text` ends with.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len())
        .rev()
        .filter(|n| stop.is_char_boundary(*n))
        .find(|n| text.ends_with(&stop[..*n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], chunks: &[&str]) -> (Vec<String>, bool) {
        let mut f = StopFilter::new(stops.iter().map(|s| s.to_string()).collect());
        let mut out: Vec<String> = chunks.iter().map(|c| f.push(c)).collect();
        out.push(f.finish());
        (out, f.stopped())
    }

    #[test]
    fn across_chunks() {
        let (out, stopped) = run(&["END"], &["a E", "N", "D b"]);
        assert_eq!((out.concat().as_str(), stopped), ("a ", true));
        let (out, stopped) = run(&["END"], &["a E", "N", "x"]);
        assert_eq!((out, stopped), (vec!["a ".into(), String::new(), "ENx".into(), String::new()], false));
        let (out, _) = run(&["END"], &["a EN"]);
        assert_eq!(out.concat(), "a EN");
    }

    #[test]
    fn the_earliest_wins_and_nothing_follows() {
        let (out, stopped) = run(&["bb", "ab"], &["xaab", "more"]);
        assert_eq!((out.concat().as_str(), stopped), ("xa", true));
    }

    #[test]
    fn repeated_beginnings_and_wide_characters() {
        let (out, stopped) = run(&["aab"], &["a", "a", "a", "b"]);
        assert_eq!((out.concat().as_str(), stopped), ("a", true));
        let (out, stopped) = run(&[""], &["né", "→x"]);
        assert_eq!((out.concat().as_str(), stopped), ("né→x", false));
        let (out, stopped) = run(&["é→"], &["né", "→x"]);
        assert_eq!((out.concat().as_str(), stopped), ("n", true));
    }

    #[test]
    fn every_split_gives_the_same_text() {
        let text = "the cat sat on the mat, and that was that";
        for stop in ["at,", "that was", "zzz", "t"] {
            let want = text.find(stop).map_or(text, |i| &text[..i]);
            for a in 0..text.len() {
                for b in a..text.len() {
                    let (out, _) = run(&[stop], &[&text[..a], &text[a..b], &text[b..]]);
                    assert_eq!(out.concat(), want);
                }
            }
        }
    }
}
