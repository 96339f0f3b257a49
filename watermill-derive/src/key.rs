//! The code of `#[derive(StreamKey)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::DeriveInput;

use crate::ast::Input;
use crate::generics::Generics;
use crate::mistakes::Mistakes;
use crate::valid;

/// The impl of `KeyValue` for `input`, or its mistakes.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mistakes = Mistakes::default();
    let input = Input::new(input, &mistakes);
    valid::key(&input, &mistakes);
    let code = key(&input);
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #code)
}

fn key(input: &Input<'_>) -> TokenStream {
    let krate = &input.attributes.krate;
    let Generics { this, params, predicates, .. } = Generics::of(input.original);
    // Spelled out even without parameters: the compiler then names the derive that is missing.
    let ordered = quote_spanned! {input.original.ident.span()=>
        #this: ::core::cmp::Ord
            + ::core::hash::Hash
            + ::core::clone::Clone
            + ::core::fmt::Debug
            + ::core::marker::Send
            + ::core::marker::Sync
            + 'static,
    };
    quote! {
        #[automatically_derived]
        impl<#params> #krate::__derive::KeyValue for #this
        where
            #predicates
            #ordered
        {
            type View<'__a> = ::std::borrow::Cow<'__a, Self>;

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
