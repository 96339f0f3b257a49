//! Files that grow, as users declare them.

use crate::broker::JsonFileBroker;

impl JsonFileBroker {
    /// Lets the output that was declared last grow under its own name, instead of appearing when the run is complete: for runs that
    /// have no end, and for those who read along.
    ///
    /// - What is in the file stays, and every commit appends its results. Before its commit nothing of a result can be seen,
    ///   and what can be seen is never taken back, whatever happens to the run; only the very last line may be seen before
    ///   it is whole.
    /// - It is for NDJSON without compression: an array would have to be opened again for every commit. Its last line must be whole.
    /// - A run that was stopped or killed is taken up as any other. One that has come to its end stays known in the state file, so that
    ///   nothing is ever appended twice: a run after it says so and ends, unless it is to
    ///   [`start_over`](Self::start_over), which leaves in the file what is there.
    /// - The file may be moved away or cleared while the run goes on: the next commit makes a new one.
    ///
    /// Standard output and devices are written as it goes in any case.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// use watermill_json_file::JsonFileBroker;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let (days, all) = (directory.path().join("day.ndjson"), directory.path().join("all.ndjson"));
    /// for day in ["{\"day\":1}\n", "{\"day\":2}\n"] {
    ///     std::fs::write(&days, day)?;
    ///     let files = JsonFileBroker::new().read::<Json>(&days).write::<Json>(&all).append();
    ///     let files = files.start_over(); // another day, not the one that is done
    ///     Mill::new(|day: &Json| day.clone()).run_blocking(files)?;
    /// }
    /// assert_eq!(std::fs::read_to_string(&all)?, "{\"day\":1}\n{\"day\":2}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(mut self) -> Self {
        match self.outputs.last_mut() {
            Some(output) => output.append = true,
            None => self.options.misplace("append", "write"),
        }
        self
    }
}
