//! What the store promises, tested on the store alone.

use std::sync::Arc;

use monai_protocol::{Address, ChainId, Domain};

use super::*;

fn domain() -> Domain {
    Domain { chain_id: ChainId(1), rollup: Address([1; 20]) }
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, &domain(), None, Arc::new(Metrics::new().unwrap()))
}

fn put(key: u32, value: &[u8]) -> Change {
    let mut c = Change::default();
    c.put(Cf::Leaves, key.to_be_bytes().to_vec(), value.to_vec());
    c
}

#[test]
fn changes_are_a_prefix_in_every_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store")).unwrap();
    // Changes overwrite one counter in order while copies are taken: in each copy, the counter and the log of
    // all changes up to it agree.
    let mut tickets = Vec::new();
    for i in 0..200u32 {
        let mut c = put(i, b"log");
        c.put(Cf::Meta, b"counter".to_vec(), i.to_be_bytes().to_vec());
        tickets.push(store.submit(c));
        if i % 50 == 49 {
            let copy = dir.path().join(format!("copy{i}"));
            store.checkpoint(&copy).unwrap();
            let copy = open(&copy).unwrap();
            let counter = copy.get(Cf::Meta, b"counter").unwrap();
            let entries = copy.scan(Cf::Leaves, &[], usize::MAX).unwrap().len();
            let want = counter.map_or(0, |c| u32::from_be_bytes(c.try_into().unwrap()) as usize + 1);
            assert_eq!(entries, want);
        }
    }
    for ticket in tickets {
        ticket.durable_blocking().unwrap();
    }
    assert_eq!(store.scan(Cf::Leaves, &[], usize::MAX).unwrap().len(), 200);
}

#[test]
fn a_change_is_all_or_nothing_and_survives_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        let mut c = put(1, b"a");
        c.put_json(Cf::Receipts, b"k".to_vec(), &vec![1, 2]).unwrap();
        store.submit(c).durable_blocking().unwrap();
        let mut c = Change::default();
        c.delete(Cf::Leaves, 1u32.to_be_bytes().to_vec());
        // Dropped without waiting: what was handed over is written before the store closes.
        drop(store.submit(c));
    }
    let store = open(dir.path()).unwrap();
    assert_eq!(store.get(Cf::Leaves, &1u32.to_be_bytes()).unwrap(), None);
    assert_eq!(store.get_json::<Vec<u32>>(Cf::Receipts, b"k").unwrap(), Some(vec![1, 2]));
}

#[test]
fn scans_stay_in_their_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut c = Change::default();
    for key in [&b"a1"[..], b"a2", b"b1"] {
        c.put(Cf::Epochs, key.to_vec(), b"{}".to_vec());
    }
    store.submit(c).durable_blocking().unwrap();
    let keys = |prefix: &[u8], limit| -> Vec<Vec<u8>> {
        store.scan(Cf::Epochs, prefix, limit).unwrap().into_iter().map(|(k, _)| k).collect()
    };
    assert_eq!(keys(b"a", 9), vec![b"a1".to_vec(), b"a2".to_vec()]);
    assert_eq!(keys(b"", 2).len(), 2);
    assert!(keys(b"c", 9).is_empty());
}

#[test]
fn other_schemas_and_domains_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        let mut c = Change::default();
        c.put(Cf::Meta, SCHEMA_KEY.to_vec(), 99u32.to_be_bytes().to_vec());
        store.submit(c).durable_blocking().unwrap();
    }
    assert_eq!(open(dir.path()).err(), Some(StoreError::Schema { found: 99 }));
    assert_eq!(migrate(dir.path()), Err(StoreError::Schema { found: 99 }));
    let other = Domain { chain_id: ChainId(2), ..domain() };
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let refused = Store::open(dir.path(), &other, None, Arc::new(Metrics::new().unwrap())).err();
    assert_eq!(refused, Some(StoreError::Domain(domain())));
}

#[test]
fn a_store_that_is_behind_what_was_signed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let marks = dir.path().join("k.slots");
    let open = |name: &str| {
        let metrics = Arc::new(Metrics::new().unwrap());
        Store::open(&dir.path().join(name), &domain(), Some(&marks), metrics)
    };
    let count = |store: &Store, next: u64| {
        let mut c = Change::default();
        c.put(Cf::NextSlots, b"lane".to_vec(), next.to_be_bytes().to_vec());
        store.submit(c).durable_blocking().unwrap();
    };
    let store = open("store").unwrap();
    count(&store, 3);
    let old = dir.path().join("old");
    store.checkpoint(&old).unwrap();
    count(&store, 4);
    assert!(matches!(open("second").err(), Some(StoreError::Io(_))), "two at once");
    drop(store);
    for (name, given) in [("wiped", 0), ("old", 3)] {
        match open(name).err() {
            Some(StoreError::Behind { signed: 4, given: g, .. }) => assert_eq!(g, given, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // The newest store is taken, and so is one that is ahead of a lost or older file.
    drop(open("store").unwrap());
    std::fs::remove_file(&marks).unwrap();
    drop(open("store").unwrap());
    assert!(open("old").is_err(), "the file was made again from the store");
}
