//! What a condition looks at, by Istio's names.

/// A property of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attribute {
    Principal,
    Namespace,
    TrustDomain,
    ServiceAccount,
    SourceAddress,
    RemoteAddress,
    DestinationAddress,
    Port,
    Host,
    Method,
    Path,
    ServerName,
    RequestPrincipal,
    Audience,
    Presenter,
    Claim(Box<[String]>),
    Header(Box<str>),
}

impl Attribute {
    /// Reads the key of a `when` entry.
    pub(crate) fn of_key(key: &str) -> Result<Self, String> {
        if let Some(name) = key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']')) {
            return header(name);
        }
        if let Some(inner) = key.strip_prefix("request.auth.claims[").and_then(|rest| rest.strip_suffix(']')) {
            let path: Box<[String]> = inner.split("][").map(str::to_owned).collect();
            let is_path = path.iter().all(|name| !name.is_empty() && !name.contains(['[', ']']));
            return if is_path { Ok(Self::Claim(path)) } else { Err(format!("`{key}` names no claim")) };
        }
        Ok(match key {
            "source.ip" => Self::SourceAddress,
            "remote.ip" => Self::RemoteAddress,
            "source.namespace" => Self::Namespace,
            "source.principal" => Self::Principal,
            "source.serviceAccount" => Self::ServiceAccount,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Audience,
            "request.auth.presenter" => Self::Presenter,
            "destination.ip" => Self::DestinationAddress,
            "destination.port" => Self::Port,
            "connection.sni" => Self::ServerName,
            "" => return Err("a condition needs a key".to_owned()),
            key if key.starts_with("experimental.envoy.filters.") => return Err("not supported yet".to_owned()),
            key => {
                return Err(format!("`{key}` is no key of a condition; write for example request.headers[x-role]"));
            }
        })
    }
}

fn header(name: &str) -> Result<Attribute, String> {
    let name = name.to_ascii_lowercase();
    match &*name {
        "host" | ":authority" => Err("say it with to.operation.hosts".to_owned()),
        ":path" => Err("say it with to.operation.paths".to_owned()),
        ":method" => Err("say it with to.operation.methods".to_owned()),
        name if crate::names::is_header(name) => Ok(Attribute::Header(name.into())),
        name => Err(format!("`{name}` is no header name")),
    }
}
