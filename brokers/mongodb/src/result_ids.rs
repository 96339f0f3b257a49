//! The `_id`s of results where there are no transactions: the number of a result tells its `_id`, so what is written a second time is written over itself.

use bson::oid::ObjectId;
use bson::{Document, doc};

/// What the `_id`s of one output of one lane have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResultIds {
    seconds: u32,
    own: [u8; 5],
}

impl ResultIds {
    /// Those of the output with this number; `run` was made when its positions were begun.
    pub(crate) fn new(run: ObjectId, lane: u32, output: usize) -> Self {
        let bytes = run.bytes();
        let mut mixed = 0xcbf2_9ce4_8422_2325_u64;
        for byte in bytes.into_iter().chain(lane.to_le_bytes()).chain((output as u64).to_le_bytes()) {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        mixed ^= mixed >> 29;
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 32;
        let [a, b, c, d, e, ..] = mixed.to_le_bytes();
        let [first, second, third, fourth, ..] = bytes;
        Self { seconds: u32::from_be_bytes([first, second, third, fourth]), own: [a, b, c, d, e] }
    }

    /// That of result `number`.
    pub(crate) fn of(&self, number: u64) -> ObjectId {
        let [_, _, _, _, _, high, middle, low] = number.to_be_bytes();
        ObjectId::from_parts(self.seconds.wrapping_add((number >> 24) as u32), self.own, [high, middle, low])
    }

    /// What finds the results from `number` on that a run may have written and not committed.
    pub(crate) fn from(&self, number: u64) -> Document {
        // As many as fit the counter, and as many again.
        let end = |number: u64| (number | 0x00ff_ffff).saturating_add(1);
        let (first, second) = (end(number), end(end(number)));
        doc! { "$or": [
            { "_id": { "$gte": self.of(number), "$lte": self.of(first - 1) } },
            { "_id": { "$gte": self.of(first), "$lte": self.of(second - 1) } },
        ] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_up_with_the_number_and_are_nobody_elses() {
        let run = ObjectId::new();
        let ids = ResultIds::new(run, 3, 1);
        let numbers = [0, 1, 255, 256, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, 1 << 40];
        let all: Vec<ObjectId> = numbers.map(|number| ids.of(number)).into();
        assert!(all.is_sorted() && all.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(ids.of(77), ResultIds::new(run, 3, 1).of(77));
        for other in
            [ResultIds::new(run, 3, 0), ResultIds::new(run, 2, 1), ResultIds::new(ObjectId::new(), 3, 1)]
        {
            assert_ne!(other.own, ids.own);
        }
    }

    #[test]
    fn what_was_not_committed_is_found_across_the_end_of_the_counter() {
        let ids = ResultIds::new(ObjectId::new(), 0, 0);
        let number = (1 << 24) - 5;
        let found = ids.from(number);
        let ranges = found.get_array("$or").unwrap();
        let within = |number: u64| {
            ranges.iter().any(|range| {
                let range = range.as_document().unwrap().get_document("_id").unwrap();
                (range.get_object_id("$gte").unwrap()..=range.get_object_id("$lte").unwrap())
                    .contains(&ids.of(number))
            })
        };
        assert!(
            !within(number - 1)
                && within(number)
                && within(number + 4)
                && within(number + 5)
                && within(number + 1000)
        );
    }
}
