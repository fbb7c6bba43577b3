//! The relations' formulas against the same formulas over 256-bit integers modulo the field's characteristic.
//!
//! The second arithmetic shares no code with the field library and passes numbers by reference only, so this fails where
//! a formula is changed and where the compiler evaluates one wrongly at this profile's optimisation level (see
//! `docs/statement.md`, section 8).

use alloy_primitives::{U256, uint};
use ark_ff::{BigInteger, PrimeField};
use monai_inference::relations::{FfnRows, Gated, NormRows, Norms, Rope, Select, SoftRows, Squares, Summand};
use monai_inference::sumcheck::{Stripped, interpolate, round_at};
use monai_protocol::Fr;

const MODULUS: U256 = uint!(0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001_U256);

/// An integer modulo the characteristic.
#[derive(Clone, Debug, PartialEq)]
struct N(U256);

impl N {
    fn of(n: u64) -> Self {
        Self(U256::from(n))
    }
    fn pow2(n: usize) -> Self {
        Self(U256::from(1u64) << n)
    }
    fn plus(&self, other: &Self) -> Self {
        Self(self.0.add_mod(other.0, MODULUS))
    }
    fn minus(&self, other: &Self) -> Self {
        Self(self.0.add_mod(MODULUS - other.0, MODULUS))
    }
    fn times(&self, other: &Self) -> Self {
        Self(self.0.mul_mod(other.0, MODULUS))
    }
    fn field(&self) -> Fr {
        Fr::from_be_bytes_mod_order(&self.0.to_be_bytes::<32>())
    }
    fn from_field(x: &Fr) -> Self {
        Self(U256::from_be_slice(&x.into_bigint().to_bytes_be()))
    }
}

/// Numbers that fill the field.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> N {
        let mut limbs = [0u64; 4];
        for limb in &mut limbs {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *limb = self.0 ^ (self.0 >> 29);
        }
        N(U256::from_limbs(limbs) % MODULUS)
    }
    fn many<const K: usize>(&mut self) -> [N; K] {
        std::array::from_fn(|_| self.next())
    }
}

fn agrees<S: Summand>(summand: &S, factors: &[N], want: &N) {
    let fields: Vec<Fr> = factors.iter().map(N::field).collect();
    assert_eq!(fields.len(), S::FACTORS);
    assert_eq!(&N::from_field(&summand.combine(&fields)), want);
}

#[test]
fn the_characteristic_is_the_field_s() {
    assert_eq!(U256::from_limbs(Fr::MODULUS.0), MODULUS);
}

#[test]
fn row_equations() {
    let mut r = Numbers(1);
    for _ in 0..200 {
        let f: [N; 5] = r.many();
        let gamma = r.next();
        let [eq, inv, z, rho, slack] = &f;
        let first = inv.times(z).plus(rho).minus(&N::pow2(32));
        let second = z.minus(&N::of(1)).minus(rho).minus(slack);
        let want = eq.times(&first.plus(&gamma.times(&second)));
        agrees(&SoftRows { row: Vec::new(), gamma: gamma.field() }, &f, &want);

        let f: [N; 6] = r.many();
        let [eq, inv, a, b, sum, eps] = &f;
        let c = N::of(32_767 << 16);
        let c2 = c.times(&c);
        let s = sum.plus(eps);
        let next = inv.plus(&N::of(1));
        let first = inv.times(inv).times(&s).plus(a).minus(&c2);
        let second = next.times(&next).times(&s).minus(&c2).minus(&N::of(1)).minus(b);
        let want = eq.times(&first.plus(&gamma.times(&second)));
        agrees(&NormRows { norms: Norms::Heads, row: Vec::new(), gamma: gamma.field() }, &f, &want);

        let f: [N; 6] = r.many();
        let [eq, nonzero, down, sign, slack, product] = &f;
        let y = N::of(2).times(down).times(product).plus(&N::pow2(31));
        let side = N::of(1).minus(&N::of(2).times(sign));
        let overflow = side.times(&y).minus(&N::pow2(47)).minus(sign).minus(slack);
        let bit = sign.times(sign).minus(sign);
        let want = eq.times(&nonzero.times(&overflow).plus(&gamma.times(&bit)));
        agrees(&FfnRows { row: Vec::new(), gamma: gamma.field() }, &f, &want);
    }
}

#[test]
fn products() {
    let mut r = Numbers(2);
    for _ in 0..200 {
        let f: [N; 6] = r.many();
        let gamma = r.next();
        let [silu, u, e1, down, e2, pointer] = &f;
        let inner = e1.times(down).plus(&gamma.times(e2).times(pointer));
        let gated = Gated {
            weights: Vec::new(),
            column: Vec::new(),
            row: Vec::new(),
            pointed: Vec::new(),
            gamma: gamma.field(),
        };
        agrees(&gated, &f, &silu.times(u).times(&inner));

        let f: [N; 5] = r.many();
        let [a, ec, cos, es, sin] = &f;
        let rope = Rope { weights: Vec::new(), column: Vec::new(), row: Vec::new() };
        agrees(&rope, &f, &a.times(&ec.times(cos).plus(&es.times(sin))));

        let f: [N; 2] = r.many();
        let [eq, h] = &f;
        agrees(&Squares { norms: Norms::Residual, row: Vec::new() }, &f, &eq.times(h).times(h));

        let f: [N; 6] = r.many();
        let powers: [N; 8] = r.many();
        let [w, keep, below, e, linear, kept] = &f;
        let [g0, g1, _, _, g4, ..] = &powers;
        let weighted = linear.plus(&keep.times(kept)).plus(&g4.times(below).times(e));
        let counted = e.times(&g0.times(keep).plus(&g1.times(below)));
        let select = Select { row: Vec::new(), powers: std::array::from_fn(|i| powers[i].field()) };
        agrees(&select, &f, &w.times(&weighted).plus(&counted));
    }
}

#[test]
fn rounds() {
    let mut r = Numbers(3);
    for degree in 1..=5usize {
        let coefficients: Vec<N> = (0..=degree).map(|_| r.next()).collect();
        let at = |x: &N| coefficients.iter().rev().fold(N::of(0), |acc, c| acc.times(x).plus(c));
        let values: Vec<Fr> = (0..=degree as u64).map(|i| at(&N::of(i)).field()).collect();
        let x = r.next();
        assert_eq!(N::from_field(&interpolate(&values, x.field())), at(&x));
        let claim = at(&N::of(0)).plus(&at(&N::of(1)));
        let sent: Vec<Fr> = values.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, v)| *v).collect();
        let end = round_at(claim.field(), &sent, x.field()).unwrap();
        assert_eq!(N::from_field(&end), at(&x));
    }
    for _ in 0..50 {
        // bound l(X) t(X), with l the equality factor of r and t a quadratic.
        let [bound, point, t0, t1, leading, x]: [N; 6] = r.many();
        let l = |x: &N| {
            let one = N::of(1);
            let slope = point.plus(&point).minus(&one);
            bound.times(&one.minus(&point).plus(&slope.times(x)))
        };
        let middle = t1.minus(&t0).minus(&leading);
        let t = |x: &N| t0.plus(&middle.times(x)).plus(&leading.times(x).times(x));
        let claim = l(&N::of(0)).times(&t0).plus(&l(&N::of(1)).times(&t1));
        let state = Stripped { claim: claim.field(), bound: bound.field() };
        let next = state.round(point.field(), t0.field(), leading.field(), x.field()).unwrap();
        assert_eq!(N::from_field(&next.bound), l(&x));
        assert_eq!(N::from_field(&next.claim), l(&x).times(&t(&x)));
    }
}
