//! What a derive was put on.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Type, Visibility};

use crate::attr::Attributes;
use crate::mistakes::Mistakes;

/// The input of a derive.
pub(crate) struct Input<'a> {
    /// As syn read it.
    pub(crate) original: &'a DeriveInput,
    /// Its `#[watermill(..)]` attributes.
    pub(crate) attributes: Attributes,
    /// Its kind.
    pub(crate) shape: Shape<'a>,
}

/// The kind of an item.
pub(crate) enum Shape<'a> {
    /// `struct Robot { time: i64 }`
    Named(Vec<Field<'a>>),
    /// `struct Robot(i64);` and where its fields are.
    Tuple(Span),
    /// `struct Robot;`
    Unit,
    /// An enum, and its keyword.
    Enum(Span),
    /// A union, and its keyword.
    Union(Span),
}

/// A field of a struct.
pub(crate) struct Field<'a> {
    /// As syn read it.
    pub(crate) original: &'a syn::Field,
    /// Its name.
    pub(crate) name: &'a Ident,
    /// Its type.
    pub(crate) ty: &'a Type,
    /// Its visibility.
    pub(crate) visibility: &'a Visibility,
}

impl<'a> Input<'a> {
    /// Sorts `original` and reads its attributes.
    pub(crate) fn new(original: &'a DeriveInput, mistakes: &Mistakes) -> Self {
        let shape = match &original.data {
            Data::Struct(data) => match &data.fields {
                Fields::Named(fields) => Shape::Named(fields.named.iter().filter_map(Field::new).collect()),
                Fields::Unnamed(fields) => Shape::Tuple(fields.span()),
                Fields::Unit => Shape::Unit,
            },
            Data::Enum(data) => Shape::Enum(data.enum_token.span),
            Data::Union(data) => Shape::Union(data.union_token.span),
        };
        Self { original, attributes: Attributes::read(&original.attrs, mistakes), shape }
    }
}

impl<'a> Field<'a> {
    fn new(original: &'a syn::Field) -> Option<Self> {
        let name = original.ident.as_ref()?;
        Some(Self { original, name, ty: &original.ty, visibility: &original.vis })
    }
}
