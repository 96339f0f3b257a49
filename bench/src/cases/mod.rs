//! The benchmarks: what each candidate does.

mod commits;
mod flights;
mod many_to_many;
mod memory;
mod self_join;
mod slow_sink;
mod three_level;
mod walk;
mod windows;
mod workers;

use std::path::{Path, PathBuf};

use crate::measure::Outcome;
use crate::{Failure, inputs};

/// One benchmark.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How many masters.
    pub(crate) size: u64,
    pub(crate) quick: u64,
    /// What its input file is called.
    pub(crate) input: &'static str,
    pub(crate) prepare: fn(&Path, u64) -> Result<(), Failure>,
    /// It is not kept for the next time.
    pub(crate) input_is_large: bool,
    pub(crate) writes_files: bool,
    /// The first one is what the others are compared with.
    pub(crate) candidates: &'static [Candidate],
}

/// One way to do it.
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Job) -> Result<Outcome, Failure>,
}

/// What a candidate is asked to do.
pub(crate) struct Job {
    pub(crate) size: u64,
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
}

const LOOP: &str = "by hand";
const MILL: &str = "watermill";
const CHECKPOINT: &str = "with a checkpoint";

const FROM_MEMORY: Case = Case {
    name: "",
    title: "",
    size: 10_000_000,
    quick: 2_000_000,
    input: "",
    prepare: inputs::none,
    input_is_large: false,
    writes_files: false,
    candidates: &[],
};

const FROM_FILES: Case = Case {
    size: 5_000_000,
    quick: 500_000,
    input: "locations",
    prepare: inputs::locations,
    writes_files: true,
    ..FROM_MEMORY
};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "self_join",
        title: "48-byte NDJSON records joined to themselves at time + 10, results as NDJSON",
        candidates: &[
            Candidate { name: LOOP, run: self_join::by_hand },
            Candidate { name: MILL, run: self_join::watermill },
        ],
        ..FROM_FILES
    },
    Case {
        name: "walk",
        title: "one-to-one join in memory, no results",
        candidates: &[
            Candidate { name: LOOP, run: walk::by_hand },
            Candidate { name: MILL, run: walk::watermill },
            Candidate { name: CHECKPOINT, run: walk::with_checkpoint },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "walk_results",
        title: "one-to-one join in memory, a result for each master",
        candidates: &[
            Candidate { name: LOOP, run: walk::by_hand_with_results },
            Candidate { name: MILL, run: walk::watermill_with_results },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "three_level",
        title: "A joined to B joined to C, in memory, a result for each A",
        size: 5_000_000,
        quick: 1_000_000,
        candidates: &[
            Candidate { name: LOOP, run: three_level::by_hand },
            Candidate { name: MILL, run: three_level::watermill },
            Candidate { name: CHECKPOINT, run: three_level::with_checkpoint },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "three_level_files",
        title: "the same from one NDJSON file, to NDJSON",
        size: 2_000_000,
        candidates: &[
            Candidate { name: LOOP, run: three_level::files_by_hand },
            Candidate { name: MILL, run: three_level::files_watermill },
        ],
        ..FROM_FILES
    },
    Case {
        name: "many_to_many",
        title: "groups of 10 x 10 in memory, a result for each master",
        size: 5_000_000,
        quick: 1_000_000,
        candidates: &[
            Candidate { name: LOOP, run: many_to_many::by_hand },
            Candidate { name: MILL, run: many_to_many::watermill },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "windows_count",
        title: "windows of 10 records in memory, no results; the unit is a record",
        candidates: &[
            Candidate { name: LOOP, run: windows::chunks },
            Candidate { name: MILL, run: windows::count },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "windows_fixed",
        title: "the same by event time: fixed windows of 10",
        candidates: &[
            Candidate { name: LOOP, run: windows::chunks },
            Candidate { name: MILL, run: windows::fixed },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "windows_relaxed",
        title: "relaxed windows, 10 records arriving for each, as a batch",
        candidates: &[
            Candidate { name: LOOP, run: windows::chunks },
            Candidate { name: MILL, run: windows::relaxed },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "windows_sliding",
        title: "sliding windows of 10, every 2: each record is in 5",
        candidates: &[
            Candidate { name: LOOP, run: windows::overlapping_chunks },
            Candidate { name: MILL, run: windows::sliding },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "flights",
        title: "flights joined to those that leave their destination 45 to 120 minutes later, NDJSON",
        size: 1_000_000,
        quick: 100_000,
        input: "flights",
        prepare: inputs::flights,
        candidates: &[
            Candidate { name: LOOP, run: flights::by_hand },
            Candidate { name: MILL, run: flights::watermill },
        ],
        ..FROM_FILES
    },
    Case {
        name: "memory",
        title: "the self-join over 2 GB, results to nowhere: peak memory",
        size: 2_000_000_000 / 48,
        quick: 5_000_000,
        input: "locations-large",
        input_is_large: true,
        writes_files: false,
        candidates: &[
            Candidate { name: LOOP, run: memory::by_hand },
            Candidate { name: MILL, run: memory::watermill },
        ],
        ..FROM_FILES
    },
    Case {
        name: "commits",
        title: "the self-join with commits only at its end, every second as is the default, and every 100 ms",
        candidates: &[
            Candidate { name: "at the end", run: commits::at_the_end },
            Candidate { name: "every second", run: commits::default },
            Candidate { name: "every 100 ms", run: commits::often },
        ],
        ..FROM_FILES
    },
    Case {
        name: "workers",
        title: "a function of about 100 microseconds a call",
        size: 50_000,
        quick: 5_000,
        candidates: &[
            Candidate { name: LOOP, run: workers::by_hand },
            Candidate { name: "one worker", run: workers::one },
            Candidate { name: "two workers", run: workers::two },
        ],
        ..FROM_MEMORY
    },
    Case {
        name: "slow_sink",
        title: "a sink much slower than the source, n seconds long: peak memory",
        size: 600,
        quick: 20,
        candidates: &[
            Candidate { name: "a tenth", run: slow_sink::a_tenth },
            Candidate { name: "the whole", run: slow_sink::whole },
        ],
        ..FROM_MEMORY
    },
];
