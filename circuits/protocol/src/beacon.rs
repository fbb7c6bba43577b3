//! The epoch's beacon. On L1 it is `prevRandao` of a block fixed by calendar.

use crate::field::{self, Fr};
use crate::hash::{Tag, hash};
use crate::types::{Beacon, EpochId};

/// A stand-in for a beacon where there is no L1.
///
/// **Insecure**: anyone can compute it for any epoch at any time, so a sequencer could choose its
/// chain, or an operator its stake, to win draws. The order of events is that of the real one all the
/// same: the table of an epoch is fixed before this is used.
#[must_use]
pub fn insecure_devnet_beacon(epoch: EpochId) -> Beacon {
    Beacon(field::to_bytes(hash(Tag::InsecureDevnetBeacon, &[Fr::from(epoch.0)])))
}
