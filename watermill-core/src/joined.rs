//! Join results: what a function sees of the streams that are joined to its master.

use std::fmt;
use std::ops::{Index, Range};
use std::sync::Arc;

use crate::group::Group;
use crate::lined::{Lined, arrange};
use crate::misuse::{misuse, short_name};

/// All records of `R` that are joined to the records of `L` that a call was given.
///
/// `joined[l]` is the [`Group`] of `l`, which must be a record of this very call: the master, a record of the master's
/// window, or a record found in a group above. Records are told apart by their place in memory, never by value, so a clone is
/// not a record of the call: [`get`](Joined::get) is then `None`, and indexing is an error of the function.
///
/// ```
/// # use watermill_core::Joined;
/// # struct Audio { frame: u32 }
/// # struct Video { frame: u32, brightness: f64 }
/// fn brightest(audio: &Audio, video: &Joined<Audio, Video>) -> f64 {
///     video[audio].iter().map(|frame| frame.brightness).fold(0.0, f64::max)
/// }
/// ```
pub struct Joined<L, R> {
    /// The stream's name, where `R` is read from several.
    name: Option<Arc<str>>,
    /// Where the left records stand in memory, sorted by address.
    blocks: Vec<Block>,
    /// The groups, and behind them empty ones from calls before, whose memory is used again.
    groups: Vec<Group<R>>,
    /// How many of them are of this call.
    used: usize,
    /// One for each join of these two types, when there are several; then the fields above are unused.
    siblings: Vec<Joined<L, R>>,
    /// The batches that the sole left record and its group are in.
    batches: Batches,
    left: std::marker::PhantomData<fn(&L)>,
}

/// Where two batches stand: that of the sole left record, and that of its group.
#[derive(Clone, Copy, Default)]
struct Batches {
    /// The left one's first record: its address, and its position in the stream.
    left_address: usize,
    left_first: u64,
    left_count: u64,
    /// The position of the first record of the right one.
    right_first: u64,
}

/// Left records side by side in memory. Addresses are only ever compared, never followed.
#[derive(Clone, Copy)]
struct Block {
    /// The address of the first one.
    address: usize,
    /// How many there are.
    count: usize,
    /// The place in `groups` of the first one's group.
    group: usize,
}

impl<L, R> Joined<L, R> {
    /// The group of `left`, or `None` when `left` is not a record of this call (a clone of one, say).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord, Clone)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(vec![Line { order: 1 }]);
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines.get(order).map(Group::len), Some(1));
    ///     assert!(lines.get(&order.clone()).is_none());
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn get(&self, left: &L) -> Option<&Group<R>> {
        if self.siblings.is_empty() {
            self.own(left)
        } else {
            let mut found = self.siblings.iter().filter_map(|sibling| sibling.own(left));
            let first = found.next();
            if found.next().is_some() { None } else { first }
        }
    }

    /// The group of the sole master, in a function without a window.
    ///
    /// # Panics
    /// When the left side is not one sole record; inside a mill that is an error of the function.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(_: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines.only().iter().map(|line| line.cents).sum::<u64>(), 50);
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn only(&self) -> &Group<R> {
        let sole = match self.blocks.as_slice() {
            [block] if block.count == 1 && self.siblings.is_empty() => self.used().get(block.group),
            _ => None,
        };
        match sole {
            Some(group) => group,
            None => misuse(format!(
                "`only` asks for one `{}`, but this call has several or joins several streams: index with the record",
                short_name::<L>()
            )),
        }
    }

    /// The groups from the stream of this name, when `R` is read from several (`.read_as::<R>(name, ..)`).
    ///
    /// # Panics
    /// When no join reads a stream of that name; inside a mill that is an error of the function.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Sound { frame: u32 }
    /// #[derive(StreamRecord)]
    /// struct Picture { frame: u32, brightness: f64 }
    ///
    /// fn brighter(sound: &Sound, pictures: &Joined<Sound, Picture>) {
    ///     let (left, right) = (&pictures.from("left")[sound][0], &pictures.from("right")[sound][0]);
    ///     assert!(left.brightness > right.brightness);
    /// }
    ///
    /// let broker = MemoryBroker::new()
    ///     .read(vec![Sound { frame: 1 }])
    ///     .read_as("left", vec![Picture { frame: 1, brightness: 0.7 }])
    ///     .read_as("right", vec![Picture { frame: 1, brightness: 0.4 }]);
    /// let join = || JoinWith::new(Sound::fields().frame, Picture::fields().frame);
    /// Mill::new(brighter).join(join().from("left")).join(join().from("right")).run_blocking(broker)?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn from(&self, name: &str) -> &Self {
        let is = |joined: &Self| joined.name.as_deref() == Some(name);
        if is(self) {
            return self;
        }
        match self.siblings.iter().find(|sibling| is(sibling)) {
            Some(sibling) => sibling,
            None => misuse(format!(
                "no stream of `{}` that is joined to `{}` is named \"{name}\"",
                short_name::<R>(),
                short_name::<L>()
            )),
        }
    }

    /// The groups of this call.
    fn used(&self) -> &[Group<R>] {
        self.groups.get(..self.used).unwrap_or(&[])
    }

    fn own(&self, left: &L) -> Option<&Group<R>> {
        let address = std::ptr::from_ref(left).addr();
        let block = match self.blocks.as_slice() {
            [block] => block,
            blocks => blocks.get(blocks.partition_point(|block| block.address <= address).checked_sub(1)?)?,
        };
        // Records have a size (refused otherwise at compile time), so the quotient tells them apart.
        let index = address.checked_sub(block.address)? / size_of::<L>().max(1);
        if index < block.count { self.used().get(block.group + index) } else { None }
    }

    pub(crate) fn new(name: Option<Arc<str>>) -> Self {
        Self {
            name,
            blocks: Vec::new(),
            groups: Vec::new(),
            used: 0,
            siblings: Vec::new(),
            batches: Batches::default(),
            left: std::marker::PhantomData,
        }
    }

    /// One `Joined` for each of `names`; a sole one stands for itself.
    pub(crate) fn over(mut names: Vec<Option<Arc<str>>>) -> Self {
        match names.pop() {
            Some(name) if names.is_empty() => Self::new(name),
            last => {
                names.extend(last);
                let mut all = Self::new(None);
                all.siblings = names.into_iter().map(Self::new).collect();
                all
            }
        }
    }

    pub(crate) fn part(&mut self, index: usize) -> &mut Self {
        if self.siblings.is_empty() { self } else { &mut self.siblings[index] }
    }

    /// Forgets all groups, keeping their memory.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.clear_groups();
    }

    fn clear_groups(&mut self) {
        for group in self.groups.iter_mut().take(self.used) {
            group.release();
        }
        self.used = 0;
    }

    /// The group of the sole left record at `left`, to be pointed at its records.
    pub(crate) fn sole(&mut self, left: &L) -> &mut Group<R> {
        let address = std::ptr::from_ref(left).addr();
        match self.blocks.as_mut_slice() {
            [block] => block.address = address,
            _ => {
                self.blocks.clear();
                self.blocks.push(Block { address, count: 1, group: 0 });
            }
        }
        if self.used != 1 {
            self.clear_groups();
            return self.push();
        }
        &mut self.groups[0]
    }

    /// The sole left record is in `lefts`, whose first record is at `left_first` of its stream, and its group in the batch whose
    /// first record is at `right_first`: neighbours of both can be found by [`Joined::aim_sole`].
    pub(crate) fn remember(&mut self, lefts: &[L], left_first: u64, right_first: u64) {
        let (left_address, left_count) = (lefts.as_ptr().addr(), lefts.len() as u64);
        self.batches = Batches { left_address, left_first, left_count, right_first };
    }

    /// As [`Joined::sole`], for the left record at `left` of its stream and the right records from `low` to below
    /// `high`, if they are in the same batches as those before.
    #[inline]
    pub(crate) fn aim_sole(&mut self, left: u64, low: u64, high: u64) -> bool {
        let Batches { left_address, left_first, left_count, right_first } = self.batches;
        let ([block], [group, ..], 1) = (self.blocks.as_mut_slice(), self.groups.as_mut_slice(), self.used)
        else {
            return false;
        };
        let (Some(index), Some(start)) = (left.checked_sub(left_first), low.checked_sub(right_first)) else {
            return false;
        };
        if index >= left_count || !group.move_run(start, high - low) {
            return false;
        }
        block.address = left_address + index as usize * size_of::<L>();
        true
    }

    /// Adds a group for the next record of a window; where the window stands is told by [`Joined::place`].
    pub(crate) fn push(&mut self) -> &mut Group<R> {
        if self.used == self.groups.len() {
            self.groups.push(Group::empty());
        }
        self.used += 1;
        &mut self.groups[self.used - 1]
    }

    /// Adds a group for the left record at `left`, which need not stand beside the one added before.
    pub(crate) fn push_at(&mut self, left: &L) -> &mut Group<R> {
        let address = std::ptr::from_ref(left).addr();
        let group = self.used;
        match self.blocks.last_mut() {
            Some(block)
                if block.address + block.count * size_of::<L>() == address
                    && block.group + block.count == group =>
            {
                block.count += 1;
            }
            _ => self.blocks.push(Block { address, count: 1, group }),
        }
        self.push()
    }

    /// Sorts the blocks after the last [`Joined::push_at`], so that lookups find them.
    pub(crate) fn finish(&mut self) {
        if self.blocks.len() > 1 {
            self.blocks.sort_unstable_by_key(|block| block.address);
        }
    }

    /// Keeps the groups for which `keep` says so, of those that [`Joined::push_at`] has added.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        self.groups.truncate(self.used);
        let mut addresses = vec![0; self.used];
        for block in self.blocks.drain(..) {
            for (index, address) in addresses.iter_mut().skip(block.group).take(block.count).enumerate() {
                *address = block.address + index * size_of::<L>();
            }
        }
        let kept = |index: usize| keep.get(index).copied().unwrap_or(true);
        let mut index = 0..;
        self.groups.retain(|_| kept(index.next().unwrap_or_default()));
        self.used = self.groups.len();
        let addresses = addresses.iter().enumerate().filter(|(index, _)| kept(*index));
        let single =
            |(group, (_, address)): (usize, (usize, &usize))| Block { address: *address, count: 1, group };
        self.blocks.extend(addresses.enumerate().map(single));
        self.finish();
    }

    /// The left records that the function sees stand side by side in `lefts`; so many groups stand before theirs.
    pub(crate) fn place(&mut self, lefts: &[L], before: usize) {
        self.blocks.clear();
        self.blocks.push(Block { address: lefts.as_ptr().addr(), count: lefts.len(), group: before });
    }

    /// As [`Joined::place`], for every join of these two types.
    pub(crate) fn place_all(&mut self, lefts: &[L], before: usize) {
        self.place(lefts, before);
        for sibling in &mut self.siblings {
            sibling.place(lefts, before);
        }
    }
}

impl<L, R> Lined for Joined<L, R> {
    /// Where the masters stand is told by [`Joined::place`].
    fn show(&mut self, _: Range<usize>) {}

    fn arrange(&mut self, order: &[usize]) {
        self.groups.truncate(self.used);
        arrange(&mut self.groups, order);
        self.used = self.groups.len();
    }

    fn drop_front(&mut self, count: usize) {
        let count = count.min(self.used);
        let used = &mut self.groups[..self.used];
        used.rotate_left(count);
        self.used -= count;
        // They keep their memory, and no batch.
        used[self.used..].iter_mut().for_each(Group::release);
    }
}

impl<L, R> Index<&L> for Joined<L, R> {
    type Output = Group<R>;

    #[track_caller]
    fn index(&self, left: &L) -> &Group<R> {
        match self.get(left) {
            Some(group) => group,
            None if self.siblings.len() > 1 => misuse(format!(
                "`{0}` is read from several streams: choose one by name, `joined.from(\"name\")[record]`",
                short_name::<R>()
            )),
            None => misuse(format!(
                "this `{}` is not a record of this call: index with the reference the function was given, not with a clone",
                short_name::<L>()
            )),
        }
    }
}

impl<L, R: fmt::Debug> fmt::Debug for Joined<L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.siblings.is_empty() {
            f.debug_list().entries(self.used()).finish()
        } else {
            f.debug_map().entries(self.siblings.iter().map(|one| (&one.name, one))).finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Joined;

    #[test]
    fn groups_are_used_again_as_whatever_they_are_and_hold_no_batch_in_between() {
        let lefts = [0_u8, 1, 2];
        let batches = [Arc::new(vec![10_u16, 11, 12]), Arc::new(vec![20, 21, 22])];
        let [first, second] = &batches;
        let mut joined: Joined<u8, u16> = Joined::new(None);
        for round in 0..6 {
            for (index, left) in lefts.iter().enumerate() {
                let group = joined.push_at(left);
                assert!(group.is_empty() && group.first().is_none() && group.iter().next().is_none());
                let expected: &[u16] = match (index + round) % 3 {
                    0 => {
                        group.set_run(second, 1, 2);
                        &[21, 22]
                    }
                    1 => {
                        group.set_runs([(first, 2, 1), (second, 0, 2)].into_iter());
                        &[12, 20, 21]
                    }
                    _ => {
                        group.set_picked([(first, 0), (first, 2), (second, 1)].into_iter());
                        &[10, 12, 21]
                    }
                };
                assert_eq!(group.iter().copied().collect::<Vec<_>>(), expected);
                assert_eq!(
                    expected.iter().collect::<Vec<_>>(),
                    (0..group.len()).filter_map(|at| group.get(at)).collect::<Vec<_>>()
                );
                assert_eq!(group.as_slice().is_some(), (index + round) % 3 == 0);
            }
            joined.finish();
            assert!(lefts.iter().all(|left| joined.get(left).is_some_and(|group| group.len() >= 2)));
            joined.clear();
            assert!(lefts.iter().all(|left| joined.get(left).is_none()));
            assert!(batches.iter().all(|batch| Arc::strong_count(batch) == 1), "round {round}");
        }
        assert_eq!(joined.groups.len(), 3);
    }

    #[test]
    fn a_group_lets_go_of_what_it_pointed_at_before() {
        let batches = [Arc::new(vec![10_u16, 11]), Arc::new(vec![20])];
        let [first, second] = &batches;
        let mut joined: Joined<u8, u16> = Joined::new(None);
        let group = joined.sole(&0);
        group.set_runs([(first, 0, 2), (second, 0, 1)].into_iter());
        group.set_run(second, 0, 1);
        assert_eq!((Arc::strong_count(first), Arc::strong_count(second)), (1, 2));
        group.set_picked([(first, 1)].into_iter());
        assert_eq!((Arc::strong_count(first), Arc::strong_count(second)), (2, 1));
        assert!(!group.move_run(0, 1) && group.as_slice().is_none());
        group.set_runs([(second, 0, 1)].into_iter());
        assert_eq!((Arc::strong_count(first), Arc::strong_count(second), group.first()), (1, 2, Some(&20)));
    }
}
