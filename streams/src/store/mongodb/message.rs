//! A message as a document of `buffer`.

use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{DateTime, RawDocumentBuf};

use super::values;
use crate::error::StreamsError;

/// No document may be larger.
const LARGEST: usize = 16 << 20;

/// Which segment a message belongs to that has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) stream: u64,
    /// The number of the segment's first message.
    pub(super) segment: u64,
}

impl Marker {
    /// One text, which a server sets faster than a document.
    pub(super) fn text(self) -> String {
        format!("{}/{}", self.stream, self.segment)
    }
}

/// The document that minibatch would write, byte by byte; with a marker of ours when the message has a number.
pub(super) fn document(
    id: ObjectId,
    stream: &str,
    created: i64,
    text: &[u8],
    marker: Option<Marker>,
) -> Result<RawDocumentBuf, StreamsError> {
    let refused = |cause: Arc<_>| StreamsError::Encode { stream: stream.to_owned(), cause };
    let mut bytes = Vec::with_capacity(text.len() + stream.len() + 96);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(b"\x07_id\0");
    bytes.extend_from_slice(&id.bytes());
    bytes.extend_from_slice(b"\x02stream\0");
    bytes.extend_from_slice(&u32::try_from(stream.len() + 1).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(stream.as_bytes());
    bytes.extend_from_slice(b"\0\x09created\0");
    bytes.extend_from_slice(&DateTime::from_millis(created).timestamp_millis().to_le_bytes());
    let kind = bytes.len();
    bytes.extend_from_slice(b"\x00data\0");
    let of = values::encode(text, &mut bytes).map_err(|cause| refused(Arc::new(cause)))?;
    if let Some(place) = bytes.get_mut(kind) {
        *place = of;
    }
    bytes.extend_from_slice(b"\x08processed\0");
    bytes.push(marker.is_some().into());
    if let Some(marker) = marker {
        bytes.extend_from_slice(b"\x02watermill\0");
        let marker = marker.text();
        bytes.extend_from_slice(&u32::try_from(marker.len() + 1).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(marker.as_bytes());
        bytes.push(0);
    }
    bytes.push(0);
    let length = bytes.len();
    if length > LARGEST {
        let cause = format!("it takes {length} bytes, and a document of MongoDB at most 16 MiB");
        return Err(refused(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(cause))));
    }
    let header = u32::try_from(length).unwrap_or(0).to_le_bytes();
    if let Some(place) = bytes.get_mut(..4) {
        place.copy_from_slice(&header);
    }
    RawDocumentBuf::from_bytes(bytes).map_err(|cause| refused(Arc::new(cause)))
}
