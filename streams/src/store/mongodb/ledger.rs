//! What is known of a stream: the document of minibatch, and ours with all its subscriptions and claims. Whoever changes something of a stream writes our document anew, so that of two
//! who do so at the same time one is told to begin again.

use bson::{Bson, DateTime, Document, doc};

use crate::store::{ClaimRow, StreamRow, SubscriptionRow};

/// The number of a subscription, a claim or a window is made of that of its stream and its own, which takes so many bits.
const BITS: u32 = 36;

/// The stream that a subscription or a claim belongs to.
pub(super) fn stream_of(number: u64) -> u64 {
    number >> BITS
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) row: StreamRow,
    pub(super) subscriptions: Vec<(SubscriptionRow, Vec<ClaimRow>)>,
    /// How many subscriptions, claims and windows there ever were.
    last: u64,
    /// How many messages are marked as left out.
    pub(super) refused: i64,
    /// How often it was written.
    pub(super) version: i64,
    /// It is to be written.
    pub(super) changed: bool,
    /// The document of minibatch is, too.
    pub(super) stream_changed: bool,
    /// It is not there yet.
    pub(super) is_new: bool,
}

fn number(document: &Document, name: &str) -> u64 {
    signed(document, name).cast_unsigned()
}

/// A whole number, of whatever kind.
fn signed(document: &Document, name: &str) -> i64 {
    match document.get(name) {
        Some(Bson::Int64(number)) => *number,
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Double(number)) => *number as i64,
        _ => 0,
    }
}

fn text(document: &Document, name: &str) -> String {
    document.get_str(name).unwrap_or_default().to_owned()
}

fn some<T>(document: &Document, name: &str, read: fn(&Document, &str) -> T) -> Option<T> {
    matches!(document.get(name), Some(Bson::Int64(_) | Bson::Int32(_))).then(|| read(document, name))
}

/// The number that we have given to a stream, if we have.
pub(super) fn number_of(stream: &Document) -> Option<u64> {
    some(stream.get_document("watermill").ok()?, "number", number)
}

/// How old the messages of a stream may become.
pub(super) fn max_age_of(stream: &Document) -> Option<u64> {
    some(stream.get_document("watermill").ok()?, "max_age", number)
}

/// When a stream was closed; minibatch tells that by its status.
pub(super) fn closed_of(stream: &Document) -> Option<i64> {
    let is_closed = stream.get_str("status").is_ok_and(|status| status == "closed");
    is_closed.then(|| stream.get_datetime("closed").map_or(0, |closed| closed.timestamp_millis()))
}

fn claims(documents: &Document, subscription: u64) -> Vec<ClaimRow> {
    let claims = documents.get_array("claims").into_iter().flatten().filter_map(Bson::as_document);
    claims
        .map(|claim| ClaimRow {
            number: number(claim, "number"),
            subscription,
            first: number(claim, "first"),
            until: number(claim, "until"),
            owner: text(claim, "owner"),
            epoch: number(claim, "epoch"),
            expires: signed(claim, "expires"),
            lease: number(claim, "lease"),
            emitted: number(claim, "emitted"),
        })
        .collect()
}

impl Ledger {
    /// From both documents.
    pub(super) fn read(stream: &Document, ledger: &Document) -> Self {
        let own = stream.get_document("watermill").cloned().unwrap_or_default();
        let row = StreamRow {
            number: number(ledger, "_id"),
            name: text(stream, "name"),
            created: stream.get_datetime("created").map_or(0, |created| created.timestamp_millis()),
            first: number(ledger, "first"),
            next: number(ledger, "next"),
            closed: closed_of(stream),
            interval: some(&own, "interval", number).unwrap_or(10),
            max_age: max_age_of(stream),
        };
        let subscriptions =
            ledger.get_array("subscriptions").into_iter().flatten().filter_map(Bson::as_document);
        let subscriptions = subscriptions
            .map(|found| {
                let of = SubscriptionRow {
                    number: number(found, "number"),
                    stream: row.number,
                    name: text(found, "name"),
                    created: signed(found, "created"),
                    next: number(found, "next"),
                    keep: found.get_bool("keep").unwrap_or_default(),
                    owner: text(found, "owner"),
                    epoch: number(found, "epoch"),
                    expires: signed(found, "expires"),
                    lease: number(found, "lease"),
                    ended: found.get_bool("ended").unwrap_or_default(),
                    processed: number(found, "processed"),
                    last_read: some(found, "last_read", signed),
                    hold: some(found, "hold", number),
                    emitted: number(found, "emitted"),
                };
                let claims = claims(found, of.number);
                (of, claims)
            })
            .collect();
        Self {
            row,
            subscriptions,
            last: number(ledger, "last"),
            refused: signed(ledger, "refused"),
            version: signed(ledger, "version"),
            ..Self::default()
        }
    }

    /// Our document, as the next version.
    pub(super) fn document(&self) -> Document {
        let subscriptions: Vec<Document> = self
            .subscriptions
            .iter()
            .map(|(of, claims)| {
                let claims: Vec<Document> = claims
                    .iter()
                    .map(|claim| {
                        doc! {
                            "number": claim.number.cast_signed(), "first": claim.first.cast_signed(), "until": claim.until.cast_signed(),
                            "owner": &claim.owner, "epoch": claim.epoch.cast_signed(), "expires": claim.expires,
                            "lease": claim.lease.cast_signed(), "emitted": claim.emitted.cast_signed(),
                        }
                    })
                    .collect();
                doc! {
                    "number": of.number.cast_signed(), "name": &of.name, "created": of.created, "next": of.next.cast_signed(),
                    "keep": of.keep, "owner": &of.owner, "epoch": of.epoch.cast_signed(), "expires": of.expires,
                    "lease": of.lease.cast_signed(), "ended": of.ended, "processed": of.processed.cast_signed(),
                    "last_read": of.last_read, "hold": of.hold.map(u64::cast_signed),
                    "emitted": of.emitted.cast_signed(), "claims": claims,
                }
            })
            .collect();
        doc! {
            "_id": self.row.number.cast_signed(), "name": &self.row.name, "version": self.version + 1,
            "first": self.row.first.cast_signed(), "next": self.row.next.cast_signed(), "last": self.last.cast_signed(),
            "refused": self.refused, "subscriptions": subscriptions,
        }
    }

    /// What we write into the document of minibatch.
    pub(super) fn stream_fields(&self) -> Document {
        let row = &self.row;
        doc! {
            "name": &row.name,
            "status": if row.closed.is_some() { "closed" } else { "open" },
            "created": DateTime::from_millis(row.created),
            "closed": row.closed.map(DateTime::from_millis),
            "watermill": {
                "number": row.number.cast_signed(), "interval": row.interval.cast_signed(),
                "max_age": row.max_age.map(u64::cast_signed),
            },
        }
    }

    /// Of a new stream.
    pub(super) fn of(row: StreamRow) -> Self {
        Self { row, is_new: true, changed: true, ..Self::default() }
    }

    /// A number for a new subscription, claim or window.
    pub(super) fn fresh(&mut self) -> u64 {
        self.last += 1;
        (self.row.number << BITS) | self.last
    }

    pub(super) fn put(&mut self, row: &StreamRow) {
        let before = StreamRow { first: row.first, next: row.next, ..self.row.clone() };
        self.stream_changed |= before != *row;
        self.changed = true;
        self.row = row.clone();
    }

    pub(super) fn put_subscription(&mut self, row: &mut SubscriptionRow) {
        self.changed = true;
        if row.number == 0 {
            row.number = self.fresh();
            self.subscriptions.push((row.clone(), Vec::new()));
        } else if let Some((found, _)) = self.subscriptions.iter_mut().find(|(of, _)| of.number == row.number)
        {
            found.clone_from(row);
        }
    }

    pub(super) fn put_claim(&mut self, row: &mut ClaimRow) {
        self.changed = true;
        if row.number == 0 {
            row.number = self.fresh();
        }
        let number = row.subscription;
        let Some((_, claims)) = self.subscriptions.iter_mut().find(|(of, _)| of.number == number) else {
            return;
        };
        claims.retain(|claim| claim.number != row.number);
        claims.push(row.clone());
        claims.sort_by_key(|claim| claim.first);
    }

    pub(super) fn remove_claim(&mut self, number: u64) {
        self.changed = true;
        self.subscriptions.iter_mut().for_each(|(_, claims)| claims.retain(|claim| claim.number != number));
    }
}
