//! Impls that only keep the rest of the user's code from failing too.

use proc_macro2::TokenStream;
use quote::quote;

use crate::ast::Input;
use crate::generics::Generics;

/// A `StreamRecord` without fields.
pub(crate) fn record(input: &Input<'_>) -> TokenStream {
    let Generics { this, params, predicates, .. } = Generics::of(input.original);
    let krate = &input.attributes.krate;
    quote! {
        #[automatically_derived]
        impl<#params> #krate::__derive::StreamRecord for #this
        where
            #predicates
            Self: ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            const NAME: &'static ::core::primitive::str = "";
            type Fields<__P: #krate::__derive::Place<Value = Self>> = ();

            fn fields_below<__P: #krate::__derive::Place<Value = Self>>() -> &'static () {
                &()
            }
        }
    }
}

/// A `KeyValue` without an order.
pub(crate) fn key(input: &Input<'_>) -> TokenStream {
    let Generics { this, params, predicates, .. } = Generics::of(input.original);
    let krate = &input.attributes.krate;
    let result = |view: TokenStream| quote!(::core::result::Result<::core::option::Option<#view>, #krate::__derive::KeyFault>);
    let (viewed, into_viewed) = (result(quote!(())), result(quote!(Self::View<'__a>)));
    quote! {
        #[automatically_derived]
        impl<#params> #krate::__derive::KeyValue for #this
        where
            #predicates
            Self: ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            type View<'__a> = ();

            fn view(&self) -> #viewed {
                ::core::unreachable!()
            }

            fn into_view<'__a>(self) -> #into_viewed {
                ::core::unreachable!()
            }

            fn detach(_: &()) -> Self {
                ::core::unreachable!()
            }
        }
    }
}
