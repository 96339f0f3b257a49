//! The rows of a transaction, as SQLite keeps them.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::failure::Failures;
use super::ranges;
use crate::error::StreamsError;
use crate::store::{
    CheckpointRow, ClaimRow, EachMessage, EachWindow, Rows, StreamRow, SubscriptionRow, Texts, WindowRow,
};

/// A message's own number takes so many bits of its place; the number of its stream the rest.
const BITS: u32 = 40;

/// The rows within a transaction.
pub(super) struct SqliteRows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) failures: &'a Failures,
}

type Told<T> = Result<T, StreamsError>;

impl SqliteRows<'_> {
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Told<Vec<T>> {
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(params, row)?.collect()
        };
        read().map_err(|cause| self.failures.of("read", cause))
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Told<Option<T>> {
        let read = || self.connection.prepare_cached(sql)?.query_row(params, row).optional();
        read().map_err(|cause| self.failures.of("read", cause))
    }

    fn change(&self, sql: &str, params: impl Params) -> Told<()> {
        let write = || self.connection.prepare_cached(sql)?.execute(params);
        write().map(drop).map_err(|cause| self.failures.of("write", cause))
    }

    /// Writes a new row. Returns its number.
    fn insert(&self, sql: &str, params: impl Params) -> Told<u64> {
        self.change(sql, params)?;
        Ok(self.connection.last_insert_rowid().cast_unsigned())
    }

    /// Where the message stands.
    fn place(&self, stream: u64, message: u64) -> Told<i64> {
        if stream < 1 << (63 - BITS) && message < 1 << BITS {
            return Ok(((stream << BITS) | message).cast_signed());
        }
        let cause = format!(
            "a file holds at most {} streams of {} messages each; go on with another file",
            1_u64 << (63 - BITS),
            1_u64 << BITS
        );
        Err(StreamsError::storage(&self.failures.store, "append", cause))
    }

    /// The first and the last place of a range; `None` when it is empty.
    fn places(&self, stream: u64, range: &Range<u64>) -> Told<Option<(i64, i64)>> {
        let last = range.end.saturating_sub(1).min((1 << BITS) - 1);
        if range.is_empty() || range.start > last {
            return Ok(None);
        }
        Ok(Some((self.place(stream, range.start)?, self.place(stream, last)?)))
    }
}

fn message_of(place: i64) -> u64 {
    place.cast_unsigned() & ((1 << BITS) - 1)
}

const STREAM: &str = "SELECT number, name, created, first, next, closed, interval, max_age FROM stream";

fn stream(row: &Row<'_>) -> rusqlite::Result<StreamRow> {
    Ok(StreamRow {
        number: row.get(0)?,
        name: row.get(1)?,
        created: row.get(2)?,
        first: row.get(3)?,
        next: row.get(4)?,
        closed: row.get(5)?,
        interval: row.get(6)?,
        max_age: row.get(7)?,
    })
}

const SUBSCRIPTION: &str = "SELECT number, stream, name, created, next, keep, owner, epoch, expires, lease, ended, processed, last_read, hold, emitted FROM subscription";

fn subscription(row: &Row<'_>) -> rusqlite::Result<SubscriptionRow> {
    Ok(SubscriptionRow {
        number: row.get(0)?,
        stream: row.get(1)?,
        name: row.get(2)?,
        created: row.get(3)?,
        next: row.get(4)?,
        keep: row.get(5)?,
        owner: row.get(6)?,
        epoch: row.get(7)?,
        expires: row.get(8)?,
        lease: row.get(9)?,
        ended: row.get(10)?,
        processed: row.get(11)?,
        last_read: row.get(12)?,
        hold: row.get(13)?,
        emitted: row.get(14)?,
    })
}

fn claim(row: &Row<'_>) -> rusqlite::Result<ClaimRow> {
    Ok(ClaimRow {
        number: row.get(0)?,
        subscription: row.get(1)?,
        first: row.get(2)?,
        until: row.get(3)?,
        owner: row.get(4)?,
        epoch: row.get(5)?,
        expires: row.get(6)?,
        lease: row.get(7)?,
        emitted: row.get(8)?,
    })
}

fn checkpoint(row: &Row<'_>) -> rusqlite::Result<CheckpointRow> {
    Ok(CheckpointRow { name: row.get(0)?, lane: row.get(1)?, epoch: row.get(2)?, state: row.get(3)? })
}

impl Rows for SqliteRows<'_> {
    fn streams(&mut self) -> Told<Vec<StreamRow>> {
        self.all(&format!("{STREAM} ORDER BY name"), [], stream)
    }

    fn stream_named(&mut self, name: &str) -> Told<Option<StreamRow>> {
        self.one(&format!("{STREAM} WHERE name = ?"), [name], stream)
    }

    fn stream(&mut self, number: u64) -> Told<Option<StreamRow>> {
        self.one(&format!("{STREAM} WHERE number = ?"), [number], stream)
    }

    fn put_stream(&mut self, row: &mut StreamRow) -> Told<()> {
        let StreamRow { name, created, first, next, closed, interval, max_age, .. } = row.clone();
        if row.number > 0 {
            // Name and birth do not change; what stands in an index would be written once more.
            let sql = "UPDATE stream SET first = ?, next = ?, closed = ?, interval = ?, max_age = ? WHERE number = ?";
            return self.change(sql, params![first, next, closed, interval, max_age, row.number]);
        }
        let sql = "INSERT INTO stream (name, created, first, next, closed, interval, max_age) VALUES (?, ?, ?, ?, ?, ?, ?)";
        row.number = self.insert(sql, params![name, created, first, next, closed, interval, max_age])?;
        Ok(())
    }

    fn remove_stream(&mut self, number: u64) -> Told<()> {
        self.remove_messages(number, 0..u64::MAX)?;
        self.forgive(number, 0..u64::MAX)?;
        self.change(
            "DELETE FROM claim WHERE subscription IN (SELECT number FROM subscription WHERE stream = ?)",
            [number],
        )?;
        self.change("DELETE FROM subscription WHERE stream = ?", [number])?;
        self.change("DELETE FROM window WHERE stream = ?", [number])?;
        self.change("DELETE FROM stream WHERE number = ?", [number])
    }

    fn subscriptions(&mut self, stream: u64) -> Told<Vec<SubscriptionRow>> {
        self.all(&format!("{SUBSCRIPTION} WHERE stream = ? ORDER BY name"), [stream], subscription)
    }

    fn subscription(&mut self, number: u64) -> Told<Option<SubscriptionRow>> {
        self.one(&format!("{SUBSCRIPTION} WHERE number = ?"), [number], subscription)
    }

    fn put_subscription(&mut self, row: &mut SubscriptionRow) -> Told<()> {
        let SubscriptionRow { stream, name, created, next, keep, owner, epoch, expires, .. } = row.clone();
        let (lease, ended, processed, last, hold, emitted) =
            (row.lease, row.ended, row.processed, row.last_read, row.hold, row.emitted);
        if row.number > 0 {
            let sql =
                "UPDATE subscription SET next = ?, keep = ?, owner = ?, epoch = ?, expires = ?, lease = ?,
                ended = ?, processed = ?, last_read = ?, hold = ?, emitted = ? WHERE number = ?";
            let values = params![
                next, keep, owner, epoch, expires, lease, ended, processed, last, hold, emitted, row.number
            ];
            return self.change(sql, values);
        }
        let sql = "INSERT INTO subscription (stream, name, created, next, keep, owner, epoch, expires, lease, ended,
            processed, last_read, hold, emitted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            stream, name, created, next, keep, owner, epoch, expires, lease, ended, processed, last, hold,
            emitted
        ];
        row.number = self.insert(sql, values)?;
        Ok(())
    }

    fn remove_subscription(&mut self, number: u64) -> Told<()> {
        self.change("DELETE FROM subscription WHERE number = ?", [number])
    }

    fn claims(&mut self, subscription: u64) -> Told<Vec<ClaimRow>> {
        let sql =
            "SELECT number, subscription, first, until, owner, epoch, expires, lease, emitted FROM claim
            WHERE subscription = ? ORDER BY first";
        self.all(sql, [subscription], claim)
    }

    fn put_claim(&mut self, row: &mut ClaimRow) -> Told<()> {
        let ClaimRow { subscription, first, until, owner, epoch, expires, lease, emitted, .. } = row.clone();
        if row.number > 0 {
            let sql =
                "UPDATE claim SET subscription = ?, first = ?, until = ?, owner = ?, epoch = ?, expires = ?,
                lease = ?, emitted = ? WHERE number = ?";
            return self.change(
                sql,
                params![subscription, first, until, owner, epoch, expires, lease, emitted, row.number],
            );
        }
        let sql = "INSERT INTO claim (subscription, first, until, owner, epoch, expires, lease, emitted)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        row.number =
            self.insert(sql, params![subscription, first, until, owner, epoch, expires, lease, emitted])?;
        Ok(())
    }

    fn remove_claim(&mut self, number: u64) -> Told<()> {
        self.change("DELETE FROM claim WHERE number = ?", [number])
    }

    fn append(&mut self, stream: u64, first: u64, at: i64, texts: &Texts) -> Told<()> {
        self.place(stream, first + texts.len() as u64)?;
        let first = self.place(stream, first)?;
        let write = || {
            let sql = "INSERT INTO message (place, appended, data) VALUES (?, ?, ?)";
            let mut statement = self.connection.prepare_cached(sql)?;
            for (place, text) in (first..).zip(texts.iter()) {
                statement.execute(params![place, at, text])?;
            }
            Ok(())
        };
        write().map_err(|cause| self.failures.of("append", cause))
    }

    fn messages(&mut self, stream: u64, range: Range<u64>, each: &mut EachMessage<'_>) -> Told<()> {
        let Some((first, last)) = self.places(stream, &range)? else { return Ok(()) };
        let mut read = || {
            let sql = "SELECT place, appended, data FROM message WHERE place BETWEEN ? AND ? ORDER BY place";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([first, last])?;
            while let Some(row) = rows.next()? {
                if !each(message_of(row.get(0)?), row.get(1)?, row.get_ref(2)?.as_bytes()?) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|cause| self.failures.of("read messages", cause))
    }

    fn remove_messages(&mut self, stream: u64, range: Range<u64>) -> Told<()> {
        let Some((first, last)) = self.places(stream, &range)? else { return Ok(()) };
        self.change("DELETE FROM message WHERE place BETWEEN ? AND ?", [first, last])
    }

    fn refused(&mut self, stream: u64, range: Range<u64>) -> Told<Vec<(u64, u64)>> {
        let Some((first, last)) = self.places(stream, &range)? else { return Ok(Vec::new()) };
        let sql = "SELECT place, subscription FROM refused WHERE place BETWEEN ? AND ? ORDER BY place";
        self.all(sql, [first, last], |row| Ok((message_of(row.get(0)?), row.get(1)?)))
    }

    fn refuse(&mut self, stream: u64, message: u64, subscription: u64) -> Told<()> {
        let place = self.place(stream, message)?;
        self.change(
            "INSERT OR IGNORE INTO refused (place, subscription) VALUES (?, ?)",
            params![place, subscription],
        )
    }

    fn forgive(&mut self, stream: u64, range: Range<u64>) -> Told<()> {
        let Some((first, last)) = self.places(stream, &range)? else { return Ok(()) };
        self.change("DELETE FROM refused WHERE place BETWEEN ? AND ?", [first, last])
    }

    fn put_window(&mut self, row: &mut WindowRow) -> Told<()> {
        let sql =
            "INSERT INTO window (stream, subscription, created, until, messages) VALUES (?, ?, ?, ?, ?)";
        let (until, messages) = (row.until(), ranges::text(&row.messages));
        row.number = self.insert(sql, params![row.stream, row.subscription, row.created, until, messages])?;
        Ok(())
    }

    fn windows(&mut self, stream: u64, from: u64, each: &mut EachWindow<'_>) -> Told<()> {
        let mut read = || {
            let sql = "SELECT number, subscription, created, messages FROM window
                WHERE stream = ? AND number >= ? ORDER BY number";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![stream, from])?;
            while let Some(row) = rows.next()? {
                let messages = ranges::read(row.get_ref(3)?.as_str()?);
                let (number, subscription, created) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if !each(&WindowRow { number, stream, subscription, created, messages }) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|cause| self.failures.of("read", cause))
    }

    fn remove_windows(&mut self, stream: u64, before: u64) -> Told<u64> {
        // No number of a message is larger.
        let before = before.min(i64::MAX.cast_unsigned());
        self.change("DELETE FROM window WHERE stream = ? AND until <= ?", params![stream, before])?;
        Ok(self.connection.changes())
    }

    fn checkpoint(&mut self, name: &str, lane: u32) -> Told<Option<CheckpointRow>> {
        let sql = "SELECT name, lane, epoch, state FROM checkpoint WHERE name = ? AND lane = ?";
        self.one(sql, params![name, lane], checkpoint)
    }

    fn put_checkpoint(&mut self, row: &CheckpointRow) -> Told<()> {
        let sql = "INSERT OR REPLACE INTO checkpoint (name, lane, epoch, state) VALUES (?, ?, ?, ?)";
        self.change(sql, params![row.name, row.lane, row.epoch, row.state])
    }

    fn remove_checkpoints(&mut self, name: &str) -> Told<()> {
        self.change("DELETE FROM checkpoint WHERE name = ?", [name])
    }
}
