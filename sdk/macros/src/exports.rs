//! The exports of a module, wasm32 only: names and signatures of the ABI in front of the SDK's dispatcher.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::Type;

use crate::scan::Uses;

/// All exports and the custom sections that tell about the module.
pub(crate) fn of(filter: &Type, uses: &Uses) -> TokenStream {
    let names = exported(uses);
    let hooks = names.iter().map(|name| {
        let (ident, code) = (format_ident!("{name}"), export(name));
        quote! {
            #[unsafe(no_mangle)]
            pub extern "C" fn #ident #code
        }
    });
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let origin = format!(
        r#"{{"sdk":"{}","name":"{}","version":"{}"}}"#,
        env!("CARGO_PKG_VERSION"),
        variable("CARGO_PKG_NAME"),
        variable("CARGO_PKG_VERSION"),
    );
    let sections = [
        section("SIDEGATE_HOOKS", "sidegate.hooks", &names.join(",")),
        section("SIDEGATE_SDK", "sidegate.sdk", &origin),
    ];
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::sidegate_sdk::private::exports;

            #[unsafe(no_mangle)]
            pub extern "C" fn proxy_abi_version_0_2_1() {}
            #[unsafe(no_mangle)]
            pub extern "C" fn _initialize() {
                exports::initialize::<#filter>();
            }
            #[unsafe(no_mangle)]
            pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                exports::memory_allocate(size)
            }
            #[unsafe(no_mangle)]
            pub extern "C" fn sidegate_scratch_begin() -> *mut u8 {
                exports::scratch_begin()
            }
            #[unsafe(no_mangle)]
            pub extern "C" fn sidegate_scratch_size() -> usize {
                exports::scratch_size()
            }
            #(#hooks)*
            #(#sections)*
        };
    }
}

fn section(ident: &str, name: &str, text: &str) -> TokenStream {
    let ident = format_ident!("{ident}");
    let (length, bytes) = (text.len(), Literal::byte_string(text.as_bytes()));
    quote! {
        #[used]
        #[unsafe(link_section = #name)]
        static #ident: [u8; #length] = *#bytes;
    }
}

/// The hooks by their ABI names, for the custom section.
fn exported(uses: &Uses) -> Vec<&'static str> {
    let all = [
        (true, "proxy_on_configure"),
        (uses.handle, "proxy_on_request_headers"),
        (uses.request_body, "proxy_on_request_body"),
        (uses.request_body, "proxy_on_request_trailers"),
        (uses.response, "proxy_on_response_headers"),
        (uses.response_body, "proxy_on_response_body"),
        (uses.response_body, "proxy_on_response_trailers"),
        (uses.log, "proxy_on_log"),
        (uses.state, "proxy_on_delete"),
        (uses.callouts, "proxy_on_http_call_response"),
        (uses.grpc, "proxy_on_grpc_receive"),
        (uses.grpc, "proxy_on_grpc_close"),
        (uses.ticks || uses.sleep, "proxy_on_tick"),
        (uses.sleep, "proxy_on_foreign_function"),
    ];
    all.into_iter().filter(|(is_used, _)| *is_used).map(|(_, name)| name).collect()
}

/// The code that answers a hook.
fn export(name: &str) -> TokenStream {
    match name {
        "proxy_on_configure" => quote! { (root: u32, length: usize) -> u32 { exports::configure(root, length) } },
        "proxy_on_request_headers" => {
            quote! { (id: u32, _: u32, is_last: u32) -> u32 { exports::request_headers(id, is_last) } }
        }
        "proxy_on_request_body" => {
            quote! { (id: u32, length: usize, is_last: u32) -> u32 { exports::request_body(id, length, is_last) } }
        }
        "proxy_on_request_trailers" => quote! { (id: u32, _: u32) -> u32 { exports::request_trailers(id) } },
        "proxy_on_response_headers" => {
            quote! { (id: u32, _: u32, is_last: u32) -> u32 { exports::response_headers(id, is_last) } }
        }
        "proxy_on_response_body" => {
            quote! { (id: u32, length: usize, is_last: u32) -> u32 { exports::response_body(id, length, is_last) } }
        }
        "proxy_on_response_trailers" => quote! { (id: u32, _: u32) -> u32 { exports::response_trailers(id) } },
        "proxy_on_log" => quote! { (id: u32) { exports::log(id) } },
        "proxy_on_delete" => quote! { (id: u32) { exports::delete(id) } },
        "proxy_on_http_call_response" => quote! {
            (_: u32, token: u32, headers: u32, body: usize, _: u32) { exports::http_call_response(token, headers, body) }
        },
        "proxy_on_grpc_receive" => {
            quote! { (_: u32, token: u32, length: usize) { exports::grpc_receive(token, length) } }
        }
        "proxy_on_grpc_close" => quote! { (_: u32, token: u32, status: u32) { exports::grpc_close(token, status) } },
        "proxy_on_tick" => quote! { (root: u32) { exports::tick(root) } },
        _ => quote! { (_: u32, function: u32, _: usize) { exports::foreign_function(function) } },
    }
}
