//! Many messages from librdkafka in one call.
//!
//! The only module with `unsafe`. The safe client takes one message at a time, each with an event and a reference count of its own; a join reads each of its streams once, so that is
//! where most of its time goes. Nine runs of `bench/kafka` in turn, a million records: 1.00 of the throughput of the loop over the bare client at least once and 1.02 exactly once,
//! against 0.78 and 0.83 with one message at a time.
//!
//! # Safety
//! - A [`Batch`] owns its messages: `rd_kafka_consume_batch_queue` gives each of them to the caller, who must destroy it once, which `Drop` does.
//! - What is borrowed from a message (value, key, headers) lives as long as the message, and the borrow is of the batch.
//! - Messages may be used and destroyed from any thread, while the client lives: librdkafka's documentation says so, and [`Queue`] keeps the client by an `Arc`. A batch
//!   borrows the queue.
//! - The queue's pointer is a reference of its own, from `rd_kafka_queue_get_partition`, given back once.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::{RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};
use watermill_core::broker::Headers;

use crate::context::Context;

/// The queue of one partition.
pub(crate) struct Queue {
    queue: NonNull<RDKafkaQueue>,
    /// The client outlives its queue.
    _client: Arc<BaseConsumer<Context>>,
}

// SAFETY: librdkafka's queues are locked by themselves; any thread may use them.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// The queue of a partition; `None` where there is no such topic or partition.
    pub(crate) fn of(client: &Arc<BaseConsumer<Context>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client lives, and the name is a C string for as long as the call lasts.
        let queue = unsafe {
            native::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition)
        };
        Some(Self { queue: NonNull::new(queue)?, _client: Arc::clone(client) })
    }

    /// Takes up to `most` messages that are there, without waiting.
    pub(crate) fn take(&self, most: usize) -> Batch<'_> {
        let mut messages: Vec<*mut RDKafkaMessage> = Vec::with_capacity(most);
        // SAFETY: there is room for `most` pointers, of which the call writes as many as it returns.
        let count = unsafe {
            let room = messages.as_mut_ptr();
            let count = native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, room, most);
            let count = usize::try_from(count).unwrap_or(0).min(most);
            messages.set_len(count);
            count
        };
        debug_assert!(count <= most);
        Batch { messages, queue: PhantomData }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference that `of` was given, given back once.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Messages, in their order.
pub(crate) struct Batch<'q> {
    messages: Vec<*mut RDKafkaMessage>,
    queue: PhantomData<&'q Queue>,
}

impl Batch<'_> {
    /// What was taken: messages, and what the client says instead.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Native<'_>, RDKafkaErrorCode>> {
        self.messages.iter().map(|message| {
            // SAFETY: the batch owns the message, which is whole and lives as long as the batch, and nobody changes it.
            let message = unsafe { &**message };
            match message.err {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Native(message)),
                error => Err(error.into()),
            }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in &self.messages {
            // SAFETY: it was given to this batch, and nothing borrows from it any more.
            unsafe { native::rd_kafka_message_destroy(*message) }
        }
    }
}

/// A message of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Native<'b>(&'b RDKafkaMessage);

impl<'b> Native<'b> {
    pub(crate) fn offset(&self) -> u64 {
        self.0.offset.max(0).cast_unsigned()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Its value; `None` for a tombstone.
    pub(crate) fn value(&self) -> Option<&'b [u8]> {
        // SAFETY: the message says where its value is, and how long.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    pub(crate) fn key(&self) -> Option<&'b [u8]> {
        // SAFETY: the message says where its key is, and how long.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// In milliseconds since the epoch.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message lives; the kind of its time is not asked for.
        let time = unsafe { native::rd_kafka_message_timestamp(self.0, ptr::null_mut()) };
        (time != -1).then_some(time)
    }

    /// Empty where it has none.
    pub(crate) fn headers(&self) -> Headers {
        let mut list = ptr::null_mut();
        // SAFETY: the message lives; the list belongs to it.
        let found = unsafe { native::rd_kafka_message_headers(self.0, &raw mut list) };
        let mut headers = Headers::new();
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        loop {
            // SAFETY: the list lives as long as the message; behind its last header the call says so.
            let found = unsafe {
                native::rd_kafka_header_get_all(
                    list,
                    headers.len(),
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                )
            };
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            // SAFETY: a name is a C string, a value says how long it is; both belong to the message.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, length)) };
            headers.push((name.to_string_lossy().into_owned(), value.unwrap_or_default().to_vec()));
        }
    }
}

/// # Safety
/// Where `start` is not null there are `length` bytes, which live and stay the same for `'b`.
unsafe fn bytes<'b>(start: *const c_void, length: usize) -> Option<&'b [u8]> {
    let start = NonNull::new(start.cast_mut().cast::<u8>())?;
    // SAFETY: by the contract of this function.
    Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) })
}
