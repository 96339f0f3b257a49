//! Dependency injection.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

/// A value that the mill was given by [`Mill::inject`](crate::Mill::inject): a connection pool, a model, settings.
///
/// One value of each type is shared by all calls, on every lane and worker; hence `T: Send + Sync`. State of one lane's
/// own belongs into a [`Mill::per_lane`](crate::Mill::per_lane) closure.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
/// struct Limit(f64);
///
/// fn check(reading: &Reading, limit: Inject<Limit>) {
///     assert!(reading.celsius < limit.0);
/// }
///
/// let readings = vec![Reading { celsius: 20.0 }];
/// Mill::new(check).inject(Limit(25.0)).run_blocking(MemoryBroker::new().read(readings))?;
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Inject<T>(pub(crate) Arc<T>);

impl<T> Deref for Inject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Inject<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The injected values of a mill, one for each type.
#[derive(Default, Clone)]
pub(crate) struct Injections(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Injections {
    pub(crate) fn put<T: Send + Sync + 'static>(&mut self, value: Arc<T>) -> bool {
        self.0.insert(TypeId::of::<T>(), value).is_none()
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get(&TypeId::of::<T>())?).downcast().ok()
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }
}
