"""The integer program a second time, in numpy, from SEMANTICS.md and the artefact file alone.

    pip install numpy && python3 independent.py MODEL.monai IDS.json      a JSON array of ids

Prints the SHA-256 of the raw logits (little-endian i64) after the last id, and the id of the largest. tests/smollm2.rs
pins that digest: two implementations that share no code agree on all bits. Models with head norms are not covered.
"""
import hashlib, json, math, sys
import numpy as np

TYPES = dict(i8=np.int8, i16=np.int16, u16=np.uint16, i32=np.int32, u32=np.uint32, i64=np.int64)
up64 = lambda n: -(-n // 64) * 64
r16 = lambda a: (a + (1 << 15)) >> 16
r32 = lambda a: (a + (1 << 31)) >> 32


def read(path):
    data = np.memmap(path, dtype=np.uint8, mode='r')
    size = int(data[12:16].view(np.uint32)[0])
    header, at, out = json.loads(bytes(data[16:16 + size])), up64(16 + size), {}
    for s in header['sections']:
        size = s['rows'] * s['cols'] * (1 if s['kind'] == 'utf8' else np.dtype(TYPES[s['kind']]).itemsize)
        if s['kind'] != 'utf8':
            out[s['name']] = np.frombuffer(data[at:at + size], TYPES[s['kind']]).reshape(s['rows'], s['cols'])
        at = up64(at + size)
    return header['arch'], out


def logits(a, t, ids):
    n, e, heads, groups = len(ids), a['head_dim'], a['heads'], a['kv_heads']
    first = slice(0, None, 2) if a['pair_order'] == 'interleaved' else slice(0, e // 2)
    second = slice(1, None, 2) if a['pair_order'] == 'interleaved' else slice(e // 2, None)

    def linear(name, x):  # sums stay below 2^53, so float64 is exact
        acc = np.rint(x.astype(np.float64) @ t[name + '.weight'].astype(np.float64).T).astype(np.int64)
        return acc * t[name + '.multiplier'][0].astype(np.int64) + (t[name + '.bias'][0] if name + '.bias' in t else 0)

    def norm(h):
        out = np.empty_like(h)
        for i, row in enumerate(h):
            inv = math.isqrt((32767 << 16) ** 2 // (sum(int(v) ** 2 for v in row) + a['norm_eps']))
            out[i] = r16(row * inv)
        return out

    def rope(x, count):
        x, out = x.reshape(n, count, e), np.empty((n, count, e), np.int64)
        c, s = (t['tables.' + k][:n, None, :].astype(np.int64) for k in ('cos', 'sin'))
        p, q = x[..., first], x[..., second]
        out[..., first], out[..., second] = r32(p * c - q * s), r32(p * s + q * c)
        return np.repeat(out, heads // count, 1).transpose(1, 0, 2)

    h = r16(t['embedding.weight'][ids].astype(np.int64) * t['embedding.multiplier'][0][ids][:, None].astype(np.int64))
    exp, silu = t['tables.exp'][0].astype(np.int64), t['tables.silu'][0].astype(np.int64)
    future = np.triu(np.ones((n, n), bool), 1)
    for l in range(a['layers']):
        layer, x = f'layers.{l}.', norm(h)
        q, k = rope(linear(layer + 'q', x), heads), rope(linear(layer + 'k', x), groups)
        v = np.repeat(r16(linear(layer + 'v', x)).reshape(n, groups, e), heads // groups, 1).transpose(1, 0, 2)
        score = r16(np.matmul(q, k.transpose(0, 2, 1)) * int(t['score_multiplier'][0][l]))
        score[:, future] = -(1 << 60)
        d = score.max(-1, keepdims=True) - score
        weight = np.where(d < 1 << 16, exp[np.minimum(d, (1 << 16) - 1)], 0)
        out = r32(np.matmul(weight, v) * ((1 << 32) // weight.sum(-1, keepdims=True)))
        h = h + r16(linear(layer + 'o', out.transpose(1, 0, 2).reshape(n, -1)))
        x = norm(h)
        product = silu[r16(linear(layer + 'gate', x)) + (1 << 15)] * linear(layer + 'up', x)
        for i, row in enumerate(product):
            for exponent in range(16):
                gated = r32(row << (15 - exponent))
                if gated.min() >= -32768 and gated.max() <= 32767:
                    break
            h[i] += r32(linear(layer + 'down', gated[None])[0] << exponent)
    z = r16(norm(h[-1:]) * t['final_gain'][0].astype(np.int64))
    return linear('embedding' if a['tied_head'] else 'head', z)[0]


if __name__ == '__main__':
    arch, tensors = read(sys.argv[1])
    raw = logits(arch, tensors, json.load(open(sys.argv[2])))
    print(hashlib.sha256(raw.astype('<i8').tobytes()).hexdigest(), raw.argmax())
