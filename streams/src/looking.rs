//! Looking at a [`Stream`] without consuming it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::StreamsError;
use crate::info::StreamInfo;
use crate::ledger::{is_live, sweep, unfinished};
use crate::message::{KeptWindow, Message, MessageState};
use crate::store::WindowRow;
use crate::stream::Stream;
use crate::streams::time;

impl<T> Stream<T> {
    /// The messages that are there, up to `most` from the one with the number `first` on, without consuming them.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.append_all(&[1, 2, 3].map(|number| Json(number.into())))?;
    /// let texts: Vec<Vec<u8>> = numbers.peek(1, 1)?.into_iter().map(|message| message.text).collect();
    /// assert_eq!(texts, [b"2"]);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn peek(&self, first: u64, most: usize) -> Result<Vec<Message>, StreamsError> {
        let now = self.inner().now();
        self.look(|rows, stream| {
            let (mut waiting, mut claimed, mut emitted) = (Vec::new(), Vec::new(), Vec::new());
            let subscriptions = rows.subscriptions(stream.number)?;
            for subscription in &subscriptions {
                let ranges = unfinished::of(rows, subscription, stream.next)?;
                if is_live(&subscription.owner, subscription.expires, subscription.lease, now) {
                    let before = |range: &Range<u64>| range.start..range.end.min(subscription.emitted);
                    emitted.extend(ranges.iter().map(before).filter(|range| !range.is_empty()));
                    claimed.extend(ranges.clone());
                }
                for claim in rows.claims(subscription.number)? {
                    if is_live(&claim.owner, claim.expires, claim.lease, now) {
                        emitted.extend((claim.emitted > claim.first).then_some(claim.first..claim.emitted));
                        claimed.push(claim.first..claim.until);
                    }
                }
                waiting.extend(ranges);
            }
            if subscriptions.is_empty() {
                waiting.push(0..stream.next);
            }
            let (waiting, claimed, emitted) =
                (unfinished::merged(waiting), unfinished::merged(claimed), unfinished::merged(emitted));
            let refused = rows.refused(stream.number, first..stream.next)?;
            let mut messages = Vec::new();
            if most == 0 {
                return Ok(messages);
            }
            let next = stream.next;
            let mut note = |number, appended, text: &[u8]| {
                if number < first || messages.len() >= most {
                    return messages.len() < most;
                }
                let state = if unfinished::has(&emitted, number) {
                    MessageState::Emitted
                } else if unfinished::has(&claimed, number) {
                    MessageState::Claimed
                } else if number >= next || unfinished::has(&waiting, number) {
                    MessageState::Appended
                } else if refused.binary_search_by_key(&number, |(refused, _)| *refused).is_ok() {
                    MessageState::Refused
                } else {
                    MessageState::Processed
                };
                messages.push(Message { number, appended: time(appended), state, text: text.to_vec() });
                messages.len() < most
            };
            rows.messages(stream.number, first..next, &mut note)?;
            rows.ahead(stream.number, &mut note)?;
            Ok(messages)
        })
    }

    /// All messages that are there, without consuming them: those that wait, that a consumer has, that were kept, and that were left out. In memory;
    /// [`peek`](Self::peek) shows some of many.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// let readings = streams.get("readings")?;
    /// assert_eq!((readings.buffer()?.len(), readings.buffer()?.len()), (1, 1));
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn buffer(&self) -> Result<Vec<Message>, StreamsError> {
        self.peek(0, usize::MAX)
    }

    /// How many messages wait: at least one subscription is not done with them. Told without looking at them.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// assert_eq!(streams.get("readings")?.len()?, 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn len(&self) -> Result<u64, StreamsError> {
        self.look(sweep::waiting)
    }

    /// Whether no message waits.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// assert!(Streams::open("memory:")?.get("readings")?.is_empty()?);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn is_empty(&self) -> Result<bool, StreamsError> {
        Ok(self.len()? == 0)
    }

    /// What there is to know of the stream.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// assert_eq!(Streams::open("memory:")?.get("readings")?.info()?.appended, 0);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn info(&self) -> Result<StreamInfo, StreamsError> {
        let now = self.inner().now();
        self.look(|rows, stream| StreamInfo::of(rows, stream, now))
    }

    /// The windows that mills were given, the oldest first: of consumers that [`keep`](crate::Consumer::keep) messages, whose commits were made. Up to `most`, from the one with the
    /// number `first` on. They leave with their messages: by [`max_age`](Self::max_age) and [`clear`](Self::clear).
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.append_all(&[1, 2, 3].map(|number| Json(number.into())))?;
    /// numbers.close()?;
    /// let mill = Mill::new(|_: &[Json]| ()).window(Window::count(2));
    /// mill.run_blocking(numbers.consumer().keep())?;
    /// let sizes: Vec<usize> = numbers.windows(0, 100)?.iter().map(|window| window.messages.len()).collect();
    /// assert_eq!(sizes, [2, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn windows(&self, first: u64, most: usize) -> Result<Vec<KeptWindow>, StreamsError> {
        self.look(|rows, stream| {
            let mut found: Vec<WindowRow> = Vec::new();
            if most == 0 {
                return Ok(Vec::new());
            }
            rows.windows(stream.number, first, &mut |row| {
                found.push(row.clone());
                found.len() < most
            })?;
            let names: BTreeMap<u64, String> =
                rows.subscriptions(stream.number)?.into_iter().map(|row| (row.number, row.name)).collect();
            let mut windows = Vec::with_capacity(found.len());
            for row in found {
                let mut messages = Vec::new();
                for range in row.messages {
                    rows.messages(stream.number, range, &mut |number, appended, text| {
                        let (appended, state) = (time(appended), MessageState::Processed);
                        messages.push(Message { number, appended, state, text: text.to_vec() });
                        true
                    })?;
                }
                let subscription = names.get(&row.subscription).cloned();
                windows.push(KeptWindow {
                    number: row.number,
                    emitted: time(row.created),
                    subscription,
                    messages,
                });
            }
            Ok(windows)
        })
    }
}
