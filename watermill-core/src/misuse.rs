//! Lookups that go wrong inside a function.

/// A mistake in how a function looks something up. `Index` can return no error, so it unwinds with this as payload, without
/// the panic message; the engine turns it into an error of the function.
#[derive(Debug, thiserror::Error)]
#[error("{what} (at {place})")]
pub(crate) struct Misuse {
    what: String,
    place: &'static std::panic::Location<'static>,
}

#[track_caller]
pub(crate) fn misuse(what: String) -> ! {
    std::panic::resume_unwind(Box::new(Misuse { what, place: std::panic::Location::caller() }))
}

/// The last segment of a type's path, generics included.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let full = std::any::type_name::<T>();
    let end = full.find('<').unwrap_or(full.len());
    full[..end].rfind("::").map_or(full, |at| &full[at + 2..])
}
