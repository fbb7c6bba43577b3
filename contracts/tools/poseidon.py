#!/usr/bin/env python3
"""Derives the constants of Poseidon over BN254 (t = 3, R_F = 8, R_P = 57, x^5) and writes
src/libraries/PoseidonConstants.sol. The derivation is the Grain LFSR of the Poseidon paper, so
nothing here is copied from another implementation; the known answer for [1, 2] is checked first.
With --vectors it writes the test vectors that the Solidity tests read."""
import sys, json, random

P = 21888242871839275222246405745257275088548364400416034343698204186575808495617
N, T, RF, RP = 254, 3, 8, 57


def grain():
    s = []
    for value, width in ((1, 2), (0, 4), (N, 12), (T, 12), (RF, 10), (RP, 10), ((1 << 30) - 1, 30)):
        s += [(value >> i) & 1 for i in range(width - 1, -1, -1)]

    def step():
        b = s[62] ^ s[51] ^ s[38] ^ s[23] ^ s[13] ^ s[0]
        s.pop(0)
        s.append(b)
        return b

    for _ in range(160):
        step()
    while True:
        while step() == 0:
            step()
        yield step()


def constants():
    bits = grain()
    draw = lambda: sum(next(bits) << i for i in range(N - 1, -1, -1))
    rounds = []
    while len(rounds) < (RF + RP) * T:
        v = draw()
        if v < P:
            rounds.append(v)
    while True:
        xs = [draw() % P for _ in range(2 * T)]
        if len(set(xs)) == 2 * T:
            break
    return rounds, [[pow(xs[i] + xs[T + j], -1, P) for j in range(T)] for i in range(T)]


C, M = constants()


def poseidon2(left, right):
    s = [0, left, right]
    for r in range(RF + RP):
        s = [(s[i] + C[T * r + i]) % P for i in range(T)]
        full = r < RF // 2 or r >= RF // 2 + RP
        s = [pow(x, 5, P) if full or i == 0 else x for i, x in enumerate(s)]
        s = [sum(M[i][j] * s[j] for j in range(T)) % P for i in range(T)]
    return s[0]


def main():
    assert poseidon2(1, 2) == 7853200120776062878684798364095072458815029376092732009249414926327459813530
    if "--vectors" in sys.argv:
        rnd = random.Random(1)
        pairs = [(0, 0), (1, 2), (P - 1, P - 1)] + [(rnd.randrange(P), rnd.randrange(P)) for _ in range(13)]
        out = {"left": [hex(a) for a, _ in pairs], "right": [hex(b) for _, b in pairs],
               "hash": ["0x%064x" % poseidon2(a, b) for a, b in pairs]}
        print(json.dumps(out, indent=1))
        return
    rows = "\n".join('        hex"%s"' % "".join("%064x" % c for c in C[i:i + 3]) for i in range(0, len(C), 3))
    m = "\n".join("uint256 constant POSEIDON_M%d%d = 0x%064x;" % (i, j, M[i][j]) for i in range(T) for j in range(T))
    print(f"""// SPDX-License-Identifier: MIT
// Written by tools/poseidon.py; do not edit.
pragma solidity ^0.8.28;

/// @dev Order of the scalar field of BN254.
uint256 constant BN254_R = {P};

{m}

library PoseidonConstants {{
    /// @dev The {len(C)} round constants, three for each of the {RF + RP} rounds.
    bytes internal constant ROUNDS =
{rows};
}}""")


main()
