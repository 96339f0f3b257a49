//! What stands in the metadata of a committed offset: the exact positions that the offset alone cannot tell.
//!
//! A group commits one offset a topic and partition: the lowest that any node of the mill needs. Beside it, as the metadata of the offset, stands what
//! a restart needs besides: the position of every node that reads this partition and, with the partition of the master, what the commit says of the lane as a whole.
//!
//! The text is `w1.`, then base64 (URL alphabet, no padding) of numbers as LEB128, seven bits a byte, the lowest first:
//!
//! | | |
//! |---|---|
//! | the offset it belongs to | when somebody has reset the offset, this one differs, and the metadata is not heeded |
//! | 1 and the lane, or 0 | mill (CRC-32 of its description), number of the commit, flags (1 finished, 2 with a window), ended outputs (count, then one each), window (length, text) |
//! | count of positions | of each: the node, its flags, and as the flags say: offset, number, part, last record, further last records, finished ranges, marks, tokens (of the position, the last record and the further ones; each 0, or 1 and a text) |
//!
//! Offsets of positions are told as distances from the committed offset, those of ranges from each other. The broker limits metadata to 4,096 bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use watermill_core::broker::{FinishedRange, LastRecord, Position};

/// Longer than this and the broker may refuse it, whose limit (`offset.metadata.max.bytes`) is 4,096.
pub(crate) const LONGEST: usize = 4000;

const PREFIX: &str = "w1.";

const ENDED: u64 = 1;
const MARKED: u64 = 2;
const LAST: u64 = 4;
const NUMBER: u64 = 8;
const PART: u64 = 16;
const RANGES: u64 = 32;
const LAST_PART: u64 = 64;
const LANE_MARKS: u64 = 128;
/// The ranges are of the position's own part and go up, as they always do in a partition: then they take two bytes each, mostly.
const PLAIN_RANGES: u64 = 256;
const ALSO_LAST: u64 = 512;
/// The stream has no offsets of its own: a token finds its records, and one each those before it.
const TOKENS: u64 = 1024;

const FINISHED: u64 = 1;
const WINDOW: u64 = 2;

/// What a commit says of its lane as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneState {
    /// A checksum of what the mill looks like.
    pub(crate) mill: u32,
    /// The number of the commit, from 1.
    pub(crate) commit: u64,
    pub(crate) finished: bool,
    pub(crate) ended_outputs: Vec<bool>,
    pub(crate) window: Option<String>,
}

/// The position of one node of the mill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePosition {
    pub(crate) node: usize,
    pub(crate) position: Position,
    /// The lanes whose EndOfStream marks stand before the position.
    pub(crate) marks: Vec<u32>,
}

/// The metadata of one offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OffsetMetadata {
    pub(crate) lane: Option<LaneState>,
    pub(crate) nodes: Vec<NodePosition>,
}

impl OffsetMetadata {
    /// As text, to be committed with `offset`.
    pub(crate) fn text(&self, offset: u64) -> String {
        let mut bytes = Vec::with_capacity(32);
        put(&mut bytes, offset);
        match &self.lane {
            None => put(&mut bytes, 0),
            Some(lane) => {
                put(&mut bytes, 1);
                put_lane(&mut bytes, lane);
            }
        }
        put(&mut bytes, self.nodes.len() as u64);
        for node in &self.nodes {
            put_node(&mut bytes, node, offset);
        }
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        text
    }

    /// What `text` says, if it is ours and belongs to `offset`.
    pub(crate) fn read(text: &str, offset: u64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let mut rest = bytes.as_slice();
        if take(&mut rest)? != offset {
            return None;
        }
        let lane = if take(&mut rest)? == 0 { None } else { Some(take_lane(&mut rest)?) };
        let count = take_count(&mut rest)?;
        let nodes = (0..count).map(|_| take_node(&mut rest, offset)).collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(Self { lane, nodes })
    }
}

fn put_lane(bytes: &mut Vec<u8>, lane: &LaneState) {
    put(bytes, u64::from(lane.mill));
    put(bytes, lane.commit);
    let window = if lane.window.is_some() { WINDOW } else { 0 };
    put(bytes, if lane.finished { FINISHED } else { 0 } | window);
    put(bytes, lane.ended_outputs.len() as u64);
    for ended in &lane.ended_outputs {
        put(bytes, u64::from(*ended));
    }
    if let Some(window) = &lane.window {
        put_text(bytes, window);
    }
}

fn take_lane(rest: &mut &[u8]) -> Option<LaneState> {
    let mill = u32::try_from(take(rest)?).ok()?;
    let commit = take(rest)?;
    let flags = take(rest)?;
    let outputs = take_count(rest)?;
    let ended_outputs = (0..outputs).map(|_| Some(take(rest)? == 1)).collect::<Option<Vec<_>>>()?;
    let window = if flags & WINDOW == 0 { None } else { Some(take_text(rest)?) };
    Some(LaneState { mill, commit, finished: flags & FINISHED != 0, ended_outputs, window })
}

fn put_node(bytes: &mut Vec<u8>, NodePosition { node, position, marks }: &NodePosition, base: u64) {
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    let last_part = position.last.as_ref().is_some_and(|last| last.part != position.part);
    let plain = is_plain(position);
    put(bytes, *node as u64);
    put(
        bytes,
        flag(position.ended, ENDED)
            | flag(position.marked, MARKED)
            | flag(position.last.is_some(), LAST)
            | flag(position.number != 0, NUMBER)
            | flag(!position.part.is_empty(), PART)
            | flag(!position.finished.is_empty(), RANGES)
            | flag(last_part, LAST_PART)
            | flag(!marks.is_empty(), LANE_MARKS)
            | flag(plain && !position.finished.is_empty(), PLAIN_RANGES)
            | flag(!position.also_last.is_empty(), ALSO_LAST)
            | flag(tokens(position).any(|token| token.is_some()), TOKENS),
    );
    put_signed(bytes, position.next, base);
    if position.number != 0 {
        put(bytes, position.number);
    }
    if !position.part.is_empty() {
        put_text(bytes, &position.part);
    }
    if let Some(last) = &position.last {
        put_last(bytes, last, position);
        if last_part {
            put_text(bytes, &last.part);
        }
    }
    if !position.also_last.is_empty() {
        put(bytes, position.also_last.len() as u64);
        for last in &position.also_last {
            put_last(bytes, last, position);
            put_text(bytes, &last.part);
        }
    }
    if !position.finished.is_empty() {
        put(bytes, position.finished.len() as u64);
        let mut before = position.next;
        for range in &position.finished {
            if plain {
                put(bytes, range.from - before);
                put(bytes, range.to - range.from);
                before = range.to;
                continue;
            }
            put_text(bytes, &range.part);
            put_signed(bytes, range.from, before);
            put_signed(bytes, range.to, range.from);
            before = range.to;
        }
    }
    if !marks.is_empty() {
        put(bytes, marks.len() as u64);
        for mark in marks {
            put(bytes, u64::from(*mark));
        }
    }
    if tokens(position).any(|token| token.is_some()) {
        for token in tokens(position) {
            put(bytes, u64::from(token.is_some()));
            if let Some(token) = token {
                put_text(bytes, token);
            }
        }
    }
}

/// The tokens of a position: its own, and those of the records before it.
fn tokens(position: &Position) -> impl Iterator<Item = Option<&String>> {
    let lasts = position.last.iter().chain(&position.also_last);
    std::iter::once(position.token.as_ref()).chain(lasts.map(|last| last.token.as_ref()))
}

fn take_token(rest: &mut &[u8]) -> Option<Option<String>> {
    if take(rest)? == 0 { Some(None) } else { take_text(rest).map(Some) }
}

fn put_last(bytes: &mut Vec<u8>, last: &LastRecord, position: &Position) {
    put_signed(bytes, last.offset, position.next);
    put_signed(bytes, last.number, position.number);
}

fn take_last(rest: &mut &[u8], position: &Position) -> Option<LastRecord> {
    let mut last = LastRecord::default();
    last.offset = take_signed(rest, position.next)?;
    last.number = take_signed(rest, position.number)?;
    Some(last)
}

fn is_plain(position: &Position) -> bool {
    let mut before = position.next;
    position.finished.iter().all(|range| {
        let in_order = range.part.is_empty() && range.from >= before && range.to >= range.from;
        before = range.to;
        in_order
    })
}

fn take_node(rest: &mut &[u8], base: u64) -> Option<NodePosition> {
    let node = take_count(rest)?;
    let flags = take(rest)?;
    let mut position = Position::at(take_signed(rest, base)?);
    (position.ended, position.marked) = (flags & ENDED != 0, flags & MARKED != 0);
    if flags & NUMBER != 0 {
        position.number = take(rest)?;
    }
    if flags & PART != 0 {
        position.part = take_text(rest)?;
    }
    if flags & LAST != 0 {
        let mut last = take_last(rest, &position)?;
        last.part = if flags & LAST_PART == 0 { position.part.clone() } else { take_text(rest)? };
        position.last = Some(last);
    }
    if flags & ALSO_LAST != 0 {
        for _ in 0..take_count(rest)? {
            let mut last = take_last(rest, &position)?;
            last.part = take_text(rest)?;
            position.also_last.push(last);
        }
    }
    if flags & RANGES != 0 {
        let count = take_count(rest)?;
        let mut before = position.next;
        for _ in 0..count {
            if flags & PLAIN_RANGES != 0 {
                let from = before.checked_add(take(rest)?)?;
                let to = from.checked_add(take(rest)?)?;
                position.finished.push(FinishedRange { part: String::new(), from, to });
                before = to;
                continue;
            }
            let part = take_text(rest)?;
            let from = take_signed(rest, before)?;
            let to = take_signed(rest, from)?;
            position.finished.push(FinishedRange { part, from, to });
            before = to;
        }
    }
    let mut marks = Vec::new();
    if flags & LANE_MARKS != 0 {
        for _ in 0..take_count(rest)? {
            marks.push(u32::try_from(take(rest)?).ok()?);
        }
    }
    if flags & TOKENS != 0 {
        position.token = take_token(rest)?;
        for last in position.last.iter_mut().chain(&mut position.also_last) {
            last.token = take_token(rest)?;
        }
    }
    Some(NodePosition { node, position, marks })
}

/// LEB128.
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A count of things that take a byte each at least.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(rest)?).ok().filter(|count| *count <= 1 << 16)
}

/// The distance from `base`, its sign in the lowest bit.
fn put_signed(bytes: &mut Vec<u8>, value: u64, base: u64) {
    let distance = value.wrapping_sub(base) as i64;
    put(bytes, ((distance << 1) ^ (distance >> 63)) as u64);
}

fn take_signed(rest: &mut &[u8], base: u64) -> Option<u64> {
    let coded = take(rest)?;
    let distance = (coded >> 1) as i64 ^ -((coded & 1) as i64);
    Some(base.wrapping_add(distance as u64))
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_count(rest)?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> OffsetMetadata {
        let mut held = Position::at(1_000_020);
        held.last = Some(LastRecord::default());
        if let Some(last) = &mut held.last {
            (last.offset, last.number) = (1_000_017, 3);
        }
        held.number = 1_000_020;
        let mut also = LastRecord::default();
        (also.offset, also.number, also.part) = (1_000_019, 4, "elsewhere".to_owned());
        held.also_last = vec![also];
        held.finished = vec![
            FinishedRange { part: String::new(), from: 1_000_030, to: 1_000_031 },
            FinishedRange { part: "a.ndjson".to_owned(), from: 7, to: 90 },
        ];
        let mut counted = Position::at(4);
        counted.token = Some("{\"after\":{\"time\":4}}".to_owned());
        counted.last = Some(LastRecord::default());
        let mut file = Position::at(81);
        (file.part, file.ended, file.marked) = ("data/flights.ndjson".to_owned(), true, true);
        OffsetMetadata {
            lane: Some(LaneState {
                mill: 0xfeed_beef,
                commit: 77,
                finished: true,
                ended_outputs: vec![true, false],
                window: Some("sliding 3".to_owned()),
            }),
            nodes: vec![
                NodePosition { node: 0, position: held, marks: vec![0, 3] },
                NodePosition { node: 2, position: file, marks: Vec::new() },
                NodePosition { node: 3, position: counted, marks: Vec::new() },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for metadata in [example(), OffsetMetadata::default()] {
            let text = metadata.text(1_000_000);
            assert_eq!(OffsetMetadata::read(&text, 1_000_000).as_ref(), Some(&metadata), "{text}");
            assert!(text.is_ascii());
        }
    }

    #[test]
    fn of_another_offset_it_is_not_heeded() {
        assert_eq!(OffsetMetadata::read(&example().text(1_000_000), 0), None);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_nothing_or_something_that_is_well_formed() {
        let text = example().text(1_000_000);
        for end in 0..text.len() {
            assert_eq!(OffsetMetadata::read(&text[..end], 1_000_000), None, "cut at {end}");
        }
        for foreign in ["", "w1.", "w2.AAAA", "some text of an operator", "w1.////////////"] {
            assert_eq!(OffsetMetadata::read(foreign, 0), None, "{foreign:?}");
        }
        for at in 0..text.len() {
            for byte in *b"A9z_" {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                // It may mean something else, but never panics or takes more memory than it is long.
                let changed = String::from_utf8(changed).unwrap();
                drop(OffsetMetadata::read(&changed, 1_000_000));
            }
        }
    }

    #[test]
    fn fourteen_hundred_records_that_came_late_fit() {
        let mut position = Position::at(5_000_000_000);
        position.finished = (0..1400)
            .map(|range| {
                let from = 5_000_000_001 + 2 * range;
                FinishedRange { part: String::new(), from, to: from + 1 }
            })
            .collect();
        let metadata =
            OffsetMetadata { lane: None, nodes: vec![NodePosition { node: 0, position, marks: vec![] }] };
        let text = metadata.text(5_000_000_000);
        assert!(text.len() < LONGEST, "{}", text.len());
        assert_eq!(OffsetMetadata::read(&text, 5_000_000_000), Some(metadata));
    }
}
