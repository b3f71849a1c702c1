//! A token's three parts.

use base64ct::{Base64UrlUnpadded, Encoding};
use sidegate_sdk::serde_json::{self, Map, Value};

/// A token, taken apart and not judged.
pub(crate) struct Token<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// Header and payload, as they were signed.
    pub(crate) signed: &'t str,
    /// The payload as it stands.
    pub(crate) payload: &'t str,
    pub(crate) claims: Map<String, Value>,
    pub(crate) signature: Vec<u8>,
}

/// Algorithms of RFC 7518 and RFC 8037 that prove something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs(Hash),
    Rs(Hash),
    Ps(Hash),
    Es256,
    Es384,
    EdDsa,
}

/// SHA-2 by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl<'t> Token<'t> {
    /// Takes a token apart; `None` if it is none, or needs something that we do not know.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = object(header)?;
        //= RFC 7515 section 4.1.11: what is marked as critical must be understood, and we understand none of it.
        if header.contains_key("crit") {
            return None;
        }
        let algorithm = Algorithm::new(header.get("alg")?.as_str()?)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        let signature = Base64UrlUnpadded::decode_vec(signature).ok()?;
        Some(Self { algorithm, key_id, signed, payload, claims: object(payload)?, signature })
    }

    pub(crate) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }
}

impl Algorithm {
    /// Whether checking a signature takes long: about a millisecond, where the host does not do it.
    pub(crate) fn is_costly(self) -> bool {
        !matches!(self, Self::Hs(_))
    }

    /// Reads a name; `none` is nobody's.
    pub(crate) fn new(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs(Hash::Sha256),
            "HS384" => Self::Hs(Hash::Sha384),
            "HS512" => Self::Hs(Hash::Sha512),
            "RS256" => Self::Rs(Hash::Sha256),
            "RS384" => Self::Rs(Hash::Sha384),
            "RS512" => Self::Rs(Hash::Sha512),
            "PS256" => Self::Ps(Hash::Sha256),
            "PS384" => Self::Ps(Hash::Sha384),
            "PS512" => Self::Ps(Hash::Sha512),
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).ok()?).ok()
}
