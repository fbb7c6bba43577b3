//! Tokenizers and templates that nobody should trust: refused by name, or bounded.

use serde_json::{Value, json};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizedString, PreTokenizer as _, SplitDelimiterBehavior};

use super::*;
use crate::testing::tiny_text;

fn with(change: impl FnOnce(&mut Value)) -> TextConfig {
    let mut config = tiny_text();
    let mut tokenizer: Value = serde_json::from_str(&config.tokenizer_json).unwrap();
    change(&mut tokenizer);
    config.tokenizer_json = tokenizer.to_string();
    config
}

/// Both doors are shut: that of the import and the sequencer, and that of whoever loads an artefact.
fn refusal(config: &TextConfig) -> String {
    let error = TextCodec::new(config, 320).map(|_| ()).unwrap_err();
    assert_eq!(check(config, 320), Err(error.clone()));
    error.to_string()
}

#[test]
fn parts_that_are_random_unbounded_or_panic_are_refused_by_name() {
    let refused = |path: &str, value: Value, word: &str| {
        let config = with(|t| *t.pointer_mut(path).unwrap() = value);
        let error = refusal(&config);
        assert!(error.contains(word), "{path}: {error}");
    };
    refused("/model/dropout", json!(0.1), "dropout");
    refused("/model/dropout", json!("0.1"), "dropout");
    refused("/model/continuing_subword_prefix", json!("##"), "continuing_subword_prefix");
    refused("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix");
    refused("/model/unk_token", json!("<none>"), "<none>");
    refused("/model/type", json!("Unigram"), "Unigram");
    refused("/model/vocab/t", json!(1), "twice");
    refused("/model/vocab/t", json!(u32::MAX), "4294967295");
    refused("/model/vocab/t", json!(-1), "-1");
    refused("/model/vocab/t", json!("1"), "\"1\"");
    // "Ġt" and "Ġt" together are longer than the longest token: the library would write past its buffer.
    refused("/model/merges/0", json!(["Ġthe", "Ġthe"]), "Ġthe");
    refused("/model/merges/0", json!(["Ġ"]), "no pair");
    refused("/model/merges/0", json!("Ġ t"), "no pair");
    refused("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "Precompiled");
    refused("/normalizer", json!({"type": "Lowercase"}), "Lowercase");
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    refused("/normalizer", replace(json!({"Regex": "(a*)*b"}), "x"), "Regex");
    refused("/normalizer", replace(json!({"String": ""}), "x"), "of nothing");
    refused("/normalizer", replace(json!({"String": "a"}), "aaaaaaaaa"), "9 times longer");
    refused("/normalizer", replace(json!({"String": "a"}), &"a".repeat(65)), "65 bytes");
    let grow = replace(json!({"String": "a"}), "aaa");
    refused("/normalizer", json!({"type": "Sequence", "normalizers": [grow, grow]}), "9 times longer");
    refused(
        "/normalizer",
        json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 9]}),
        "9 parts",
    );
    let nested = json!({"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]});
    refused("/normalizer", nested, "Sequence");
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    refused("/pre_tokenizer", split("(a|aa)+$"), "(a|aa)+$");
    refused("/pre_tokenizer", json!({"type": "UnicodeScripts"}), "UnicodeScripts");
    let twice = vec![tiny_pre_tokenizer(); 2];
    refused("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": twice}), "twice");
    refused("/decoder", json!({"type": "Metaspace"}), "Metaspace");
    let strip = json!({"type": "Strip", "content": "x", "start": 9, "stop": 9});
    refused("/decoder", json!({"type": "Sequence", "decoders": [strip]}), "Strip");
    let single = json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
    let twice = json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}});
    refused("/post_processor", twice, "post-processor");
    refused("/post_processor", json!({"type": "BertProcessing"}), "BertProcessing");
    refused("/added_tokens/0/id", json!(7), "<|endoftext|>");
    refused("/added_tokens/0/content", json!(""), "without text");
    refused("/added_tokens/0/content", json!("a\u{fdd0}b"), "noncharacter");
    refused("/added_tokens/0/content", json!("<|im_end|>"), "id of another");
    refused("/added_tokens/0/content", json!("new"), "id of another");
    refused("/version", json!("2.0"), "2.0");
    assert!(refusal(&with(|t| t["extra"] = json!(1))).contains("extra"));
    assert!(refusal(&with(|t| t["model"]["extra"] = json!(1))).contains("extra"));
    let long = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert!(refusal(&with(|t| t["model"]["vocab"][&long] = json!(300))).contains("1025 bytes"));
    let ends = TextConfig { eos_ids: (0..65).collect(), ..tiny_text() };
    assert!(refusal(&ends).contains("65 ids"));
}

fn tiny_pre_tokenizer() -> Value {
    serde_json::from_str::<Value>(&tiny_text().tokenizer_json).unwrap()["pre_tokenizer"].clone()
}

#[test]
fn many_special_tokens_are_refused() {
    let special = |i: usize| json!({"id": i, "content": format!("<{i}>"), "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let config = with(|t| t["added_tokens"] = (1000..1001 + MAX_SPECIALS).map(special).collect());
    let error = check(&config, 5000).unwrap_err().to_string();
    assert!(error.contains("2049 special tokens"), "{error}");
}

#[test]
fn an_id_that_the_library_would_not_give_is_refused() {
    let added = json!({"id": 300, "content": "<new>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let config = with(|t| t["added_tokens"].as_array_mut().unwrap().push(added));
    let error = TextCodec::new(&config, 320).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("can't have the id 300"), "{error}");
}

#[test]
fn what_models_of_the_family_have_is_taken() {
    let taken = |path: &str, value: Value| {
        let config = with(|t| *t.pointer_mut(path).unwrap() = value);
        assert_eq!(check(&config, 320), Ok(()), "{path}");
        TextCodec::new(&config, 320).unwrap().text_ids("Hello, 12 worlds\n").unwrap()
    };
    let plain = taken("/normalizer", Value::Null);
    // Qwen's files write empty affixes, Llama's a begin token.
    assert_eq!(taken("/model/continuing_subword_prefix", json!("")), plain);
    assert_eq!(taken("/model/dropout", json!(0.0)), plain);
    let begin = json!([{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
    let begins = json!({"type": "TemplateProcessing", "single": begin, "pair": [], "special_tokens": {}});
    let both = json!({"type": "Sequence", "processors": [tiny_pre_tokenizer(), begins]});
    assert_eq!(taken("/post_processor", both), plain);
    let digits = json!({"type": "Digits", "individual_digits": true});
    taken("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [digits, tiny_pre_tokenizer()]}));
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    taken("/pre_tokenizer", metaspace);
    taken("/normalizer", json!({"type": "NFC"}));
}

/// The engine of the regular expressions gives up with a panic after ten million steps back: no text that is taken
/// leads it there.
#[test]
fn the_longest_texts_are_split_by_every_pattern() {
    let most = |piece: &str| piece.repeat(MAX_TEXT_BYTES / piece.len());
    let texts = ["A", " ", "\u{300}A"].map(most);
    for pattern in admit::PATTERNS {
        let pattern = SplitPattern::Regex(pattern.into());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
        for text in &texts {
            let mut text = PreTokenizedString::from(text.as_str());
            split.pre_tokenize(&mut text).unwrap();
        }
    }
}

/// A thread as small as the smallest that a program of ours serves on.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

fn template(source: &str) -> Result<String, TextError> {
    ChatTemplate::new(source, "<s>", "</s>")?.render(&[Message::new("user", "hi")])
}

#[test]
fn no_template_is_too_deep_for_the_stack() {
    on_a_small_stack(|| {
        let filled = |before: &str, piece: &str, after: &str| {
            let room = MAX_TEMPLATE_BYTES - before.len() - after.len();
            format!("{before}{}{after}", piece.repeat(room / piece.len()))
        };
        // Chains of operators, filters, attributes, calls and negations, as long as a template may be.
        for (before, piece, after) in [
            ("{{ 1", "+1", " }}"),
            ("{{ messages", "|a", " }}"),
            ("{{ messages", ".a", " }}"),
            ("{{ messages", "[0]", " }}"),
            ("{{ messages", "()", " }}"),
            ("{{ ", "not ", "1 }}"),
            ("{{ ", "-", "1 }}"),
            ("{{ ", "(", "1"),
            ("{{ ", "[", "1"),
            ("{{ 1", " if 1 else 1", " }}"),
            ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
            ("", "{% if 1 %}", ""),
            ("{{ 1", " and 1", " }}"),
            ("{{ 1", "<1", " }}"),
            ("{{ 1", "~1", " }}"),
            ("{{ 1", "**1", " }}"),
        ] {
            let source = filled(before, piece, after);
            let _ = template(&source);
        }
        assert_eq!(
            template(&"x".repeat(MAX_TEMPLATE_BYTES + 1)),
            Err(TextError::Template(format!("65537 bytes: at most {MAX_TEMPLATE_BYTES} are allowed")))
        );
    });
}

#[test]
fn no_value_is_too_deep_for_the_stack() {
    on_a_small_stack(|| {
        // As many lists in lists as the instructions allow, then everything that walks through them.
        let lists = "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% for b in range(18) %}{% set n.x = [n.x] %}{% endfor %}{% endfor %}";
        for last in [
            "",
            "{{ n.x }}",
            "{{ n.x|tojson }}",
            "{{ n.x|string|length }}",
            "{{ n.x == [n.x] }}",
            "{{ [n.x, n.x]|sort|length }}",
            "{{ [n.x, n.x]|unique|list|length }}",
            "{{ n.x|pprint }}",
            "{{ [n.x]|join }}",
            "{{ {'a': n.x}|items|list|length }}",
        ] {
            let out = template(&format!("{lists}{last}"));
            assert!(!matches!(out, Err(TextError::Template(_))), "{last}: {out:?}");
        }
        let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(template(recursive).is_err());
    });
}
