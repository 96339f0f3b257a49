//! Records, and the files of a trial.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use watermill::prelude::*;

use crate::seed::Seed;

macro_rules! readings {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
        pub struct $name {
            /// Counts the records of its file.
            pub id: i64,
            /// Never goes down; several records may have the same.
            pub time: i64,
            /// Needs no order.
            pub robot: i64,
        }

        impl From<(i64, i64, i64)> for $name {
            fn from((id, time, robot): (i64, i64, i64)) -> Self {
                Self { id, time, robot }
            }
        }
    )*};
}

readings!(
    /// The master.
    A,
    /// The master's file, seen a second time.
    Again,
    /// A second stream.
    B,
    /// A third stream.
    C
);

/// What most mills write: the ids of what they saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
pub struct Saw {
    /// The ids, the master's first.
    pub ids: Vec<i64>,
    /// A text that gives the output some length.
    pub text: String,
}

impl Saw {
    /// What saw these ids.
    #[must_use]
    pub fn of(ids: Vec<i64>) -> Self {
        let text = "~".repeat(ids.iter().sum::<i64>().rem_euclid(23) as usize);
        Self { ids, text }
    }
}

/// A second result stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
pub struct Odd {
    /// The master's id.
    pub id: i64,
}

/// A stream as the oracle knows it.
pub type Rows = Vec<(i64, i64, i64)>;

/// The streams of a trial.
#[derive(Debug, Clone)]
pub struct Streams {
    /// The rows of `A`.
    pub a: Rows,
    /// The rows of `B`.
    pub b: Rows,
    /// The rows of `C`.
    pub c: Rows,
}

impl Streams {
    /// Random streams of about `count` records each, with runs of equal times and with gaps.
    #[must_use]
    pub fn random(seed: &mut Seed, count: i64) -> Self {
        let mut rows = || {
            let mut time = 0;
            (0..count)
                .map(|id| {
                    time += [0, 0, 1, 1, 1, 2, 3, 7][seed.below(8) as usize];
                    (id, time, seed.below(4) as i64)
                })
                .collect::<Rows>()
        };
        Self { a: rows(), b: rows(), c: rows() }
    }

    /// Writes the files that mills read: `a.ndjson`, `b.json` (an array), `c.ndjson.gz`, and the directory `parts`, which holds `A` in
    /// three files of three forms.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory.join("parts")).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).unwrap();
        let (a, b, c) = (texts::<A>(&self.a), texts::<B>(&self.b), texts::<C>(&self.c));
        put("a.ndjson", &lines(&a));
        put("b.json", &array(&b));
        put("c.ndjson.gz", &gzip(&lines(&c)));
        let third = a.len() / 3;
        put("parts/1.ndjson", &lines(&a[..third]));
        put("parts/2.json", &array(&a[third..2 * third]));
        put("parts/3.ndjson.gz", &gzip(&lines(&a[2 * third..])));
        let bad = |(index, line): (usize, &String)| match index % 10 {
            3 => format!("{line}\nnot a record {index}"),
            _ => line.clone(),
        };
        // In three files, so that records are late over their ends.
        fs::create_dir_all(directory.join("late")).unwrap();
        let late = texts::<A>(&displaced(&self.a));
        put("late/1.ndjson", &lines(&late[..third]));
        put("late/2.json", &array(&late[third..2 * third]));
        put("late/3.ndjson.gz", &gzip(&lines(&late[2 * third..])));
        put("late.json", &array(&texts::<B>(&displaced(&self.b))));
        // Now and then a key that goes down.
        let low = |(index, row): (usize, &(i64, i64, i64))| {
            let down =
                (index % 7 == 5).then(|| serde_json::to_string(&B::from((row.0, row.1 - 1000, row.2))));
            [serde_json::to_string(&B::from(*row)).unwrap()].into_iter().chain(down.map(Result::unwrap))
        };
        put("low.json", &array(&self.b.iter().enumerate().flat_map(low).collect::<Vec<_>>()));
        put("bad.ndjson", &lines(&a.iter().enumerate().map(bad).collect::<Vec<_>>()));
    }
}

/// The rows slightly out of order: each no more than 6 behind one that comes after it.
#[must_use]
pub fn displaced(rows: &[(i64, i64, i64)]) -> Rows {
    let mut displaced: Vec<_> = rows.iter().enumerate().collect();
    displaced.sort_by_key(|(index, row)| index + (row.0 * 5 % 7) as usize);
    displaced.into_iter().map(|(_, row)| *row).collect()
}

fn texts<R: From<(i64, i64, i64)> + Serialize>(rows: &[(i64, i64, i64)]) -> Vec<String> {
    rows.iter().map(|row| serde_json::to_string(&R::from(*row)).unwrap()).collect()
}

/// Elements as NDJSON.
#[must_use]
pub fn lines(texts: &[String]) -> Vec<u8> {
    texts.iter().flat_map(|text| format!("{text}\n").into_bytes()).collect()
}

/// Elements as an array, the way watermill writes it.
#[must_use]
pub fn array(texts: &[String]) -> Vec<u8> {
    if texts.is_empty() { b"[]\n".to_vec() } else { format!("[\n{}\n]\n", texts.join(",\n")).into_bytes() }
}

/// Compresses.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    member.write_all(bytes).unwrap();
    member.finish().unwrap()
}

/// The text of a file, decompressed when its name says that it is compressed.
#[must_use]
pub fn text_of(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|ending| ending == "gz") {
        let mut text = Vec::new();
        MultiGzDecoder::new(&*bytes).read_to_end(&mut text).unwrap();
        text
    } else {
        bytes
    }
}

/// The text of an output; of dead letters what names them, those of one stream behind those of the other.
#[must_use]
pub fn output_of(directory: &Path, name: &str) -> Vec<u8> {
    let text = text_of(&directory.join("out").join(name));
    if !name.ends_with("letters.ndjson") {
        return text;
    }
    let letters = String::from_utf8(text).unwrap();
    let named = |line: &str| {
        let letter: DeadLetter = serde_json::from_str(line).unwrap();
        let whole = letter.text().unwrap();
        let expected = if letter.stream == "A" { "not a record" } else { "{\"id\":" };
        assert!(whole.starts_with(expected) && !letter.cut, "{line}");
        format!("{} {} {}", letter.stream, letter.kind, letter.number)
    };
    let mut letters: Vec<String> = letters.lines().map(named).collect();
    letters.sort_by_key(|letter| letter.starts_with('B'));
    lines(&letters)
}

/// The names in a directory, hidden ones included.
#[must_use]
pub fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
