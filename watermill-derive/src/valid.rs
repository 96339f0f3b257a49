//! The mistakes that can be seen without types.

use syn::{Attribute, Data, GenericParam};

use crate::ast::{Input, Shape};
use crate::attr;
use crate::mistakes::Mistakes;

/// Finds what keeps `input` from being a record.
pub(crate) fn record(input: &Input<'_>, mistakes: &Mistakes) {
    let name = &input.original.ident;
    match &input.shape {
        Shape::Named(fields) if fields.is_empty() => no_fields(input, mistakes),
        Shape::Unit => no_fields(input, mistakes),
        Shape::Named(fields) => {
            for field in fields {
                attr::refuse(&field.original.attrs, "fields", mistakes);
            }
        }
        Shape::Tuple(span) => mistakes.at(
            *span,
            format!("a record's fields have names: write `struct {name} {{ .. }}`, or wrap `{name}` in a struct"),
        ),
        Shape::Enum(span) => mistakes.at(
            *span,
            format!(
                "an enum is no record: put it in a field, `struct Record {{ kind: {name}, .. }}`, or give each variant \
                 a struct and a stream of its own"
            ),
        ),
        Shape::Union(span) => mistakes.at(*span, "a union is no record: write a struct"),
    }
    lifetimes(
        input,
        "records own their data: use `String` instead of `&str`, `Vec<T>` instead of `&[T]`",
        mistakes,
    );
    for attribute in &input.original.attrs {
        packed(attribute, mistakes);
    }
}

/// Finds what keeps `input` from being a key.
pub(crate) fn key(input: &Input<'_>, mistakes: &Mistakes) {
    if let Shape::Union(span) = &input.shape {
        mistakes.at(*span, "a union is no key: it has no order");
    }
    if let Some((_, span)) = &input.attributes.name {
        mistakes.at(*span, "keys have no `name`: it belongs to `StreamRecord`");
    }
    lifetimes(input, "keys own their data: use `String` instead of `&str`", mistakes);
    match &input.original.data {
        Data::Struct(data) => {
            for field in &data.fields {
                attr::refuse(&field.attrs, "fields", mistakes);
            }
        }
        Data::Enum(data) => {
            for variant in &data.variants {
                attr::refuse(&variant.attrs, "variants", mistakes);
                for field in &variant.fields {
                    attr::refuse(&field.attrs, "fields", mistakes);
                }
            }
        }
        Data::Union(_) => {}
    }
}

fn no_fields(input: &Input<'_>, mistakes: &Mistakes) {
    let name = &input.original.ident;
    mistakes.at(
        name.span(),
        format!(
            "`{name}` has no fields: records are told apart by their place in memory, so a record needs a field that \
             has a size"
        ),
    );
}

fn lifetimes(input: &Input<'_>, advice: &str, mistakes: &Mistakes) {
    for param in &input.original.generics.params {
        if let GenericParam::Lifetime(param) = param {
            mistakes.at(param.lifetime.span(), advice);
        }
    }
}

fn packed(attribute: &Attribute, mistakes: &Mistakes) {
    if !attribute.path().is_ident("repr") {
        return;
    }
    // What cannot be read here is the compiler's to complain about.
    let _ = attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("packed") {
            mistakes.push(meta.error("a packed struct is no record: keys borrow fields where they stand"));
        }
        if meta.input.peek(syn::token::Paren) {
            let inner;
            syn::parenthesized!(inner in meta.input);
            inner.parse::<proc_macro2::TokenStream>()?;
        }
        Ok(())
    });
}
