"""llama.cpp on the ids of a file: prefill and decode, by its own counters.

    llama_speed.py GGUF IDS.json THREADS PROMPT DECODE

Answers every line `round` with one line of JSON. The prompt is evaluated in one go; then DECODE ids of the text are
taken in one by one, so that sampling costs nothing.
"""

import json
import sys

import llama_cpp
from llama_cpp import Llama

gguf, ids = sys.argv[1], json.load(open(sys.argv[2]))
threads, prompt, decode = map(int, sys.argv[3:6])

llama = Llama(
    model_path=gguf, n_ctx=1024, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False, no_perf=False
)


def evaluate(part):
    llama.eval(part)
    # The counters move when the computation is waited for.
    llama_cpp.llama_synchronize(llama.ctx)


for line in sys.stdin:
    if line.strip() != "round":
        sys.exit(f"unknown command {line!r}")
    llama.reset()
    llama_cpp.llama_perf_context_reset(llama.ctx)
    evaluate(ids[:prompt])
    for i in range(prompt, prompt + decode):
        evaluate(ids[i : i + 1])
    perf = llama_cpp.llama_perf_context(llama.ctx)
    if perf.n_p_eval != prompt or perf.n_eval != decode or perf.t_p_eval_ms <= 0 or perf.t_eval_ms <= 0:
        sys.exit(f"the counters do not add up: {perf.n_p_eval} of {prompt}, {perf.n_eval} of {decode}")
    answer = {
        "prefill_tok_s": 1e3 * perf.n_p_eval / perf.t_p_eval_ms,
        "decode_tok_s": 1e3 * perf.n_eval / perf.t_eval_ms,
    }
    print(json.dumps(answer), flush=True)
