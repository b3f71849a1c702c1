//! Which hooks an implementation needs, told from its tokens. When in doubt, a hook is needed.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, ImplItem, ImplItemFn, ItemImpl, Pat};

/// Macros that can hide no `.await` from us.
const PLAIN_MACROS: [&str; 21] = [
    "format",
    "format_args",
    "trace",
    "debug",
    "info",
    "warn",
    "error",
    "matches",
    "vec",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "write",
    "writeln",
    "panic",
    "unreachable",
    "concat",
    "stringify",
    "env",
    "include_str",
];
/// What is awaited without a callout or a sleep behind it.
const PLAIN_AWAITS: [&str; 3] = ["run", "body", "bytes"];

pub(crate) struct Scan<'b> {
    block: &'b ItemImpl,
}

/// Mirrors `sidegate_sdk::private::Uses`, and what follows from it for the exports.
pub(crate) struct Uses {
    pub(crate) handle: bool,
    pub(crate) response: bool,
    pub(crate) request_body: bool,
    pub(crate) response_body: bool,
    pub(crate) callouts: bool,
    pub(crate) grpc: bool,
    pub(crate) sleep: bool,
    pub(crate) ticks: bool,
    pub(crate) log: bool,
    /// State of an exchange can outlive a hook.
    pub(crate) state: bool,
}

impl<'b> Scan<'b> {
    pub(crate) fn of(block: &'b ItemImpl) -> Self {
        Self { block }
    }

    pub(crate) fn uses(&self, said: &[String]) -> Uses {
        let handle = self.method("handle");
        let tick = self.method("tick");
        let unclear = handle.is_some_and(awaits_something) || tick.is_some_and(awaits_something);
        let body = self.method("body");
        let names = |word: &str| body.is_some_and(|body| has_ident(&body.block.to_token_stream(), word));
        let neither = body.is_some() && !names("request") && !names("response");
        let said_or_unclear = |word: &str| if said.is_empty() { unclear } else { said.iter().any(|said| said == word) };
        let response_body = names("response") || neither;
        let request_body = names("request") || neither;
        let response = handle.is_some_and(looks_at_response) || response_body;
        Uses {
            handle: handle.is_some(),
            response: handle.is_some() && response,
            request_body: handle.is_some() && request_body,
            response_body: handle.is_some() && response_body,
            callouts: said_or_unclear("callouts"),
            grpc: said_or_unclear("grpc"),
            sleep: said_or_unclear("sleep"),
            ticks: tick.is_some(),
            log: self.method("log").is_some(),
            state: handle.is_some() && (response || request_body || unclear || !said.is_empty()),
        }
    }

    fn method(&self, name: &str) -> Option<&'b ImplItemFn> {
        self.block.items.iter().find_map(|item| match item {
            ImplItem::Fn(method) if method.sig.ident == name => Some(method),
            _ => None,
        })
    }
}

impl Uses {
    pub(crate) fn constant(&self) -> ImplItem {
        let Self { handle, response, request_body, response_body, callouts, grpc, sleep, ticks, log, .. } = self;
        syn::parse_quote! {
            const USES: ::sidegate_sdk::private::Uses = ::sidegate_sdk::private::Uses {
                handle: #handle,
                response: #response,
                request_body: #request_body,
                response_body: #response_body,
                callouts: #callouts,
                grpc: #grpc,
                sleep: #sleep,
                ticks: #ticks,
                log: #log,
            };
        }
    }
}

/// Whether something other than `next` and bodies is awaited, or may be inside a macro that we do not know.
fn awaits_something(method: &ImplItemFn) -> bool {
    let tokens = method.block.to_token_stream();
    let mut found = false;
    walk(&tokens, &mut |tokens, at| {
        let ident = |at: usize| match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
            _ => None,
        };
        let punct = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == mark);
        let Some(word) = ident(at) else { return };
        if word == "await" && at > 0 && punct(at - 1, '.') {
            let called = (at > 2 && is_call(tokens.get(at - 2))).then(|| ident(at - 3)).flatten();
            found |= !called.is_some_and(|name| PLAIN_AWAITS.contains(&name.as_str()));
        }
        if punct(at + 1, '!') && matches!(tokens.get(at + 2), Some(TokenTree::Group(_))) {
            found |= !PLAIN_MACROS.contains(&word.as_str());
        }
    });
    found
}

/// Whether `next` is used for anything but `next.forward`.
fn looks_at_response(method: &ImplItemFn) -> bool {
    let next = match method.sig.inputs.iter().nth(2) {
        Some(FnArg::Typed(argument)) => match &*argument.pat {
            Pat::Ident(pattern) => pattern.ident.to_string(),
            Pat::Wild(_) => return false,
            _ => return true,
        },
        _ => return true,
    };
    let mut found = false;
    walk(&method.block.to_token_stream(), &mut |tokens, at| {
        let Some(TokenTree::Ident(ident)) = tokens.get(at) else { return };
        if *ident == next {
            let forwards = matches!(tokens.get(at + 1), Some(TokenTree::Punct(p)) if p.as_char() == '.')
                && matches!(tokens.get(at + 2), Some(TokenTree::Ident(ident)) if ident == "forward");
            found |= !forwards;
        }
    });
    found
}

fn is_call(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

fn has_ident(tokens: &TokenStream, word: &str) -> bool {
    let mut found = false;
    walk(tokens, &mut |tokens, at| found |= matches!(tokens.get(at), Some(TokenTree::Ident(ident)) if ident == word));
    found
}

/// Visits every token with its neighbours, groups inside too.
fn walk(tokens: &TokenStream, visit: &mut impl FnMut(&[TokenTree], usize)) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        visit(&tokens, at);
        if let TokenTree::Group(group) = token {
            walk(&group.stream(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scan;

    fn uses(code: &str) -> (bool, bool, bool, bool) {
        let block = syn::parse_str(&format!("impl Filter for F {{ {code} }}")).unwrap();
        let uses = Scan::of(&block).uses(&[]);
        (uses.handle, uses.response, uses.callouts, uses.state)
    }

    #[test]
    fn hooks_follow_from_the_code_and_doubt_exports() {
        let handle = |body: &str| uses(&format!("async fn handle(&self, req: Request, next: Next) -> R {{ {body} }}"));
        assert_eq!(uses("fn log(&self, view: &LogView<'_>) {}"), (false, false, false, false));
        assert_eq!(handle("Ok(next.forward(req))"), (true, false, false, false));
        assert_eq!(handle("info!(\"x\"); Ok(Response::new(403))"), (true, false, false, false));
        assert_eq!(handle("let mut res = next.run(req).await?; Ok(res)"), (true, true, false, true));
        assert_eq!(handle("self.users.get(&req).await?; next.run(req).await"), (true, true, true, true));
        assert_eq!(handle("self.check().await?; Ok(next.forward(req))"), (true, false, true, true));
        assert_eq!(handle("join!(a, b); Ok(next.forward(req))"), (true, false, true, true));
        assert_eq!(handle("self.go(req, next).await"), (true, true, true, true));
    }
}
