//! Files that grow, as users declare them.

use crate::broker::JsonFileBroker;
use crate::follow::Follow;

impl JsonFileBroker {
    /// Follows the input that was declared last: at the end of the file the run waits for more, as `tail -F` does.
    ///
    /// - It is for one NDJSON file without compression. A line is a record once its line feed is there, and never before.
    /// - **The end** comes with the mark `{"eos__": true}`, or when the run is stopped. What was read is committed in time, whether more
    ///   comes or not.
    /// - **A file that is not there** is waited for, and so is the next one when a file was deleted.
    /// - **Rotation** by renaming: the old file is read to its end, whatever it is called now, and then the new one from its
    ///   beginning; not before something stands in the new one, since until then the old one may still be written. If there were several
    ///   rotations between two looks, the files between are found where the old one and they are called `name.2`, `name.1` and so on by then; under other
    ///   names they are missed.
    ///   A last line without its line feed is a bad record by then (it was cut), and skipped or not by
    ///   [`Mill::on_bad`](watermill_core::Mill::on_bad).
    /// - **A run that has never committed** begins with the file that has the name, whatever was rotated away before.
    /// - **Rotation** by copying and cutting (`copytruncate`): what was not read before the cut is read from the copy, if there is exactly one file
    ///   beside it whose name begins with its own, which is new, and which begins with what was read. Otherwise a warning says that something
    ///   may be lost, and the file is read anew from its beginning. A cut is noticed by what stands in the first and the last 4 KiB of
    ///   what was read: where a file was cut and has grown again to that length or beyond between two looks, and its content is the same there
    ///   (its lines have neither times nor numbers, say), it is not. As long as no more than the beginning of its first line was read, a new copy beside it tells, too.
    ///   What is written between the copy and the cut is lost by whoever rotates, and cannot be read by anybody.
    /// - **Taken up** by the next run, as any input, even if it was rotated while no run was there: by device and inode, and what was
    ///   read of it, the file is found under its name or any other in the same directory; a copy, as above. If it is not there any more, or was
    ///   compressed since, that is an error that says what to do; or see [`Follow::accept_gaps`].
    ///
    /// Results go where they always go: into a hidden file, until the run has come to its end. Since a run that follows may never do, its outputs will mostly
    /// [`append`](Self::append).
    ///
    /// In positions and messages the second file that has had the name is called `log.ndjson#2`, and so on.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// use std::io::Write;
    /// use watermill_json_file::JsonFileBroker;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let (log, copy) = (directory.path().join("log.ndjson"), directory.path().join("copy.ndjson"));
    /// let files = JsonFileBroker::new().read::<Json>(&log).follow().write::<Json>(&copy).append();
    /// let run = Mill::new(|line: &Json| line.clone()).start(files)?;
    ///
    /// let mut file = std::fs::File::create(&log)?;
    /// for n in 1..=3 {
    ///     writeln!(file, "{{\"n\":{n}}}")?;
    /// }
    /// writeln!(file, "{{\"eos__\":true}}")?;
    ///
    /// assert_eq!(run.wait_blocking()?.calls, 3);
    /// assert_eq!(std::fs::read_to_string(&copy)?, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(self) -> Self {
        self.follow_with(Follow::new())
    }

    /// As [`follow`](Self::follow), with options.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watermill_core::record::Json;
    /// use watermill_json_file::{Follow, JsonFileBroker};
    ///
    /// let often = Follow::new().every(Duration::from_millis(10));
    /// let files = JsonFileBroker::new().read::<Json>("log.ndjson").follow_with(often);
    /// ```
    pub fn follow_with(mut self, follow: Follow) -> Self {
        match self.inputs.last_mut() {
            Some(input) => input.follow = Some(follow),
            None => self.options.misplace("follow", "read"),
        }
        self
    }

    /// Lets the output that was declared last grow under its own name, instead of appearing when the run is complete: for runs that
    /// have no end, and for those who [`follow`](Self::follow) it.
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
