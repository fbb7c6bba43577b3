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
    /// Announces that pair `i` will be read soon.
    fn announce(&self, i: usize);
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
    #[inline(always)]
    fn announce(&self, _: usize) {
        // A block's points are in the cache already.
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
    #[inline(always)]
    fn announce(&self, i: usize) {
        if let Some((a, _)) = self.pairs.get(i) {
            prefetch(self.target, *a as usize);
        }
    }
}

/// `points[a] += points[b]` for every pair `(a, b)`. No index may occur twice in all pairs.
pub(crate) fn add_within(points: &mut [Point], pairs: &[(u32, u32)], scratch: &mut Scratch) {
    for pairs in pairs.chunks(BATCH) {
        run(&mut Within { points, pairs }, pairs.len(), scratch);
    }
}

/// `target[a] += source[b]` for every pair `(a, b)`. No `a` may occur twice.
pub(crate) fn add_into(target: &mut [Point], source: &[Point], pairs: &[(u32, u32)], scratch: &mut Scratch) {
    for pairs in pairs.chunks(BATCH) {
        run(&mut Into { target, source, pairs }, pairs.len(), scratch);
    }
}

/// Additions ahead of the current one whose operands are fetched.
const AHEAD: usize = 12;

/// Asks for a point's cache line.
#[inline(always)]
pub(crate) fn prefetch(points: &[Point], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(p) = points.get(at) {
        // SAFETY: a prefetch is a hint without effect on memory, and the address is that of a reference.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>((&raw const *p).cast())
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (points, at);
}

fn run<O: Operands>(o: &mut O, n: usize, scratch: &mut Scratch) {
    scratch.denominators.clear();
    scratch.prefixes.clear();
    let mut product = Base::one();
    let mut plain = true;
    for i in 0..n {
        o.announce(i + AHEAD);
        let (p, q) = o.pair(i);
        let mut d = q.x - p.x;
        // Compared as they came from memory: comparing the fresh difference would wait for its store.
        if p.x == q.x || p.is_identity() || q.is_identity() {
            d = special_denominator(&p, &q);
            plain = false;
        }
        scratch.denominators.push(d);
        scratch.prefixes.push(product);
        product *= d;
    }
    // A product of non-zero factors.
    let inverse = Option::<Base>::from(product.invert()).unwrap_or(Base::one());
    if plain { slopes::<O, true>(o, n, scratch, inverse) } else { slopes::<O, false>(o, n, scratch, inverse) }
}

/// The backward pass. `PLAIN` says that the forward pass met no doubling, opposite or identity.
#[inline(always)]
fn slopes<O: Operands, const PLAIN: bool>(o: &mut O, n: usize, scratch: &Scratch, mut inverse: Base) {
    for i in (0..n).rev() {
        let (p, q) = o.pair(i);
        let inv = inverse * scratch.prefixes[i];
        inverse *= scratch.denominators[i];
        let numerator = if !PLAIN && (p.x == q.x || p.is_identity() || q.is_identity()) {
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
    if !p.is_identity() && p == q { p.y.double() } else { Base::one() }
}

#[cold]
fn special_numerator(p: &Point, q: &Point) -> Special {
    if p.is_identity() {
        return Special::Known(*q);
    }
    if q.is_identity() {
        return Special::Known(*p);
    }
    if p.y == q.y {
        let square = p.x.square();
        return Special::Slope(square.double() + square);
    }
    // p = -q: same x, opposite y.
    Special::Known(Point::IDENTITY)
}
