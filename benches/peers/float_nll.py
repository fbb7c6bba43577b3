"""Loss of a Llama-family GGUF dequantised to f32, by a plain forward pass in numpy.

    float_nll.py GGUF IDS.json

Answers a line `nll` with the mean negative log-likelihood of all ids but the first, in nats. Matrices are f32 (BLAS),
the loss is f64. It reads the file itself and shares no code with what it is compared with.
"""

import json
import struct
import sys

import numpy as np

SCALAR = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class Reader:
    """The container: key-value pairs and where the tensors are."""

    def __init__(self, path):
        self.data = np.memmap(path, dtype=np.uint8, mode="r")
        self.at = 0
        if self.take(4) != b"GGUF" or self.scalar(4) not in (2, 3):
            sys.exit("not a GGUF of version 2 or 3")
        tensors, pairs = self.scalar(10), self.scalar(10)
        self.meta = {}
        for _ in range(pairs):
            key = self.text()
            self.meta[key] = self.value(self.scalar(4))
        self.info = {}
        for _ in range(tensors):
            name = self.text()
            shape = [self.scalar(10) for _ in range(self.scalar(4))]
            self.info[name] = (shape[::-1], self.scalar(4), self.scalar(10))
        align = self.meta.get("general.alignment", 32)
        self.start = (self.at + align - 1) // align * align

    def take(self, n):
        part = self.data[self.at : self.at + n].tobytes()
        self.at += n
        return part

    def scalar(self, kind):
        form = SCALAR[kind]
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self):
        return self.take(self.scalar(10)).decode("utf-8", "replace")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.scalar(4), self.scalar(10)
            return [self.value(inner) for _ in range(count)]
        return self.scalar(kind)

    def tensor(self, name):
        shape, kind, offset = self.info[name]
        count = int(np.prod(shape))
        raw = self.data[self.start + offset :]
        if kind == 0:
            flat = raw[: 4 * count].view(np.float32)
        elif kind == 1:
            flat = raw[: 2 * count].view(np.float16)
        elif kind == 3:  # Q4_1: scale, minimum, 32 nibbles, low ones first
            blocks = raw[: count // 32 * 20].reshape(-1, 20)
            scale, least = (blocks[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
            nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
            flat = nibbles.astype(np.float32) * scale + least
        elif kind == 8:  # Q8_0: scale, 32 bytes
            blocks = raw[: count // 32 * 34].reshape(-1, 34)
            scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
            flat = blocks[:, 2:].view(np.int8).astype(np.float32) * scale
        else:
            sys.exit(f"tensor {name} has a type that this script does not read: {kind}")
        return np.ascontiguousarray(flat, dtype=np.float32).reshape(shape)


def forward(reader, ids):
    """Logits after each id."""
    meta = {k.removeprefix("llama."): v for k, v in reader.meta.items()}
    heads, kv_heads = meta["attention.head_count"], meta["attention.head_count_kv"]
    eps, base = meta["attention.layer_norm_rms_epsilon"], meta.get("rope.freq_base", 10000.0)
    embedding = reader.tensor("token_embd.weight")
    width = embedding.shape[1] // heads
    n = len(ids)
    angles = np.arange(n)[:, None] * base ** (-np.arange(0, width, 2) / width)[None, :]
    cos, sin = np.cos(angles).astype(np.float32)[:, None], np.sin(angles).astype(np.float32)[:, None]
    mask = np.triu(np.full((n, n), -np.inf, dtype=np.float32), 1)

    def norm(x, name):
        return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + eps) * reader.tensor(name)

    def rope(x):  # pairs (2i, 2i + 1), the order of GGUF files of the Llama family
        even, odd = x[..., 0::2], x[..., 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)

    x = embedding[ids]
    for layer in range(meta["block_count"]):
        weight = lambda name: reader.tensor(f"blk.{layer}.{name}.weight")
        y = norm(x, f"blk.{layer}.attn_norm.weight")
        q = rope((y @ weight("attn_q").T).reshape(n, heads, width))
        k = rope((y @ weight("attn_k").T).reshape(n, kv_heads, width))
        v = (y @ weight("attn_v").T).reshape(n, kv_heads, width)
        out = np.empty((n, heads, width), dtype=np.float32)
        for head in range(heads):
            group = head // (heads // kv_heads)
            scores = q[:, head] @ k[:, group].T / np.sqrt(width).astype(np.float32) + mask
            e = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = e / e.sum(axis=1, keepdims=True) @ v[:, group]
        x = x + out.reshape(n, -1) @ weight("attn_output").T
        y = norm(x, f"blk.{layer}.ffn_norm.weight")
        gate = y @ weight("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ weight("ffn_up").T)) @ weight("ffn_down").T
    head = reader.tensor("output.weight") if "output.weight" in reader.info else embedding
    return norm(x, "output_norm.weight") @ head.T


def nll(path, ids):
    logits = forward(Reader(path), ids)
    total = 0.0
    for row, target in zip(logits[:-1], ids[1:]):
        row = row.astype(np.float64)
        top = row.max()
        total -= row[target] - top - np.log(np.exp(row - top).sum())
    return total / (len(ids) - 1)


for line in sys.stdin:
    if line.strip() != "nll":
        sys.exit(f"unknown command {line!r}")
    print(json.dumps(float(nll(sys.argv[1], json.load(open(sys.argv[2]))))), flush=True)
