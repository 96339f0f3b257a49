//! The rows of a transaction, as MongoDB keeps them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bson::{DateTime, Document, RawDocumentBuf, doc};

use super::layout::{BUFFER, CHECKPOINTS, LEDGERS, REFUSED, SEGMENTS, STREAM, WINDOW};
use super::ledger::{self, Ledger, stream_of};
use super::message::Marker;
use super::messages::{shown, waiting};
use super::segments::{self, Segment};
use super::transaction::{Find, MongoRows, Told};
use super::windows;
use crate::ledger::unfinished;
use crate::store::{
    CheckpointRow, ClaimRow, EachMessage, EachWindow, Rows, StreamRow, SubscriptionRow, Texts, WindowRow,
};

impl MongoRows<'_> {
    /// The stream, which is known to be there.
    fn known(&mut self, stream: u64) -> Told<&mut Ledger> {
        let missing = self
            .store
            .driver
            .failures
            .told("find a stream", &format!("there is none of the number {stream}"));
        self.load(stream)?.ok_or(missing)
    }

    fn name_of(&mut self, stream: u64) -> Told<Option<String>> {
        Ok(self.load(stream)?.map(|ledger| ledger.row.name.clone()))
    }
}

impl Rows for MongoRows<'_> {
    fn streams(&mut self) -> Told<Vec<StreamRow>> {
        let (mut streams, mut own) = (Vec::new(), Vec::new());
        let find = Find { sort: Some(doc! { "name": 1 }), ..Find::default() };
        self.each(STREAM, find, |document| {
            streams.push(Document::try_from(document)?);
            Ok(true)
        })?;
        self.each(LEDGERS, Find::default(), |document| {
            own.push(Document::try_from(document)?);
            Ok(true)
        })?;
        let mut rows = Vec::new();
        for stream in streams {
            let name = stream.get_str("name").unwrap_or_default();
            let number = match ledger::number_of(&stream) {
                Some(number) => number,
                None => self.adopt(name, &stream)?,
            };
            let ours = own.iter().find(|own| own.get_i64("_id").is_ok_and(|of| of == number.cast_signed()));
            if let (Some(ours), false) = (ours, self.ledgers.contains_key(&number)) {
                self.ledgers.insert(number, Some(Ledger::read(&stream, ours)));
            }
            rows.extend(self.load(number)?.map(|ledger| ledger.row.clone()));
        }
        Ok(rows)
    }

    fn stream_named(&mut self, name: &str) -> Told<Option<StreamRow>> {
        let Some(number) = self.load_named(name)? else { return Ok(None) };
        self.stream(number)
    }

    fn stream(&mut self, number: u64) -> Told<Option<StreamRow>> {
        Ok(self.load(number)?.map(|ledger| ledger.row.clone()))
    }

    fn put_stream(&mut self, row: &mut StreamRow) -> Told<()> {
        if row.number > 0 {
            self.known(row.number)?.put(row);
            return Ok(());
        }
        if self.load_named(&row.name)?.is_some() {
            let cause = format!("there is a stream `{}` already", row.name);
            return Err(self.store.driver.failures.told("make a stream", &cause));
        }
        row.number = self.fresh_number()?;
        let ledger = Ledger::of(row.clone());
        let mut document = ledger.stream_fields();
        // What minibatch wants besides.
        document.insert("interval", 10);
        document.insert("last_read", DateTime::from_millis(row.created));
        let document = RawDocumentBuf::try_from(&document).map_err(|cause| {
            crate::StreamsError::storage(&self.store.driver.failures.store, "make a stream", cause)
        })?;
        self.insert("make a stream", STREAM, vec![document])?;
        self.ledgers.insert(row.number, Some(ledger));
        self.gates = true;
        Ok(())
    }

    fn remove_stream(&mut self, number: u64) -> Told<()> {
        let Some(name) = self.name_of(number)? else { return Ok(()) };
        self.flush_messages()?;
        let own = doc! { "stream": number.cast_signed() };
        for (collection, filter) in [
            (STREAM, doc! { "name": &name }),
            (BUFFER, doc! { "stream": &name, "processed": false }),
            (WINDOW, doc! { "stream": &name }),
            (SEGMENTS, own.clone()),
            (REFUSED, own),
            (LEDGERS, doc! { "_id": number.cast_signed() }),
        ] {
            self.delete("remove a stream", collection, vec![filter])?;
        }
        self.ledgers.insert(number, None);
        self.dropped.push((name, number));
        (self.ahead, self.gates) = (None, true);
        Ok(())
    }

    fn subscriptions(&mut self, stream: u64) -> Told<Vec<SubscriptionRow>> {
        let ledger = self.load(stream)?;
        Ok(ledger
            .map_or_else(Vec::new, |ledger| ledger.subscriptions.iter().map(|(of, _)| of.clone()).collect()))
    }

    fn subscription(&mut self, number: u64) -> Told<Option<SubscriptionRow>> {
        let ledger = self.load(stream_of(number))?;
        let found = ledger.and_then(|ledger| ledger.subscriptions.iter().find(|(of, _)| of.number == number));
        Ok(found.map(|(of, _)| of.clone()))
    }

    fn put_subscription(&mut self, row: &mut SubscriptionRow) -> Told<()> {
        self.known(row.stream)?.put_subscription(row);
        Ok(())
    }

    fn remove_subscription(&mut self, number: u64) -> Told<()> {
        if let Some(ledger) = self.load(stream_of(number))? {
            ledger.changed = true;
            ledger.subscriptions.retain(|(of, _)| of.number != number);
        }
        Ok(())
    }

    fn claims(&mut self, subscription: u64) -> Told<Vec<ClaimRow>> {
        let ledger = self.load(stream_of(subscription))?;
        let found =
            ledger.and_then(|ledger| ledger.subscriptions.iter().find(|(of, _)| of.number == subscription));
        Ok(found.map_or_else(Vec::new, |(_, claims)| claims.clone()))
    }

    fn put_claim(&mut self, row: &mut ClaimRow) -> Told<()> {
        self.known(stream_of(row.subscription))?.put_claim(row);
        Ok(())
    }

    fn remove_claim(&mut self, number: u64) -> Told<()> {
        if let Some(ledger) = self.load(stream_of(number))? {
            ledger.remove_claim(number);
        }
        Ok(())
    }

    fn append(&mut self, stream: u64, first: u64, at: i64, texts: &Texts) -> Told<()> {
        let name = self.known(stream)?.row.name.clone();
        let ids = self.documents(&name, at, texts, Some(Marker { stream, segment: first }))?;
        self.pending.segments.push(Segment::new(stream, first, &ids));
        Ok(())
    }

    fn add(&mut self, stream: u64, at: i64, texts: &Texts) -> Told<bool> {
        let name = self.known(stream)?.row.name.clone();
        self.documents(&name, at, texts, None)?;
        self.ahead = None;
        Ok(true)
    }

    fn number(&mut self, stream: &mut StreamRow, most: u64) -> Told<u64> {
        if most == 0 {
            return Ok(0);
        }
        self.look_ahead(stream.number, &stream.name, most)?;
        let (_, mut ids, _) = self.ahead.take().unwrap_or_default();
        ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        for ids in ids.chunks(segments::LARGEST) {
            let segment = Segment::new(stream.number, stream.next, ids);
            self.pending.marks.push((stream.name.clone(), segment.clone()));
            self.pending.segments.push(segment);
            stream.next += ids.len() as u64;
        }
        if !ids.is_empty() {
            self.put_stream(stream)?;
        }
        Ok(ids.len() as u64)
    }

    fn unnumbered(&mut self, stream: u64, most: u64) -> Told<u64> {
        let Some(name) = self.name_of(stream)? else { return Ok(0) };
        if most == u64::MAX && self.session.is_none() {
            return self.count(&name);
        }
        self.look_ahead(stream, &name, most)?;
        let count = self.ahead.as_ref().map_or(0, |(_, ids, _)| ids.len() as u64);
        Ok(count.min(most))
    }

    fn ahead(&mut self, stream: u64, each: &mut EachMessage<'_>) -> Told<()> {
        let Some(row) = self.stream(stream)? else { return Ok(()) };
        self.flush_messages()?;
        let find = Find {
            filter: waiting(&row.name),
            fields: Some(doc! { "created": 1, "data": 1 }),
            sort: Some(doc! { "_id": 1 }),
            ..Find::default()
        };
        self.showed = true;
        let (mut number, mut text) = (row.next, Vec::new());
        self.each(BUFFER, find, |message| {
            let created = shown(message, &mut text)?;
            number += 1;
            Ok(each(number - 1, created, &text))
        })
    }

    fn remove_unnumbered(&mut self, stream: u64, before: i64) -> Told<u64> {
        let Some(name) = self.name_of(stream)? else { return Ok(0) };
        self.flush_messages()?;
        self.ahead = None;
        // What Python has processed and left is its own.
        let mut filter = waiting(&name);
        if before < i64::MAX {
            filter.insert("created", doc! { "$lt": DateTime::from_millis(before) });
        }
        let gone = self.delete("remove messages", BUFFER, vec![filter])?;
        Ok(gone.cast_unsigned())
    }

    fn is_settled(&mut self, stream: &StreamRow) -> bool {
        self.store.gates.is_settled(stream.number, self.begun)
    }

    fn messages(&mut self, stream: u64, range: Range<u64>, each: &mut EachMessage<'_>) -> Told<()> {
        self.showed = true;
        let mut text = Vec::new();
        let (mut left, now) = (range, Instant::now());
        while !left.is_empty() {
            let Some(message) = self.store.taken().take(now, stream, left.start) else { break };
            let created = shown(&message, &mut text).map_err(|cause| {
                crate::StreamsError::storage(&self.store.driver.failures.store, "read a message", cause)
            })?;
            if !each(left.start, created, &text) {
                return Ok(());
            }
            left.start += 1;
        }
        self.walk(stream, left, doc! { "created": 1, "data": 1 }, &mut |number, message| {
            let created = shown(message, &mut text)?;
            Ok(each(number, created, &text))
        })
    }

    fn remove_messages(&mut self, stream: u64, range: Range<u64>) -> Told<()> {
        // What was taken before in this transaction costs nothing.
        let gone = unfinished::merged(
            self.removed.iter().filter(|(of, _)| *of == stream).map(|(_, range)| range.clone()).collect(),
        );
        let mut from = range.start;
        let mut parts = Vec::new();
        for gone in gone.iter().filter(|gone| gone.end > range.start && gone.start < range.end) {
            parts.push(from..gone.start.max(from));
            from = from.max(gone.end);
        }
        parts.push(from..range.end.max(from));
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            return Ok(());
        }
        // Segments are seen as they are in the transaction.
        self.flush_messages()?;
        for part in parts {
            self.remove_part(stream, &part)?;
            self.removed.push((stream, part));
        }
        Ok(())
    }

    fn refused(&mut self, stream: u64, range: Range<u64>) -> Told<Vec<(u64, u64)>> {
        if range.is_empty() || self.load(stream)?.is_none_or(|ledger| ledger.refused == 0) {
            return Ok(Vec::new());
        }
        let until = i64::try_from(range.end).unwrap_or(i64::MAX);
        let find = Find {
            filter: doc! { "stream": stream.cast_signed(), "message": { "$gte": range.start.cast_signed(), "$lt": until } },
            sort: Some(doc! { "message": 1, "subscription": 1 }),
            ..Find::default()
        };
        let mut all = Vec::new();
        self.each(REFUSED, find, |mark| {
            let number = |name: &str| mark.get_i64(name).map(i64::cast_unsigned).unwrap_or_default();
            all.push((number("message"), number("subscription")));
            Ok(true)
        })?;
        Ok(all)
    }

    fn refuse(&mut self, stream: u64, message: u64, subscription: u64) -> Told<()> {
        let mark = doc! {
            "stream": stream.cast_signed(), "message": message.cast_signed(), "subscription": subscription.cast_signed(),
        };
        if self.one(REFUSED, mark.clone())?.is_some() {
            return Ok(());
        }
        let mark = RawDocumentBuf::try_from(&mark).map_err(|cause| crate::StreamsError::Encode {
            stream: stream.to_string(),
            cause: Arc::new(cause),
        })?;
        self.insert("mark a message", REFUSED, vec![mark])?;
        let ledger = self.known(stream)?;
        ledger.refused += 1;
        ledger.changed = true;
        Ok(())
    }

    fn forgive(&mut self, stream: u64, range: Range<u64>) -> Told<()> {
        if range.is_empty() || self.load(stream)?.is_none_or(|ledger| ledger.refused == 0) {
            return Ok(());
        }
        let until = i64::try_from(range.end).unwrap_or(i64::MAX);
        let of = doc! { "stream": stream.cast_signed(), "message": { "$gte": range.start.cast_signed(), "$lt": until } };
        let gone = self.delete("take marks away", REFUSED, vec![of])?;
        let ledger = self.known(stream)?;
        ledger.refused -= gone;
        ledger.changed = true;
        Ok(())
    }

    fn put_window(&mut self, row: &mut WindowRow) -> Told<()> {
        let ledger = self.known(row.stream)?;
        if row.number == 0 {
            row.number = ledger.fresh();
            ledger.changed = true;
        }
        self.windows.push(row.clone());
        Ok(())
    }

    fn windows(&mut self, stream: u64, from: u64, each: &mut EachWindow<'_>) -> Told<()> {
        let Some(name) = self.name_of(stream)? else { return Ok(()) };
        self.flush_windows()?;
        let find = Find {
            filter: doc! { "stream": name, "watermill.number": { "$gte": from.cast_signed() } },
            fields: Some(doc! { "created": 1, "watermill": 1 }),
            sort: Some(doc! { "watermill.number": 1 }),
            ..Find::default()
        };
        self.each(WINDOW, find, |window| Ok(windows::read(window, stream).is_none_or(|row| each(&row))))
    }

    fn remove_windows(&mut self, stream: u64, before: u64) -> Told<u64> {
        let Some(name) = self.name_of(stream)? else { return Ok(0) };
        self.flush_windows()?;
        let mut filter = doc! { "stream": name, "watermill.number": { "$exists": true } };
        if let Ok(before) = i64::try_from(before) {
            filter.insert("watermill.until", doc! { "$lte": before });
        }
        Ok(self.delete("remove windows", WINDOW, vec![filter])?.cast_unsigned())
    }

    fn checkpoint(&mut self, name: &str, lane: u32) -> Told<Option<CheckpointRow>> {
        let key = (name.to_owned(), lane);
        if let Some((row, _)) = self.checkpoints.get(&key) {
            return Ok(row.clone());
        }
        let found = self.one(CHECKPOINTS, doc! { "_id": format!("{lane} {name}") })?;
        let row = found.map(|found| CheckpointRow {
            name: name.to_owned(),
            lane,
            epoch: found.get_i64("epoch").map(i64::cast_unsigned).unwrap_or_default(),
            state: found.get_str("state").unwrap_or_default().to_owned(),
        });
        self.checkpoints.insert(key, (row.clone(), false));
        Ok(row)
    }

    fn put_checkpoint(&mut self, row: &CheckpointRow) -> Told<()> {
        self.checkpoints.insert((row.name.clone(), row.lane), (Some(row.clone()), true));
        Ok(())
    }

    fn remove_checkpoints(&mut self, name: &str) -> Told<()> {
        self.checkpoints.retain(|(of, _), _| of != name);
        self.delete("forget positions", CHECKPOINTS, vec![doc! { "name": name }])?;
        Ok(())
    }
}
