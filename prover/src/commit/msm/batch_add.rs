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
pub(crate) struct Scratch {
    denominators: Vec<Base>,
    prefixes: Vec<Base>,
    plain: Vec<(u32, u32)>,
    #[cfg(target_arch = "x86_64")]
    lanes: Option<super::batch_lanes::LaneScratch>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            denominators: Vec::new(),
            prefixes: Vec::new(),
            plain: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            lanes: crate::kernels::lanes::available().then(Default::default),
        }
    }
}

#[cfg(test)]
impl Scratch {
    /// Never eight at once.
    fn scalar() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            lanes: None,
            ..Self::default()
        }
    }
}

/// Where a batch finds its operands and puts its sums.
pub(super) trait Operands {
    fn pair(&self, i: usize) -> (Point, Point) {
        let (p, q) = self.places(i);
        // SAFETY: both are places of points.
        unsafe { (*p, *q) }
    }
    /// Where the operands are, for pairs that exist.
    fn places(&self, i: usize) -> (*const Point, *const Point);
    /// Where the sum goes: the first operand's place.
    fn target(&mut self, i: usize) -> *mut Point;
    /// Announces that pair `i` will be read soon.
    fn announce(&self, i: usize);
}

struct Within<'a> {
    points: &'a mut [Point],
    pairs: &'a [(u32, u32)],
}

impl Operands for Within<'_> {
    #[inline(always)]
    fn places(&self, i: usize) -> (*const Point, *const Point) {
        let (a, b) = self.pairs[i];
        (&raw const self.points[a as usize], &raw const self.points[b as usize])
    }
    #[inline(always)]
    fn target(&mut self, i: usize) -> *mut Point {
        &raw mut self.points[self.pairs[i].0 as usize]
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
    fn places(&self, i: usize) -> (*const Point, *const Point) {
        let (a, b) = self.pairs[i];
        (&raw const self.target[a as usize], &raw const self.source[b as usize])
    }
    #[inline(always)]
    fn target(&mut self, i: usize) -> *mut Point {
        &raw mut self.target[self.pairs[i].0 as usize]
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
    let mut plain = std::mem::take(&mut scratch.plain);
    for pairs in pairs.chunks(BATCH) {
        // Buckets are empty at first; adding to them is no addition.
        plain.clear();
        for (i, (a, b)) in pairs.iter().enumerate() {
            if let Some((a, _)) = pairs.get(i + AHEAD) {
                prefetch(target, *a as usize);
            }
            let place = &mut target[*a as usize];
            if place.is_identity() {
                *place = source[*b as usize];
            } else {
                plain.push((*a, *b));
            }
        }
        run(&mut Into { target, source, pairs: &plain }, plain.len(), scratch);
    }
    scratch.plain = plain;
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

/// Fewer additions are not worth eight lanes.
#[cfg(target_arch = "x86_64")]
const LEAST: usize = 32;

fn run<O: Operands>(o: &mut O, n: usize, scratch: &mut Scratch) {
    #[cfg(target_arch = "x86_64")]
    if n >= LEAST
        && let Some(lanes) = &mut scratch.lanes
    {
        // SAFETY: there is working memory for lanes only where the processor has the features.
        if unsafe { super::batch_lanes::run(o, n, lanes) } {
            return;
        }
    }
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

#[inline(always)]
fn put<O: Operands>(o: &mut O, i: usize, sum: Point) {
    // SAFETY: the place of a point that nobody else refers to.
    unsafe { *o.target(i) = sum };
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
                    put(o, i, sum);
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
        put(o, i, Point { x, y });
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

#[cfg(test)]
mod tests {
    use super::*;
    use halo2curves::bn256;

    #[test]
    fn eight_at_once_are_what_each_is_alone() {
        let g = bn256::G1::generator();
        let point = |i: u64| Point::from(g * bn256::Fr::from(i * i * 77 + 5));
        for (n, odd) in [(1usize, false), (40, false), (1500, false), (1500, true)] {
            let mut target: Vec<Point> = (0..n as u64).map(point).collect();
            let mut source: Vec<Point> = (0..n as u64).map(|i| point(i + 5000)).collect();
            if odd {
                // Empty, doubled, opposite, and nothing added.
                target[3] = Point::IDENTITY;
                source[1200] = target[1200];
                source[50] = -target[50];
                source[51] = Point::IDENTITY;
            }
            let pairs: Vec<(u32, u32)> = (0..n as u32).map(|i| (i, (i * 7) % n as u32)).collect();
            let own: Vec<(u32, u32)> = (0..n as u32 / 2).map(|i| (2 * i, 2 * i + 1)).collect();
            let sums = |mut scratch: Scratch| {
                let mut into = target.clone();
                add_into(&mut into, &source, &pairs, &mut scratch);
                add_into(
                    &mut into,
                    &source,
                    &(0..n as u32).map(|i| (i, i)).collect::<Vec<_>>(),
                    &mut scratch,
                );
                add_within(&mut into, &own, &mut scratch);
                into
            };
            assert_eq!(sums(Scratch::default()), sums(Scratch::scalar()), "{n} {odd}");
        }
    }
}
