use super::*;
use monai_protocol::Fr;
use monai_protocol::types::{ChainId, Domain, Finish, Lane, ModelId, OutputCommitment, Slot};

fn key(slot: u64) -> SlotKey {
    let domain = Domain { chain_id: ChainId(1), rollup: Address([2; 20]) };
    SlotKey::new(&domain, ModelId([3; 32]), Lane(4), Slot(slot))
}

fn signed(request: u64, output: u64) -> Signed {
    Signed {
        request: RequestCommitment(Fr::from(request)),
        output: OutputCommitment(Fr::from(output)),
        n_in: 5,
        n_out: 6,
        finish: Finish::Stop,
    }
}

const NODE: Address = Address([9; 20]);

fn open(dir: &Path) -> Arc<Slots> {
    Arc::new(Slots::open(dir, &NODE).unwrap())
}

#[test]
fn one_answer_a_slot_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let slots = open(dir.path());
        slots.record(key(1), signed(1, 1)).unwrap();
        assert!(matches!(slots.record(key(1), signed(1, 2)), Err(SlotError::OtherAnswer)));
        let cancelled = Signed { finish: Finish::Cancelled, ..signed(1, 1) };
        assert!(matches!(slots.record(key(1), cancelled), Err(SlotError::OtherAnswer)));
        assert!(matches!(slots.record(key(1), signed(2, 1)), Err(SlotError::OtherRequest)));
        assert!(matches!(slots.claim(key(1), signed(2, 1).request), Err(SlotError::OtherRequest)));
        let claim = slots.claim(key(1), signed(1, 1).request).unwrap();
        assert!(matches!(slots.claim(key(1), signed(1, 1).request), Err(SlotError::Live)));
        drop(claim);
        slots.claim(key(1), signed(1, 1).request).unwrap();
        assert!(Slots::open(dir.path(), &NODE).is_err(), "two processes with one key");
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_before_it_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NODE.to_string());
    let slots = open(dir.path());
    slots.record(key(1), signed(1, 1)).unwrap();
    let one = std::fs::read(&path).unwrap();
    slots.record(key(2), signed(2, 2)).unwrap();
    drop(slots);
    let two = std::fs::read(&path).unwrap();
    let mut zeros = one.clone();
    zeros.extend([0; 4096]);
    let torn = (one.len() + 1..two.len()).map(|n| two[..n].to_vec()).chain([zeros]);
    for bytes in torn {
        std::fs::write(&path, &bytes).unwrap();
        let slots = open(dir.path());
        assert!(slots.record(key(1), signed(1, 2)).is_err(), "{} bytes", bytes.len());
        slots.record(key(3), signed(3, 3)).unwrap();
        drop(slots);
        // What was appended after the repair is read again.
        assert!(open(dir.path()).record(key(3), signed(3, 4)).is_err());
    }
    let mut damaged = two.clone();
    damaged[MAGIC.len() + 40] ^= 1;
    for bytes in [damaged, b"something else".to_vec(), Vec::new()] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Slots::open(dir.path(), &NODE), Err(Error::Malformed { .. })));
    }
}

#[test]
fn what_is_forgotten_is_never_signed_again() {
    let mut known = Known::default();
    for slot in 0..10 {
        known.apply(&Record::Signed(key(slot), signed(slot, slot), 100 + slot));
    }
    assert!(!known.forget(100, 10));
    assert!(known.forget(103, 4));
    assert_eq!(known.count(), 4);
    let mut read = Known::default();
    known.records().iter().for_each(|r| read.apply(r));
    for known in [&known, &read] {
        assert_eq!(known.seen(&key(5)), Seen::Forgotten);
        assert_eq!(known.seen(&key(6)), Seen::Signed(signed(6, 6)));
        assert_eq!(known.seen(&key(10)), Seen::Never);
    }
}

#[test]
fn records_are_read_as_they_were_written() {
    for record in [Record::Signed(key(7), signed(8, 9), 10), Record::Floor(key(7))] {
        let bytes = record.encode();
        assert_eq!(Record::parse(&bytes), Parsed::Record(record, bytes.len()));
        for i in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[i] ^= 1;
            assert_eq!(Record::parse(&wrong), Parsed::Broken, "byte {i}");
        }
    }
}
