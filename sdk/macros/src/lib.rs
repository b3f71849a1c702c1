//! The attributes of `sidegate-sdk`. Their documentation is there.

mod config;
mod exports;
mod scan;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Ident, ImplItem, ItemImpl, Token, parse_macro_input, punctuated::Punctuated};

use crate::scan::Scan;

/// Makes a module of an `impl Filter for T`: adds what is left out of it and exports the hooks that it needs.
///
/// The hooks follow from the code: no `handle`, no request hooks; only `next.forward`, no response hook; no `log`, no
/// log hook. Where the code does not tell whether a callout is sent or a sleep is slept, their hooks are exported;
/// `#[filter(callouts)]` for HTTP, `#[filter(grpc)]`, `#[filter(sleep)]` or several of them say it exactly.
#[proc_macro_attribute]
pub fn filter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let said = parse_macro_input!(arguments with Punctuated::<Ident, Token![,]>::parse_terminated);
    let mut block = parse_macro_input!(item as ItemImpl);
    for word in &said {
        if word != "callouts" && word != "grpc" && word != "sleep" {
            let problem = syn::Error::new(word.span(), "only `callouts`, `grpc` and `sleep` can be said here");
            return problem.to_compile_error().into();
        }
    }
    let said: Vec<String> = said.iter().map(Ident::to_string).collect();
    let uses = Scan::of(&block).uses(&said);

    if !block.items.iter().any(|item| matches!(item, ImplItem::Type(item) if item.ident == "Config")) {
        block.items.push(syn::parse_quote! { type Config = Self; });
    }
    if !block.items.iter().any(|item| matches!(item, ImplItem::Fn(item) if item.sig.ident == "configure")) {
        block.items.push(syn::parse_quote! {
            fn configure(config: Self::Config, _: &mut ::sidegate_sdk::Setup) -> ::sidegate_sdk::Result<Self> {
                ::core::result::Result::Ok(config)
            }
        });
    }
    block.items.push(uses.constant());
    let exports = exports::of(&block.self_ty, &uses);
    quote! { #block #exports }.into()
}

/// Makes a configuration type: readable from JSON with camelCase keys, unknown keys refused, and with a JSON Schema in
/// native builds. serde's and schemars' attributes work on fields and variants.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    config::expand(arguments.into(), item.into()).unwrap_or_else(|problem| problem.to_compile_error()).into()
}
