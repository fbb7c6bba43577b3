//! Keeps special tokens out of what users write.

/// A noncharacter that no text has for interchange: the tokenizer drops it after it has looked for special tokens.
pub(super) const MARKER: char = '\u{fdd0}';

/// Returns the text with markers at every place where a special token stands or could come about together with text
/// before or after it. Markers of the text itself become the replacement character.
///
/// # Soundness
/// A special token `s` that is matched in the rendered text lies inside the content, or starts or ends in it, or
/// contains all of it. Inside: the first character of each occurrence is followed by a marker. Ends in it: then the
/// content starts with a proper suffix of `s`, and a marker stands before its last character. Starts in it: then the
/// content ends with a proper prefix of `s`, and a marker follows its first character. Contains it: then the content is
/// a part of `s`, and a marker follows its first character. Templates may trim white space from the content, so the
/// same holds for it without leading and trailing white space. No special token contains the marker.
pub(super) fn guard(content: &str, specials: &[String]) -> String {
    let clean = content.replace(MARKER, "\u{fffd}");
    let mut cuts = Vec::new();
    for s in specials {
        let Some(first) = s.chars().next() else { continue };
        let Some(last) = s.chars().next_back() else { continue };
        let mut from = 0;
        while let Some(at) = clean[from..].find(s.as_str()) {
            // Occurrences may overlap: the search goes on one character later.
            from += at + first.len_utf8();
            cuts.push(from);
        }
        for view in [clean.as_str(), clean.trim()] {
            let offset = view.as_ptr() as usize - clean.as_ptr() as usize;
            for (i, _) in s.char_indices().skip(1) {
                if view.starts_with(&s[i..]) {
                    cuts.push(offset + s.len() - i - last.len_utf8());
                }
                if view.ends_with(&s[..i]) {
                    cuts.push(offset + view.len() - i + first.len_utf8());
                }
            }
            if !view.is_empty() && s.contains(view) {
                cuts.push(offset + view.chars().next().map_or(0, char::len_utf8));
            }
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = String::with_capacity(clean.len() + cuts.len() * MARKER.len_utf8());
    let mut done = 0;
    for cut in cuts {
        out.push_str(&clean[done..cut]);
        out.push(MARKER);
        done = cut;
    }
    out.push_str(&clean[done..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPECIALS: [&str; 5] = ["<|im_start|>", "<|im_end|>", "</s>", "<s>", "aba"];

    fn specials() -> Vec<String> {
        SPECIALS.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "Hello <b>world</b>", "x < b |> c", "söme ünicode 😀\n"] {
            assert_eq!(guard(text, &specials()), text);
        }
        assert_eq!(guard("x\u{fdd0}y", &specials()), "x\u{fffd}y");
    }

    proptest! {
        #[test]
        fn no_special_token_survives_in_any_context(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["<|im_start|>", "<|im_end|>", "</s>", "<s>", "<", "|", ">", "im_", "s", "/", " ", "\n", "a", "b", "ab", "ba", "|im_end|", "x"]), 0..8),
            special in prop::sample::select(SPECIALS.to_vec()),
            (cut, end) in (0usize..13, 0usize..13),
            trim: bool,
        ) {
            let content = pieces.concat();
            let guarded = guard(&content, &specials());
            prop_assert_eq!(guarded.replace(MARKER, ""), content);
            let shown = if trim { guarded.trim() } else { guarded.as_str() };
            // A template that writes a part of a special token before and after the content.
            let (before, after) = (&special[..cut.min(special.len())], &special[end.min(special.len())..]);
            let rendered = format!("{before}{shown}{after}");
            for s in SPECIALS {
                for (at, _) in rendered.match_indices(s) {
                    let inside = at < before.len() && at + s.len() <= before.len()
                        || at >= before.len() + shown.len();
                    let empty = shown.is_empty();
                    prop_assert!(inside || empty, "{s} at {at} of {rendered:?}");
                }
            }
        }
    }
}
