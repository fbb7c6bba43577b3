//! Many independent affine additions that share one inversion.
//!
//! An affine addition costs one inversion, two multiplications and a square; Montgomery's trick turns
//! the inversions of a batch into three multiplications each and one inversion in all. That is six
//! multiplications an addition, where a mixed Jacobian addition takes eleven.

use halo2curves::ff::Field;

use crate::commit::field::{Base, Point};

/// Additions in one batch: their working memory stays in the first-level cache's neighbourhood, and one
/// inversion (about 130 multiplications) spreads over them.
pub(crate) const BATCH: usize = 1024;

/// Working memory of a batch.
#[derive(Default)]
pub(crate) struct Scratch {
    denominators: Vec<Base>,
    prefixes: Vec<Base>,
}

/// Where a batch finds its operands and puts its sums.
trait Operands {
    fn pair(&self, i: usize) -> (Point, Point);
    fn put(&mut self, i: usize, sum: Point);
}

struct Within<'a> {
    points: &'a mut [Point],
    pairs: &'a [(u32, u32)],
}

impl Operands for Within<'_> {
    #[inline(always)]
    fn pair(&self, i: usize) -> (Point, Point) {
        let (a, b) = self.pairs[i];
        (self.points[a as usize], self.points[b as usize])
    }
    #[inline(always)]
    fn put(&mut self, i: usize, sum: Point) {
        self.points[self.pairs[i].0 as usize] = sum;
    }
}

struct Into<'a> {
    target: &'a mut [Point],
    source: &'a [Point],
    pairs: &'a [(u32, u32)],
}

impl Operands for Into<'_> {
    #[inline(always)]
    fn pair(&self, i: usize) -> (Point, Point) {
        let (a, b) = self.pairs[i];
        (self.target[a as usize], self.source[b as usize])
    }
    #[inline(always)]
    fn put(&mut self, i: usize, sum: Point) {
        self.target[self.pairs[i].0 as usize] = sum;
    }
}

/// `points[a] += points[b]` for every pair `(a, b)`. No index may occur twice in all pairs.
pub(crate) fn add_within(points: &mut [Point], pairs: &[(u32, u32)], scratch: &mut Scratch) {
    for pairs in pairs.chunks(BATCH) {
        run(&mut Within { points, pairs }, pairs.len(), scratch);
    }
}

/// `target[a] += source[b]` for every pair `(a, b)`. No `a` may occur twice.
pub(crate) fn add_into(
    target: &mut [Point],
    source: &[Point],
    pairs: &[(u32, u32)],
    scratch: &mut Scratch,
) {
    for pairs in pairs.chunks(BATCH) {
        run(&mut Into { target, source, pairs }, pairs.len(), scratch);
    }
}

#[inline(always)]
fn is_identity(p: &Point) -> bool {
    // No point of the curve has x = 0: 3 is no square modulo q. So one comparison is enough.
    p.x == Base::zero()
}

fn run<O: Operands>(o: &mut O, n: usize, scratch: &mut Scratch) {
    scratch.denominators.clear();
    scratch.prefixes.clear();
    let mut product = Base::one();
    for i in 0..n {
        let (p, q) = o.pair(i);
        let mut d = q.x - p.x;
        if d == Base::zero() || is_identity(&p) || is_identity(&q) {
            d = special_denominator(&p, &q);
        }
        scratch.denominators.push(d);
        scratch.prefixes.push(product);
        product *= d;
    }
    // A product of non-zero factors.
    let mut inverse = Option::<Base>::from(product.invert()).unwrap_or(Base::one());
    for i in (0..n).rev() {
        let (p, q) = o.pair(i);
        let inv = inverse * scratch.prefixes[i];
        inverse *= scratch.denominators[i];
        let numerator = if p.x == q.x || is_identity(&p) || is_identity(&q) {
            match special_numerator(&p, &q) {
                Special::Known(sum) => {
                    o.put(i, sum);
                    continue;
                }
                Special::Slope(numerator) => numerator,
            }
        } else {
            q.y - p.y
        };
        let slope = numerator * inv;
        let x = slope.square() - p.x - q.x;
        let y = slope * (p.x - x) - p.y;
        o.put(i, Point { x, y });
    }
}

enum Special {
    /// The sum needs no slope.
    Known(Point),
    /// The tangent's numerator, of a doubling.
    Slope(Base),
}

/// The denominator of a sum that is no plain addition; never zero.
#[cold]
fn special_denominator(p: &Point, q: &Point) -> Base {
    // There is no point of order two, so 2y is not zero.
    if !is_identity(p) && p == q { p.y.double() } else { Base::one() }
}

#[cold]
fn special_numerator(p: &Point, q: &Point) -> Special {
    if is_identity(p) {
        return Special::Known(*q);
    }
    if is_identity(q) {
        return Special::Known(*p);
    }
    if p.y == q.y {
        let square = p.x.square();
        return Special::Slope(square.double() + square);
    }
    // p = -q: same x, opposite y.
    Special::Known(Point { x: Base::zero(), y: Base::zero() })
}
