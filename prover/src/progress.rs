//! What a prover tells while it works, and how it is told to stop.

use std::time::Duration;

/// The parts of a proof, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Every value of the answer, layer by layer.
    Witness,
    /// Commitments to the witness, chunk by chunk.
    Commit,
    /// The relations: lookups, matrices, norms and the rest.
    Relations,
    /// All claims to one point.
    Reduction,
    /// The one opening.
    Opening,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 5] = [Self::Witness, Self::Commit, Self::Relations, Self::Reduction, Self::Opening];

    /// A word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Commit => "commitments",
            Self::Relations => "relations",
            Self::Reduction => "reduction",
            Self::Opening => "opening",
        }
    }

    /// Its share of a proof's time, in percent, as measured on a proof of 64 positions. Only for progress bars.
    #[must_use]
    pub const fn share(self) -> u64 {
        match self {
            Self::Witness => 4,
            Self::Commit => 10,
            Self::Relations => 50,
            Self::Reduction => 8,
            Self::Opening => 28,
        }
    }
}

/// Somebody who watches a proof being made. The methods are called from any thread and must return soon.
pub trait Progress: Sync {
    /// `done` of about `of` steps of a stage are done; `what` names the next.
    fn step(&self, stage: Stage, what: &'static str, done: usize, of: usize) {
        let _ = (stage, what, done, of);
    }

    /// True once the proof is no longer wanted. It is asked inside all long loops.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches, nobody cancels.
impl Progress for () {}

/// The caller asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// [`Cancelled`] once [`Progress::cancelled`] is true.
///
/// # Errors
/// [`Cancelled`].
pub(crate) fn check(progress: &dyn Progress) -> Result<(), Cancelled> {
    if progress.cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// Time of one part of a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTime {
    /// Which part. Parts of `relations` follow it and are contained in it.
    pub name: &'static str,
    /// Time on the wall.
    pub wall: Duration,
    /// Processor time of the whole process meanwhile, in steps of 10 ms; zero where the system does not tell.
    pub cpu: Duration,
}

/// Wall and processor time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: std::time::Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: std::time::Instant::now(), cpu: cpu_time() }
    }

    /// What has passed.
    #[must_use]
    pub fn read(&self, name: &'static str) -> StageTime {
        StageTime { name, wall: self.wall.elapsed(), cpu: cpu_time().saturating_sub(self.cpu) }
    }
}

/// Processor time of this process, user and system, from Linux' `/proc` in its fixed unit of 1/100 s.
fn cpu_time() -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    // The second field is the program's name in parentheses, which may contain spaces.
    let Some((_, fields)) = stat.rsplit_once(')') else { return Duration::ZERO };
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_a_whole() {
        assert_eq!(Stage::ALL.map(Stage::share).iter().sum::<u64>(), 100);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_moves_with_work() {
        let watch = Stopwatch::start();
        let mut x = 1u64;
        while watch.read("work").cpu.is_zero() {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(watch.read("work").wall >= Duration::from_millis(1), "{x}");
    }
}
