//! Expressions over attributes. Texts and plain attributes are read here, which costs one property; everything else is
//! the host's `expr_create` and `expr_evaluate`.

use std::borrow::Cow;

use sidegate_sdk::{LogView, foreign};

/// A compiled expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Literal(String),
    /// A property of text, by its path joined with NUL.
    Text(String),
    Int(String),
    Bool(String),
    /// The host's token.
    Host([u8; 4]),
}

/// Attributes that are numbers and flags; all others are texts.
const INTS: [&str; 13] = [
    "request\0size",
    "request\0total_size",
    "response\0code",
    "response\0flags",
    "response\0grpc_status",
    "response\0size",
    "response\0total_size",
    "source\0port",
    "destination\0port",
    "upstream\0port",
    "connection\0id",
    "xds\0listener_direction",
    "upstream\0request_attempt_count",
];
const BOOLS: [&str; 1] = ["connection\0mtls"];
/// What attributes begin with.
const ROOTS: [&str; 9] =
    ["request", "response", "source", "destination", "connection", "upstream", "xds", "filter_state", "node"];
/// Times have no text of their own.
const TIMES: [&str; 4] =
    ["request\0time", "request\0duration", "response\0backend_latency", "upstream\0cx_pool_ready_duration"];

impl Expression {
    /// An expression whose value is shown as text.
    pub(crate) fn value(text: &str) -> Result<Self, String> {
        match plain(text.trim()) {
            Some(expression) => Ok(expression),
            // Whatever it is, the host makes a text of it.
            None => host(&format!("string({text})")),
        }
    }

    /// An expression that is true or false.
    pub(crate) fn condition(text: &str) -> Result<Self, String> {
        host(text)
    }

    /// The value as text; `None`: there is none now.
    pub(crate) fn text<'v>(&'v self, view: &LogView<'v>) -> Option<Cow<'v, str>> {
        match self {
            Self::Literal(text) => Some(text.into()),
            Self::Text(path) => view.text(path.as_str()).filter(|text| !text.is_empty()),
            Self::Int(path) => view.int(path.as_str()).map(|number| number.to_string().into()),
            Self::Bool(path) => view.bool(path.as_str()).map(|flag| flag.to_string().into()),
            Self::Host(token) => {
                let bytes = foreign("expr_evaluate", token).ok().flatten()?;
                Some(String::from_utf8_lossy(&bytes).into_owned().into()).filter(|text: &Cow<'_, str>| !text.is_empty())
            }
        }
    }

    /// Whether it is true; what fails is not.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Host(token) => {
                foreign("expr_evaluate", token).is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes.first() == Some(&1)))
            }
            Self::Literal(_) | Self::Text(_) | Self::Int(_) | Self::Bool(_) => false,
        }
    }
}

fn host(text: &str) -> Result<Expression, String> {
    match foreign("expr_create", text.as_bytes()) {
        Ok(Some(answer)) => match answer.first_chunk::<4>() {
            Some(token) => Ok(Expression::Host(*token)),
            None => Err("the host gave no token for the expression".to_owned()),
        },
        Ok(None) => Err("this host evaluates no expressions; a text in quotes or an attribute is possible".to_owned()),
        Err(_) => Err("not an expression; the log says why".to_owned()),
    }
}

/// A text in quotes, or an attribute such as `request.headers['x-user']`.
fn plain(text: &str) -> Option<Expression> {
    if let Some(literal) = quoted(text) {
        return Some(Expression::Literal(literal.to_owned()));
    }
    let path = path(text)?;
    let (root, rest) = path.split_once('\0')?;
    if !ROOTS.contains(&root) || TIMES.contains(&path.as_str()) {
        return None;
    }
    // Istio's short word for `xds.node`.
    let path = if root == "node" { format!("xds\0node\0{rest}") } else { path };
    Some(if INTS.contains(&path.as_str()) {
        Expression::Int(path)
    } else if BOOLS.contains(&path.as_str()) {
        Expression::Bool(path)
    } else {
        Expression::Text(path)
    })
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).filter(|inner| !inner.contains(['"', '\'', '\\']))
}

/// Names joined by dots, and texts in brackets, as segments joined by NUL.
fn path(text: &str) -> Option<String> {
    let mut path = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        path.push_str(name);
        rest = tail;
        while let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']')?;
            let (key, tail) = inside.split_at(end);
            path.push('\0');
            path.push_str(quoted(key)?);
            rest = tail.strip_prefix(']')?;
        }
        match rest.strip_prefix('.') {
            Some(tail) => {
                path.push('\0');
                rest = tail;
            }
            None => return rest.is_empty().then_some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Expression, plain};

    #[test]
    fn texts_and_attributes_need_no_host() {
        let text = |path: &str| Some(Expression::Text(path.to_owned()));
        assert_eq!(plain("\"a b\""), Some(Expression::Literal("a b".to_owned())));
        assert_eq!(plain("request.host"), text("request\0host"));
        assert_eq!(plain("request.headers['x-user']"), text("request\0headers\0x-user"));
        assert_eq!(plain("node.metadata.LABELS[\"app\"]"), text("xds\0node\0metadata\0LABELS\0app"));
        assert_eq!(plain("filter_state.upstream_peer.app"), text("filter_state\0upstream_peer\0app"));
        assert_eq!(plain("response.code"), Some(Expression::Int("response\0code".to_owned())));
        assert_eq!(plain("connection.mtls"), Some(Expression::Bool("connection\0mtls".to_owned())));
        for other in
            ["a + b", "request", "request.time", "has(request.host)", "request.host == 'a'", "'a' + 'b'", "x.y"]
        {
            assert_eq!(plain(other), None, "{other}");
        }
    }
}
