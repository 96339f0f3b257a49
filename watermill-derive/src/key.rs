//! The code of `#[derive(StreamKey)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::DeriveInput;

use crate::ast::Input;
use crate::fallback;
use crate::generics::Generics;
use crate::mistakes::Mistakes;
use crate::valid;

/// The impl of `KeyValue` for `input`, or its mistakes.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mistakes = Mistakes::default();
    let input = Input::new(input, &mistakes);
    valid::key(&input, &mistakes);
    let code = if mistakes.is_empty() { key(&input) } else { fallback::key(&input) };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #code)
}

fn key(input: &Input<'_>) -> TokenStream {
    let krate = &input.attributes.krate;
    let Generics { this, params, predicates, any, .. } = Generics::of(input.original);
    // Known only for its arguments. Without parameters the bounds of the view say what is missing, once.
    let ordered = any.then(|| {
        quote! {
            #this: ::core::cmp::Ord
                + ::core::hash::Hash
                + ::core::clone::Clone
                + ::core::fmt::Debug
                + ::core::marker::Send
                + ::core::marker::Sync
                + 'static,
        }
    });
    // Where the user looks for a mistake.
    let at = Span::call_site().located_at(input.original.ident.span());
    let header = quote_spanned!(at=> impl<#params> #krate::__derive::KeyValue for #this);
    let view = quote_spanned!(at=> type View<'__a> = ::std::borrow::Cow<'__a, Self>;);
    quote! {
        #[automatically_derived]
        #header
        where
            #predicates
            #ordered
        {
            #view

            #[inline]
            fn view(
                &self,
            ) -> ::core::result::Result<::core::option::Option<Self::View<'_>>, #krate::__derive::KeyFault> {
                ::core::result::Result::Ok(::core::option::Option::Some(::std::borrow::Cow::Borrowed(self)))
            }

            #[inline]
            fn into_view<'__a>(
                self,
            ) -> ::core::result::Result<::core::option::Option<Self::View<'__a>>, #krate::__derive::KeyFault> {
                ::core::result::Result::Ok(::core::option::Option::Some(::std::borrow::Cow::Owned(self)))
            }

            #[inline]
            fn detach(view: &Self::View<'_>) -> Self {
                <Self as ::core::clone::Clone>::clone(view)
            }
        }
    }
}
