//! Windows of neighbours with an equal key.

use std::marker::PhantomData;
use std::sync::Arc;

use super::rule::{AnyWindow, Coming, Entry, OpenWindow, WindowRule};
use super::{CloseReason, Window};
use crate::engine::{KeyCheck, RoleCheck, Rule, describe, key_of};
use crate::key::{KeyExpr, KeyValue};
use crate::record::StreamRecord;

impl<M: StreamRecord> Window<M> {
    /// Neighbours with an equal key: `Window::by(Reading::fields().time / 60)`. The key needs no order: whenever it
    /// changes, a new window begins.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { sensor: u32 }
    /// # let samples = [7, 7, 3, 7].map(|sensor| Sample { sensor });
    /// # let broker = MemoryBroker::new().read(Vec::from(samples));
    /// let mill = Mill::new(|samples: &[Sample]| assert!(samples.iter().all(|one| one.sensor == samples[0].sensor)))
    ///     .window(Window::by(Sample::fields().sensor));
    /// // The sensors 7, 7 and 3 and 7 again.
    /// assert_eq!(mill.run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn by<E: KeyExpr<M>>(key: E) -> Self {
        let text = format!("window by {}", describe::<M, E>(&key));
        Self::of(Arc::new(ByKey(Arc::new(key))), text)
    }
}

struct ByKey<E>(Arc<E>);

impl<M: StreamRecord, E: KeyExpr<M>> WindowRule<M> for ByKey<E> {
    fn open(&self) -> OpenWindow {
        let window = OpenByKey::<M, E> { key: Arc::clone(&self.0), current: None, master: PhantomData };
        OpenWindow::Apart(Box::new(window))
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        Some(Box::new(KeyCheck::new(Arc::clone(&self.0), Rule::Valid)))
    }
}

struct OpenByKey<M, E: KeyExpr<M>> {
    key: Arc<E>,
    /// The key of the window; `None` is a key like any other here.
    current: Option<E::Value>,
    master: PhantomData<fn(&M)>,
}

impl<M: StreamRecord, E: KeyExpr<M>> AnyWindow for OpenByKey<M, E> {
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry {
        let key = coming.record::<M>().and_then(|record| key_of(&*self.key, record).ok().flatten());
        if count == 0 {
            self.current = key.map(|key| E::Value::detach(&key));
            return Entry::Takes;
        }
        let current = self.current.as_ref().and_then(|current| current.view().ok().flatten());
        if key == current { Entry::Takes } else { Entry::Closes(CloseReason::KeyChanged) }
    }
}
