//! Stop strings, trimmed from the text here. The signed answer ends on ids only and stays whole.

/// Cuts a stream of text before the first stop string in it.
#[derive(Debug, Clone)]
pub(super) struct StopTrimmer {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopTrimmer {
    /// A trimmer for these strings; empty ones are ignored.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|s| !s.is_empty()).collect(),
            held: String::new(),
            stopped: false,
        }
    }

    /// True once a stop string has come.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes text in and returns what is certain to stand before every stop string.
    pub(super) fn push(&mut self, text: &str) -> String {
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

    /// What was held back, at the end of the text.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of `text` that could begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len()).rev().find(|&n| stop.is_char_boundary(n) && text.ends_with(&stop[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut t = StopTrimmer::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut out: String = pieces.iter().map(|p| t.push(p)).collect();
        out.push_str(&t.finish());
        (out, t.stopped())
    }

    #[test]
    fn any_cut_gives_the_same_text() {
        let text = "one two\nthree é END four";
        for (stops, expected, stopped) in [
            (vec!["END"], "one two\nthree é ", true),
            (vec!["\n", "END"], "one two", true),
            (vec!["é END"], "one two\nthree ", true),
            (vec!["ENDS"], text, false),
            (vec![""], text, false),
        ] {
            for cut in (0..=text.len()).filter(|&c| text.is_char_boundary(c)) {
                let (a, b) = text.split_at(cut);
                assert_eq!(run(&stops, &[a, b]), (expected.to_owned(), stopped), "{stops:?} at {cut}");
            }
            let single: Vec<String> = text.chars().map(String::from).collect();
            let single: Vec<&str> = single.iter().map(String::as_str).collect();
            assert_eq!(run(&stops, &single), (expected.to_owned(), stopped));
        }
    }

    #[test]
    fn text_is_not_held_longer_than_needed() {
        let mut t = StopTrimmer::new(vec!["ab".into()]);
        assert_eq!(t.push("xa"), "x");
        assert_eq!(t.push("c"), "ac");
        assert_eq!(t.push("a"), "");
        assert_eq!(t.push("b"), "");
        assert!(t.stopped());
    }
}
