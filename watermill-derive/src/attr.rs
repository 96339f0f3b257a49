//! The `#[watermill(..)]` attributes.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ExprPath, Lit, Meta, Path, Token, parse_quote};

use crate::mistakes::Mistakes;

/// What the attributes of an item say.
pub(crate) struct Attributes {
    /// `crate = path`, or `::watermill`.
    pub(crate) krate: Path,
    /// `name = ".."`, and where it stands.
    pub(crate) name: Option<(String, Span)>,
}

impl Attributes {
    /// Reads the attributes of an item.
    pub(crate) fn read(attributes: &[Attribute], mistakes: &Mistakes) -> Self {
        let mut name = None;
        let mut krate = None;
        for meta in settings(attributes, mistakes) {
            let span = meta.path().span();
            if meta.path().is_ident("name") {
                set(&mut name, name_value(&meta, mistakes), "name", span, mistakes);
            } else if meta.path().is_ident("crate") {
                set(&mut krate, crate_value(&meta, mistakes), "crate", span, mistakes);
            } else {
                unknown(&meta, "known are `name` and `crate`", mistakes);
            }
        }
        Self {
            krate: krate.flatten().unwrap_or_else(|| parse_quote!(::watermill)),
            name: name.flatten().map(|name| (name, span_of(attributes))),
        }
    }
}

/// Refuses attributes where there are none to give: on fields and variants.
pub(crate) fn refuse(attributes: &[Attribute], place: &str, mistakes: &Mistakes) {
    for meta in settings(attributes, mistakes) {
        unknown(&meta, &format!("{place} take none; known are `name` and `crate`, above the item"), mistakes);
    }
}

/// The parts of all `#[watermill(..)]` among `attributes`.
fn settings(attributes: &[Attribute], mistakes: &Mistakes) -> Vec<Meta> {
    let mut settings = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("watermill")) {
        let Meta::List(list) = &attribute.meta else {
            mistakes.at(attribute.meta.span(), "nothing in parentheses: write `#[watermill(name = \"..\")]`");
            continue;
        };
        match list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
            Ok(found) => settings.extend(found),
            Err(error) => mistakes.push(error),
        }
    }
    settings
}

/// Fills `slot`, once.
fn set<T>(slot: &mut Option<T>, value: T, name: &str, span: Span, mistakes: &Mistakes) {
    if slot.is_some() {
        mistakes.at(span, format!("`{name}` is given twice"));
    } else {
        *slot = Some(value);
    }
}

fn unknown(meta: &Meta, known: &str, mistakes: &Mistakes) {
    let segments: Vec<String> =
        meta.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
    mistakes.at(meta.path().span(), format!("unknown attribute `{}`: {known}", segments.join("::")));
}

fn name_value(meta: &Meta, mistakes: &Mistakes) -> Option<String> {
    let (value, span) = value(meta);
    if let Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = value {
        let text = text.value();
        if !text.trim().is_empty() {
            return Some(text);
        }
    }
    mistakes.at(span, "`name` takes a text that is not empty: `name = \"robot\"`");
    None
}

fn crate_value(meta: &Meta, mistakes: &Mistakes) -> Option<Path> {
    let (value, span) = value(meta);
    if let Some(Expr::Path(ExprPath { qself: None, path, .. })) = value {
        return Some(path.clone());
    }
    mistakes.at(span, "`crate` takes a path without quotes: `crate = my::watermill`");
    None
}

/// What stands behind `=`, and where a complaint about it belongs.
fn value(meta: &Meta) -> (Option<&Expr>, Span) {
    match meta {
        Meta::NameValue(pair) => (Some(&pair.value), pair.value.span()),
        _ => (None, meta.span()),
    }
}

fn span_of(attributes: &[Attribute]) -> Span {
    attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("watermill"))
        .map_or_else(Span::call_site, Spanned::span)
}
