//! Where what comes asynchronously is polled.

use std::sync::{Arc, OnceLock};

use tokio::runtime::{EnterGuard, Handle, Runtime};

use crate::error::StreamsError;

/// The runtime of those who attached the source, or one of its own, which is made when it is needed and stays as long as the source does: timers belong to the runtime that they were made in.
#[derive(Clone)]
pub(crate) struct SourceRuntime {
    attached_in: Option<Handle>,
    own: Arc<OnceLock<Runtime>>,
}

impl SourceRuntime {
    pub(crate) fn here() -> Self {
        Self { attached_in: Handle::try_current().ok(), own: Arc::default() }
    }

    fn own(&self) -> Result<&Runtime, StreamsError> {
        if let Some(own) = self.own.get() {
            return Ok(own);
        }
        let made = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let made = made.map_err(|cause| StreamsError::storage("a source", "make its runtime", cause))?;
        Ok(self.own.get_or_init(|| made))
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, StreamsError> {
        Ok(match &self.attached_in {
            Some(handle) => handle.block_on(future),
            None => self.own()?.block_on(future),
        })
    }

    pub(super) fn enter(&self) -> Result<EnterGuard<'_>, StreamsError> {
        Ok(match &self.attached_in {
            Some(handle) => handle.enter(),
            None => self.own()?.enter(),
        })
    }
}
