use watermill_derive::StreamKey;

#[derive(StreamKey)]
union Bits {
    whole: i64,
    float: f64,
}

fn main() {}
