//! `#[config]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(arguments, "#[config] takes no arguments"));
    }
    let item: Item = syn::parse2(item)?;
    if !matches!(item, Item::Struct(_) | Item::Enum(_)) {
        return Err(syn::Error::new_spanned(item, "#[config] stands on a struct or an enum"));
    }
    Ok(quote! {
        #[derive(::sidegate_sdk::serde::Deserialize)]
        #[cfg_attr(not(target_arch = "wasm32"), derive(::sidegate_sdk::schemars::JsonSchema))]
        #[cfg_attr(not(target_arch = "wasm32"), schemars(crate = "sidegate_sdk::schemars"))]
        #[serde(crate = "sidegate_sdk::serde", rename_all = "camelCase", deny_unknown_fields)]
        #item
    })
}
