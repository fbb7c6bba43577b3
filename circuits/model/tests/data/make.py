"""Makes the test vectors in this folder with other people's programs; run it only to add to them.

    pip install numpy gguf tokenizers && python3 make.py TEXT_FILE

dequant.json     blocks of every supported GGUF type, and what the gguf package makes of them (bits of each f32)
vocab-*.gguf     a small byte-level BPE, once for each pre-tokenizer name; vocab-smollm.gguf also has weights
tokens.json      texts, and their ids by the tokenizers package with each pre-tokenizer's published definition
"""
import json, sys
import numpy as np
import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

rng = np.random.default_rng(2)
Q = gguf.GGMLQuantizationType

vectors = {}
for name, blocks in dict(F32=8, F16=8, BF16=8, Q4_0=2, Q4_1=2, Q5_0=2, Q5_1=2, Q8_0=2, Q4_K=2, Q5_K=2, Q6_K=2).items():
    size = gguf.GGML_QUANT_SIZES[Q[name]][1]
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    halves = {'F32': [2], 'F16': [0], 'BF16': [0], 'Q4_0': [0], 'Q5_0': [0], 'Q8_0': [0], 'Q6_K': [208]}.get(name, [0, 2])
    for at in halves:  # no infinities or NaNs: keep exponents small
        raw[:, at + 1] = (raw[:, at + 1] & 0x83) | 0x34
    values = raw.view(np.float32) if name == 'F32' else raw.view(np.float16).astype(np.float32) if name == 'F16' \
        else gguf.quants.dequantize(raw.reshape(-1), Q[name])
    vectors[name] = dict(bytes=raw.tobytes().hex(), bits=[int(b) for b in np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(-1)])
json.dump(vectors, open('dequant.json', 'w'))

special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
trained = Tokenizer(models.BPE())
# Merges across digits, letters and punctuation, so that the pre-tokenizers below make a difference.
trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r" ?\S+[\r\n]*|\s+"), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
corpus = open(sys.argv[1]).read().splitlines(keepends=True) + [f"in {y}, 3.14159 and {y * 7}; it's {y}.\n" for y in range(1990, 2030)] * 4
trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=640, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
model = json.loads(trained.to_str())['model']
tokens = [t for t, _ in sorted(model['vocab'].items(), key=lambda kv: kv[1])]
merges = [tuple(m) for m in model['merges']]

LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
split = lambda p: pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
PRE = {
    'gpt-2': (None, pre_tokenizers.ByteLevel(add_prefix_space=False), False),
    'smollm': (None, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), False),
    'llama-bpe': (None, split(LLAMA), True),
    'qwen2': (normalizers.NFC(), split(LLAMA.replace('{1,3}', '')), False),
}
TEXTS = ['', 'Hello, world!', 'The year 2024 has 366 days; 3.14159.', "I'm sure they'LL say it's 'fine'.",
         '  two  spaces\tand a tab\n\n\nthree lines  \n', 'naïve café — “quoted” … ½ ²', 'e\u0301 combining, \u00e9 composed',
         '日本語のテキスト。中文也一样。', 'Привет, мир!', '😀👩‍👩‍👧‍👦🏳️‍🌈 emoji', 'a\u0000b\u007f\u00a0c\u200bd', 'x' * 40,
         '\r\n\r\nwindows\r\n', 'fn main() { println!("{:>8.3}", 1.0e-3); }', '     ', '\n', ' leading', 'trailing ',
         '<think>plain</think> <|im_end |>', 'weights are committed by the sequencer 123456789']
ids = {}
for name, (norm, pre, whole) in PRE.items():
    tok = Tokenizer(models.BPE(vocab=model['vocab'], merges=merges, ignore_merges=whole))
    if norm: tok.normalizer = norm
    tok.pre_tokenizer = pre
    tok.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in special])
    ids[name] = [tok.encode(t, add_special_tokens=False).ids for t in TEXTS]
    w = gguf.GGUFWriter(f'vocab-{name}.gguf', 'llama')
    w.add_name('vectors'); w.add_block_count(1); w.add_context_length(128); w.add_embedding_length(64)
    w.add_feed_forward_length(64); w.add_head_count(2); w.add_head_count_kv(1); w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_tokenizer_model('gpt2'); w.add_tokenizer_pre(name); w.add_token_list(tokens)
    w.add_token_types([3 if t in special else 1 for t in tokens]); w.add_token_merges([' '.join(m) for m in merges])
    w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_add_bos_token(False)
    w.add_chat_template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")
    if name == 'smollm':
        def add(name, rows, cols, kind):
            x = rng.normal(0, 1.5 / cols ** 0.5, (rows, cols)).astype(np.float32)
            w.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)
        one = lambda name: w.add_tensor(name, (1 + 0.1 * rng.normal(size=64)).astype(np.float32))
        add('token_embd.weight', 640, 64, Q.Q8_0); one('output_norm.weight'); one('blk.0.attn_norm.weight'); one('blk.0.ffn_norm.weight')
        for n, r, kind in (('attn_q', 64, Q.Q4_1), ('attn_k', 32, Q.F16), ('attn_v', 32, Q.BF16), ('attn_output', 64, Q.Q4_0),
                           ('ffn_gate', 64, Q.Q5_0), ('ffn_up', 64, Q.Q5_1), ('ffn_down', 64, Q.Q8_0)):
            add(f'blk.0.{n}.weight', r, 64, kind)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
json.dump(dict(texts=TEXTS, ids=ids), open('tokens.json', 'w'))
