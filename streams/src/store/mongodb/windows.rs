//! Windows of messages that are kept, as documents of `window`.

use std::collections::BTreeMap;

use bson::raw::RawArrayBuf;
use bson::{Bson, DateTime, Document, RawBson, RawDocument, RawDocumentBuf, cstr, doc};

use super::layout::WINDOW;
use super::transaction::{MongoRows, Told};
use crate::ledger::unfinished;
use crate::store::WindowRow;

/// The data of a window is left out where it would take more bytes: a document has 16 MiB at most.
const DATA: usize = 15 << 20;

/// What we have written of a window.
pub(super) fn read(window: &RawDocument, stream: u64) -> Option<WindowRow> {
    let own = Document::try_from(window.get_document("watermill").ok()?).ok()?;
    let number = |value: &Bson| value.as_i64().map(i64::cast_unsigned);
    let ranges = own.get_array("messages").ok()?.iter().filter_map(Bson::as_array);
    Some(WindowRow {
        number: number(own.get("number")?)?,
        stream,
        subscription: number(own.get("subscription")?)?,
        created: window.get_datetime("created").map_or(0, DateTime::timestamp_millis),
        messages: ranges.filter_map(|range| Some(number(range.first()?)?..number(range.get(1)?)?)).collect(),
    })
}

impl MongoRows<'_> {
    /// Sends the windows that are to be written, with what their messages hold.
    pub(super) fn flush_windows(&mut self) -> Told<()> {
        let windows = std::mem::take(&mut self.windows);
        let mut by_stream: BTreeMap<u64, Vec<WindowRow>> = BTreeMap::new();
        for window in windows {
            by_stream.entry(window.stream).or_default().push(window);
        }
        for (stream, windows) in by_stream {
            let ranges = windows.iter().flat_map(|window| window.messages.iter().cloned()).collect();
            let mut data = BTreeMap::new();
            for range in unfinished::merged(ranges) {
                self.walk(stream, range, doc! { "data": 1 }, &mut |number, message| {
                    if let Some(value) = message.get("data")? {
                        data.insert(number, value.into());
                    }
                    Ok(true)
                })?;
            }
            let name = self.load(stream)?.map(|ledger| ledger.row.name.clone()).unwrap_or_default();
            let mut documents = Vec::with_capacity(windows.len());
            for window in &windows {
                documents.push(self.window(&name, window, &data)?);
            }
            self.insert("write windows", WINDOW, documents)?;
        }
        Ok(())
    }

    fn window(&self, name: &str, row: &WindowRow, data: &BTreeMap<u64, RawBson>) -> Told<RawDocumentBuf> {
        let mut items = RawArrayBuf::new();
        for range in &row.messages {
            data.range(range.clone()).for_each(|(_, value)| items.push(value.clone()));
        }
        if items.as_bytes().len() > DATA {
            items = RawArrayBuf::new();
        }
        let ranges =
            row.messages.iter().map(|range| vec![range.start.cast_signed(), range.end.cast_signed()]);
        let ranges: Vec<Bson> = ranges.map(Bson::from).collect();
        let fields = doc! { "stream": name, "created": DateTime::from_millis(row.created) };
        let own = doc! {
            "number": row.number.cast_signed(), "subscription": row.subscription.cast_signed(), "messages": ranges,
            "until": row.until().cast_signed(),
        };
        let action = "write a window";
        let mut document = self.raw(action, &fields)?;
        document.append(cstr!("data"), items);
        document.append(cstr!("processed"), true);
        document.append(cstr!("query"), RawArrayBuf::new());
        document.append(cstr!("watermill"), self.raw(action, &own)?);
        Ok(document)
    }
}
