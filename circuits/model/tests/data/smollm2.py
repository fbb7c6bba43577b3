"""Makes smollm2.json: ids of texts by the tokenizers package, with the vocabulary of SmolLM2-135M-Instruct.

    pip install gguf tokenizers && python3 smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf
"""
import json, sys
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

field = GGUFReader(sys.argv[1]).fields
get = lambda key: field[key].contents()
tokens, types = get('tokenizer.ggml.tokens'), get('tokenizer.ggml.token_type')
tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(' ')) for m in get('tokenizer.ggml.merges')]))
tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, kind in zip(tokens, types) if kind == 3])
texts = json.load(open('tokens.json'))['texts']
chat = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nName the capital of France.<|im_end|>\n<|im_start|>assistant\n'
ids = lambda t: tok.encode(t, add_special_tokens=False).ids
json.dump(dict(texts=texts, ids=[ids(t) for t in texts], chat=ids(chat)), open('smollm2.json', 'w'))
