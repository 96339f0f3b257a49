//! The code of `#[derive(StreamRecord)]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::DeriveInput;
use syn::ext::IdentExt;

use crate::ast::{Field, Input, Shape};
use crate::fallback;
use crate::generics::{Generics, without_self};
use crate::mistakes::Mistakes;
use crate::valid;

/// The impl of `StreamRecord` for `input`, or its mistakes.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mistakes = Mistakes::default();
    let input = Input::new(input, &mistakes);
    valid::record(&input, &mistakes);
    let code = match &input.shape {
        Shape::Named(fields) if !fields.is_empty() => record(&input, fields, mistakes.is_empty()),
        _ => fallback::record(&input),
    };
    let mistakes = mistakes.into_tokens();
    quote!(#mistakes #code)
}

/// All lives in a `const _`, so that no name of ours gets into the user's module. What has to be visible outside of
/// it is reached through `StreamRecord::Fields`.
fn record(input: &Input<'_>, fields: &[Field<'_>], check_size: bool) -> TokenStream {
    let krate = &input.attributes.krate;
    let ident = &input.original.ident;
    let Generics { this, params, args, predicates, any } = Generics::of(input.original);
    let name =
        input.attributes.name.as_ref().map_or_else(|| ident.unraw().to_string(), |(name, _)| name.clone());
    let fields_struct = format_ident!("__{}Fields", ident);

    // Where a generic record is one: known only for its arguments, and to the letter. Where there are no parameters the
    // trait's own bounds say it, in better words.
    let is_record = any.then(|| quote!(#this: ::core::marker::Send + ::core::marker::Sync + 'static,));
    let places = fields.iter().map(|field| {
        let place = place(field);
        let name = field.name;
        let path = field.name.unraw().to_string();
        let ty = without_self(field.ty.to_token_stream(), &this);
        quote! {
            // Record and value are parameters, so that the impl counts as no more public than they are.
            #[doc(hidden)]
            pub struct #place<__P, __R, __V>(::core::marker::PhantomData<fn() -> (__P, __R, __V)>);

            #[automatically_derived]
            impl<#params __P> #krate::__derive::Place for #place<__P, #this, #ty>
            where
                #predicates
                #is_record
                __P: #krate::__derive::Place<Value = #this>,
            {
                type Record = <__P as #krate::__derive::Place>::Record;
                type Value = #ty;

                #[inline]
                fn get(record: &Self::Record) -> &Self::Value {
                    &<__P as #krate::__derive::Place>::get(record).#name
                }

                fn write_path(f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    #krate::__derive::write_path_below::<__P>(#path, f)
                }
            }
        }
    });
    let declarations = fields.iter().map(|field| {
        let place = place(field);
        let Field { name, visibility, .. } = field;
        let docs = field.original.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
        let ty = without_self(field.ty.to_token_stream(), &this);
        quote!(#(#docs)* #visibility #name: #krate::__derive::Field<#place<__P, #this, #ty>>,)
    });
    // Where the user looks for a mistake.
    let at = Span::call_site().located_at(ident.span());
    let header = quote_spanned!(at=> impl<#params> #krate::__derive::StreamRecord for #this);
    let names = fields.iter().map(|field| field.name);

    let has_size = check_size.then(|| {
        let message = format!(
            "`{ident}` has no size: records are told apart by their place in memory, so a record needs a field that has a \
             size"
        );
        quote_spanned!(ident.span()=> ::core::assert!(::core::mem::size_of::<#this>() != 0, #message);)
    });
    // A generic record's size is known when it is used.
    let (size_now, size_later) = if any { (None, has_size) } else { (has_size, None) };
    let size_now = size_now.map(|check| quote_spanned!(ident.span()=> const _: () = { #check };));

    quote! {
        #size_now

        #[doc(hidden)]
        #[allow(
            dead_code,
            deprecated,
            missing_debug_implementations,
            missing_docs,
            non_camel_case_types,
            non_snake_case,
            private_bounds,
            private_interfaces,
            unnameable_types,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::nursery,
            clippy::pedantic
        )]
        const _: () = {
            #(#places)*

            #[doc(hidden)]
            pub struct #fields_struct<#params __P>
            where
                #predicates
            {
                #(#declarations)*
            }

            #[automatically_derived]
            #header
            where
                #predicates
                #is_record
            {
                const NAME: &'static ::core::primitive::str = {
                    #size_later
                    #name
                };
                type Fields<__P: #krate::__derive::Place<Value = Self>> = #fields_struct<#args __P>;

                fn fields_below<__P: #krate::__derive::Place<Value = Self>>() -> &'static #fields_struct<#args __P> {
                    const { &#fields_struct { #(#names: #krate::__derive::Field::new(),)* } }
                }
            }
        };
    }
}

/// The name of the type that stands for the place of `field`.
fn place(field: &Field<'_>) -> Ident {
    format_ident!("__at_{}", field.name)
}
