//! What every store promises. A store of your own passes [`conforms`].
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use watermill_streams::StreamsError;
use watermill_streams::store::{
    CheckpointRow, ClaimRow, MemoryStore, Rows, SqliteStore, Store, StreamRow, SubscriptionRow, Texts,
    WindowRow,
};

#[cfg(feature = "mongodb")]
mod mongodb;

fn refused() -> StreamsError {
    StreamsError::Closed { stream: "as a test".to_owned() }
}

fn messages(rows: &mut dyn Rows, stream: u64, range: std::ops::Range<u64>) -> Vec<(u64, i64, Vec<u8>)> {
    let mut all = Vec::new();
    rows.messages(stream, range, &mut |number, at, text| {
        all.push((number, at, text.to_vec()));
        true
    })
    .unwrap();
    all
}

/// A stream with a subscription, a claim, messages, a mark and a checkpoint.
fn fill(rows: &mut dyn Rows, name: &str) -> (StreamRow, SubscriptionRow, ClaimRow) {
    let mut stream = StreamRow { next: 5, max_age: Some(7), closed: Some(9), ..StreamRow::new(name, 3) };
    rows.put_stream(&mut stream).unwrap();
    let mut subscription = SubscriptionRow {
        stream: stream.number,
        name: "audit".to_owned(),
        created: 4,
        next: 3,
        keep: true,
        owner: "somebody".to_owned(),
        epoch: 2,
        expires: 11,
        lease: 12,
        ended: true,
        processed: 13,
        last_read: Some(14),
        hold: Some(1),
        emitted: 2,
        number: 0,
    };
    rows.put_subscription(&mut subscription).unwrap();
    let mut claim = ClaimRow {
        subscription: subscription.number,
        first: 1,
        until: 3,
        owner: "somebody".to_owned(),
        epoch: 1,
        expires: 11,
        lease: 12,
        emitted: 2,
        number: 0,
    };
    rows.put_claim(&mut claim).unwrap();
    rows.append(stream.number, 0, 20, &Texts::of([b"a".as_slice(), b"", b"\xff\0", b"d", b"e"])).unwrap();
    rows.refuse(stream.number, 2, subscription.number).unwrap();
    assert!(stream.number > 0 && subscription.number > 0 && claim.number > 0);
    (stream, subscription, claim)
}

/// All of it.
fn conforms(store: &Arc<dyn Store>) {
    rows_come_back_as_they_were_put(store);
    what_fails_leaves_nothing(store);
    removing_takes_what_belongs_to_it(store);
    numbers_of_streams_do_not_come_again(store);
    transactions_come_one_after_the_other(store);
    changes_are_told(store);
    windows_come_back_in_their_order(store);
}

fn rows_come_back_as_they_were_put(store: &Arc<dyn Store>) {
    let mut put = None;
    store
        .write(true, &mut |rows| {
            put = Some(fill(rows, "rows"));
            rows.put_checkpoint(&CheckpointRow {
                name: "m".to_owned(),
                lane: 1,
                epoch: 2,
                state: "{}".to_owned(),
            })
        })
        .unwrap();
    let (stream, mut subscription, mut claim) = put.unwrap();
    store
        .write(true, &mut |rows| {
            assert_eq!(rows.stream_named("rows")?.as_ref(), Some(&stream));
            assert_eq!(rows.stream(stream.number)?.as_ref(), Some(&stream));
            assert_eq!(rows.stream_named("other")?, None);
            assert_eq!(rows.subscriptions(stream.number)?, [subscription.clone()]);
            assert_eq!(rows.claims(subscription.number)?, [claim.clone()]);
            let all = messages(rows, stream.number, 0..u64::MAX);
            assert_eq!(all.len(), 5);
            assert_eq!(all[2], (2, 20, b"\xff\0".to_vec()));
            assert_eq!(messages(rows, stream.number, 3..4), [(3, 20, b"d".to_vec())]);
            assert!(
                messages(rows, stream.number, 4..4).is_empty()
                    && messages(rows, stream.number, 9..9).is_empty()
            );
            let mut shown = 0;
            rows.messages(stream.number, 0..9, &mut |_, _, _| {
                shown += 1;
                shown < 2
            })?;
            assert_eq!(shown, 2);
            assert_eq!(rows.refused(stream.number, 0..3)?, [(2, subscription.number)]);
            assert!(rows.refused(stream.number, 3..9)?.is_empty());
            let row = rows.checkpoint("m", 1)?.unwrap();
            assert_eq!((row.epoch, row.state.as_str(), rows.checkpoint("m", 0)?), (2, "{}", None));
            // Over what is there.
            (subscription.owner, subscription.hold, claim.first) = (String::new(), None, 2);
            rows.put_subscription(&mut subscription)?;
            rows.put_claim(&mut claim)?;
            assert_eq!(rows.subscription(subscription.number)?.as_ref(), Some(&subscription));
            assert_eq!(rows.claims(subscription.number)?, [claim.clone()]);
            // In the order of their messages.
            let mut before = ClaimRow { number: 0, first: 0, until: 1, ..claim.clone() };
            rows.put_claim(&mut before)?;
            assert_eq!(rows.claims(subscription.number)?, [before.clone(), claim.clone()]);
            rows.remove_claim(before.number)?;
            rows.remove_messages(stream.number, 1..3)?;
            rows.remove_messages(stream.number, 1..3)?;
            let left: Vec<u64> =
                messages(rows, stream.number, 0..9).iter().map(|message| message.0).collect();
            assert_eq!(left, [0, 3, 4]);
            rows.forgive(stream.number, 0..9)?;
            assert!(rows.refused(stream.number, 0..9)?.is_empty());
            rows.remove_checkpoints("m")?;
            assert_eq!(rows.checkpoint("m", 1)?, None);
            Ok(())
        })
        .unwrap();
}

fn what_fails_leaves_nothing(store: &Arc<dyn Store>) {
    let failed = store.write(true, &mut |rows| {
        let (stream, subscription, claim) = fill(rows, "failed");
        rows.remove_messages(stream.number, 0..3)?;
        rows.remove_claim(claim.number)?;
        rows.remove_subscription(subscription.number)?;
        rows.put_checkpoint(&CheckpointRow { name: "failed".to_owned(), ..CheckpointRow::default() })?;
        let mut rows_before = rows.stream_named("rows")?.unwrap();
        rows_before.next = 1000;
        rows.put_stream(&mut rows_before)?;
        rows.remove_messages(rows_before.number, 0..9)?;
        Err(refused())
    });
    assert!(matches!(failed, Err(StreamsError::Closed { .. })));
    store
        .read(&mut |rows| {
            assert_eq!(rows.stream_named("failed")?, None);
            assert_eq!(rows.checkpoint("failed", 0)?, None);
            let before = rows.stream_named("rows")?.unwrap();
            assert_eq!((before.next, messages(rows, before.number, 0..9).len()), (5, 3));
            Ok(())
        })
        .unwrap();
}

fn removing_takes_what_belongs_to_it(store: &Arc<dyn Store>) {
    store
        .write(true, &mut |rows| {
            let (one, first, _) = fill(rows, "one");
            let (two, second, _) = fill(rows, "two");
            rows.remove_stream(one.number)?;
            assert_eq!((rows.stream_named("one")?, rows.subscription(first.number)?), (None, None));
            assert!(rows.subscriptions(one.number)?.is_empty() && rows.claims(first.number)?.is_empty());
            assert!(
                messages(rows, one.number, 0..9).is_empty() && rows.refused(one.number, 0..9)?.is_empty()
            );
            // And nothing else.
            assert_eq!((messages(rows, two.number, 0..9).len(), rows.claims(second.number)?.len()), (5, 1));
            assert_eq!(rows.refused(two.number, 0..9)?.len(), 1);
            Ok(())
        })
        .unwrap();
}

fn numbers_of_streams_do_not_come_again(store: &Arc<dyn Store>) {
    store
        .write(true, &mut |rows| {
            let (mut one, mut two) = (StreamRow::new("gone", 0), StreamRow::new("gone", 0));
            rows.put_stream(&mut one)?;
            rows.remove_stream(one.number)?;
            rows.put_stream(&mut two)?;
            assert_ne!(one.number, two.number);
            // Names are unique.
            assert!(rows.put_stream(&mut StreamRow::new("gone", 0)).is_err());
            Ok(())
        })
        .unwrap();
}

fn transactions_come_one_after_the_other(store: &Arc<dyn Store>) {
    store.write(true, &mut |rows| rows.put_stream(&mut StreamRow::new("counted", 0))).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let add = &mut |rows: &mut dyn Rows| {
                        let mut row = rows.stream_named("counted")?.unwrap();
                        row.next += 1;
                        rows.put_stream(&mut row)
                    };
                    store.write(thread % 2 == 0, add).unwrap();
                }
            });
        }
    });
    store
        .read(&mut |rows| {
            assert_eq!(rows.stream_named("counted")?.unwrap().next, 200);
            Ok(())
        })
        .unwrap();
}

fn windows_of(rows: &mut dyn Rows, stream: u64, from: u64) -> Vec<WindowRow> {
    let mut all = Vec::new();
    rows.windows(stream, from, &mut |row| {
        all.push(row.clone());
        true
    })
    .unwrap();
    all
}

fn windows_come_back_in_their_order(store: &Arc<dyn Store>) {
    store
        .write(true, &mut |rows| {
            let (stream, subscription, _) = fill(rows, "windowed");
            let (other, _, _) = fill(rows, "other windows");
            let mut put = Vec::new();
            for (created, messages) in [(1, vec![1..2, 0..1]), (2, vec![]), (3, vec![4..5, 2..3])] {
                let mut row = WindowRow {
                    number: 0,
                    stream: stream.number,
                    subscription: subscription.number,
                    created,
                    messages,
                };
                rows.put_window(&mut row)?;
                put.push(row);
            }
            let mut elsewhere = WindowRow { stream: other.number, created: 1, ..WindowRow::default() };
            rows.put_window(&mut elsewhere)?;
            assert!(put.windows(2).all(|pair| pair[0].number < pair[1].number));
            assert_eq!(windows_of(rows, stream.number, 0), put);
            assert_eq!(windows_of(rows, stream.number, put[1].number), put[1..]);
            let mut shown = 0;
            rows.windows(stream.number, 0, &mut |_| {
                shown += 1;
                shown < 2
            })?;
            assert_eq!(shown, 2);
            assert_eq!(rows.remove_windows(stream.number, 4)?, 2);
            assert_eq!(rows.remove_windows(stream.number, 4)?, 0);
            assert_eq!(windows_of(rows, stream.number, 0), put[2..]);
            rows.remove_stream(stream.number)?;
            assert!(windows_of(rows, stream.number, 0).is_empty());
            assert_eq!(windows_of(rows, other.number, 0), [elsewhere]);
            Ok(())
        })
        .unwrap();
    // What fails leaves none, and takes none away.
    let failed = store.write(true, &mut |rows| {
        let other = rows.stream_named("other windows")?.unwrap();
        rows.remove_windows(other.number, u64::MAX)?;
        rows.put_window(&mut WindowRow { stream: other.number, created: 77, ..WindowRow::default() })?;
        Err(refused())
    });
    assert!(failed.is_err());
    store
        .read(&mut |rows| {
            let other = rows.stream_named("other windows")?.unwrap();
            let created: Vec<i64> =
                windows_of(rows, other.number, 0).iter().map(|window| window.created).collect();
            assert_eq!(created, [1]);
            Ok(())
        })
        .unwrap();
}

fn changes_are_told(store: &Arc<dyn Store>) {
    let before = store.version().unwrap();
    assert_eq!(store.version().unwrap(), before);
    store.write(true, &mut |rows| rows.put_stream(&mut StreamRow::new("told", 0))).unwrap();
    assert_ne!(store.version().unwrap(), before);
}

#[test]
fn the_store_in_memory_conforms() {
    conforms(&(Arc::new(MemoryStore::new()) as Arc<dyn Store>));
}

#[test]
fn the_store_in_a_file_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("streams.db");
    let store = Arc::new(SqliteStore::open(&path).unwrap()) as Arc<dyn Store>;
    conforms(&store);
    // Others that have opened the file see what was written, and that it was.
    let other = SqliteStore::open(&path).unwrap();
    let before = other.version().unwrap();
    store.write(true, &mut |rows| rows.put_stream(&mut StreamRow::new("from elsewhere", 0))).unwrap();
    assert_ne!(other.version().unwrap(), before);
    other
        .read(&mut |rows| {
            assert!(rows.stream_named("from elsewhere")?.is_some());
            Ok(())
        })
        .unwrap();
}
