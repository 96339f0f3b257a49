//! Failed calls over files: the letter holds the record's text, and the mended record can be replayed.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use watermill::prelude::*;
use watermill::{DeadLetter, OnError};

#[derive(Serialize, Deserialize, StreamRecord)]
struct Order {
    id: u64,
    to: String,
}

#[derive(Serialize, Deserialize, StreamRecord)]
struct Booked {
    id: u64,
}

fn book(order: &Order) -> Result<Booked, String> {
    if order.to.is_empty() { Err("nobody to send it to".to_owned()) } else { Ok(Booked { id: order.id }) }
}

#[test]
fn the_text_of_the_master_is_kept_and_comes_back_mended() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines = "{\"id\":1,\"to\":\"a\"}\n{ \"id\": 2, \"to\": \"\" }\n{\"id\":3,\"to\":\"c\"}\n";
    fs::write(path("orders.ndjson"), lines).unwrap();
    for workers in [1, 2] {
        let files = JsonFileBroker::new()
            .read::<Order>(path("orders.ndjson"))
            .write::<Booked>(path("booked.ndjson"))
            .write::<DeadLetter>(path("letters.ndjson"));
        let mill = Mill::new(book).workers(workers).on_error(OnError::dead_letter());
        assert_eq!(mill.run_blocking(files).unwrap().given_up, 1);
        assert_eq!(fs::read_to_string(path("booked.ndjson")).unwrap(), "{\"id\":1}\n{\"id\":3}\n");
        let letters = fs::read_to_string(path("letters.ndjson")).unwrap();
        let letter: DeadLetter = serde_json::from_str(letters.trim()).unwrap();
        assert_eq!(letter.text(), Some("{ \"id\": 2, \"to\": \"\" }"));
        assert_eq!((letter.offset, letter.number, letter.attempts), (18, 1, 1));

        fs::write(path("mended.ndjson"), letters.replace("\\\"to\\\": \\\"\\\"", "\\\"to\\\": \\\"b\\\""))
            .unwrap();
        let again = JsonFileBroker::new()
            .replay::<Order>(path("mended.ndjson"))
            .write::<Booked>(path("booked-late.ndjson"));
        Mill::new(book).run_blocking(again).unwrap();
        assert_eq!(fs::read_to_string(path("booked-late.ndjson")).unwrap(), "{\"id\":2}\n");
    }
}
