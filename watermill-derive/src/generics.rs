//! Generics of the user's item, taken over into items of ours.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{DeriveInput, GenericParam};

/// The generics of an item, ready to be put into other items.
pub(crate) struct Generics {
    /// The item as a type: `Reading<T, N>`.
    pub(crate) this: TokenStream,
    /// Its parameters with bounds, without defaults: `T: Unit, const N: usize,`.
    pub(crate) params: TokenStream,
    /// Its parameters as arguments: `T, N,`.
    pub(crate) args: TokenStream,
    /// Its own `where` predicates, each with a comma.
    pub(crate) predicates: TokenStream,
    /// Whether there are parameters at all.
    pub(crate) any: bool,
}

impl Generics {
    /// The generics of `input`.
    pub(crate) fn of(input: &DeriveInput) -> Self {
        let (_, arguments, where_clause) = input.generics.split_for_impl();
        let name = &input.ident;
        let this = quote!(#name #arguments);
        let mut params = TokenStream::new();
        let mut args = TokenStream::new();
        for param in &input.generics.params {
            match param {
                GenericParam::Lifetime(param) => {
                    let lifetime = &param.lifetime;
                    params.extend(quote!(#param,));
                    args.extend(quote!(#lifetime,));
                }
                GenericParam::Type(param) => {
                    let (ident, colon, bounds) = (&param.ident, &param.colon_token, &param.bounds);
                    params.extend(quote!(#ident #colon #bounds,));
                    args.extend(quote!(#ident,));
                }
                GenericParam::Const(param) => {
                    let (ident, ty) = (&param.ident, &param.ty);
                    params.extend(quote!(const #ident: #ty,));
                    args.extend(quote!(#ident,));
                }
            }
        }
        let predicates = where_clause.map(|clause| {
            let predicates = clause.predicates.iter();
            quote!(#(#predicates,)*)
        });
        Self {
            params: without_self(params, &this),
            args,
            predicates: without_self(predicates.into_token_stream(), &this),
            any: !input.generics.params.is_empty(),
            this,
        }
    }
}

/// `tokens` with `this` in place of `Self`, which means something else in the items they go to.
pub(crate) fn without_self(tokens: TokenStream, this: &TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ident) if ident == "Self" => quote!(#this),
            TokenTree::Group(group) => {
                let mut replaced = Group::new(group.delimiter(), without_self(group.stream(), this));
                replaced.set_span(group.span());
                TokenTree::Group(replaced).into()
            }
            other => other.into(),
        })
        .collect()
}
