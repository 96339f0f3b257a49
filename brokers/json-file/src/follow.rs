//! What users say about files that are followed.

use std::time::Duration;

/// How a growing file is followed: see [`JsonFileBroker::follow_with`](crate::JsonFileBroker::follow_with).
///
/// ```
/// use std::time::Duration;
/// use watermill_json_file::{Follow, JsonFileBroker};
/// use watermill_core::record::Json;
///
/// let files = JsonFileBroker::new()
///     .read::<Json>("log.ndjson")
///     .follow_with(Follow::new().every(Duration::from_millis(20)).must_exist());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Follow {
    pub(crate) every: Duration,
    pub(crate) must_exist: bool,
    pub(crate) accept_gaps: bool,
}

impl Follow {
    /// Looks every 100 ms, waits for a file that is not there yet, and takes files that were lost for an error.
    ///
    /// ```
    /// use watermill_json_file::Follow;
    ///
    /// assert_eq!(Follow::new(), Follow::default());
    /// ```
    pub fn new() -> Self {
        Self { every: Duration::from_millis(100), must_exist: false, accept_gaps: false }
    }

    /// How often the file is looked at while there is nothing more to read: every 100 ms unless set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watermill_json_file::Follow;
    ///
    /// let follow = Follow::new().every(Duration::from_secs(2));
    /// assert_ne!(follow, Follow::new());
    /// ```
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time.max(Duration::from_millis(1));
        self
    }

    /// A file that is not there when the run starts is an error, as it is without following. Otherwise the run waits for it.
    ///
    /// ```
    /// use watermill_core::broker::{Broker, InputRequest, Job};
    /// use watermill_core::record::Json;
    /// use watermill_json_file::{Follow, JsonFileBroker};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut job = Job::default();
    /// job.inputs = vec![InputRequest { input: 0, stream: "Json".to_owned(), node: 0, keep_raw: false }];
    /// let files = JsonFileBroker::new().read::<Json>("no/such.ndjson");
    /// assert!(files.clone().follow().open(&job).await.is_ok());
    /// assert!(files.follow_with(Follow::new().must_exist()).open(&job).await.is_err());
    /// # });
    /// ```
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Goes on when what an earlier run was reading is not there any more: with the file that has the name now, from its beginning, and a
    /// warning. Otherwise that is an error, since nobody knows what of it was not read.
    ///
    /// ```
    /// use watermill_json_file::Follow;
    ///
    /// let follow = Follow::new().accept_gaps();
    /// assert_ne!(follow, Follow::new());
    /// ```
    pub fn accept_gaps(mut self) -> Self {
        self.accept_gaps = true;
        self
    }
}

impl Default for Follow {
    fn default() -> Self {
        Self::new()
    }
}
