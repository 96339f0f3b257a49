use watermill::key::KeyValue;
use watermill_derive::StreamKey;

#[derive(StreamKey, Clone, Debug, PartialEq, Eq)]
struct NoOrder(i64);

#[derive(StreamKey, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Borrowed<'a>(&'a str);

#[derive(StreamKey, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[watermill(name = "key")]
enum Named {
    #[watermill(first)]
    A,
}

fn is_key<K: KeyValue>() {}

fn main() {
    is_key::<NoOrder>();
    is_key::<Borrowed<'static>>();
    is_key::<Named>();
}
