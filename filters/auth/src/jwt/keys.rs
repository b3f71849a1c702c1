//! A JSON Web Key Set.

use base64ct::{Base64UrlUnpadded, Encoding};
use rsa::traits::PublicKeyParts;
use sidegate_sdk::serde_json::{self, Value};

use super::der;
use super::token::Algorithm;

/// Bytes of a key set, and keys in it: far above what issuers publish.
pub(crate) const SET_BYTES: usize = 512 * 1024;
const KEYS: usize = 128;
/// Bytes of an RSA modulus: below 2048 bits a key can be broken, above 4096 checking costs more than a hook may.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// A key that can check signatures.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    pub(crate) material: Material,
}

#[derive(Debug)]
pub(crate) enum Material {
    Secret(Vec<u8>),
    /// The key and its form for the host.
    Rsa(Box<rsa::RsaPublicKey>, Vec<u8>),
    P256(Box<p256::ecdsa::VerifyingKey>, Vec<u8>),
    P384(Box<p384::ecdsa::VerifyingKey>, Vec<u8>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl Key {
    /// Whether the key may have signed a token with this key id and algorithm. What is not said speaks against nothing.
    pub(crate) fn may_have_signed(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let is_kind = match &self.material {
            Material::Secret(_) => matches!(algorithm, Algorithm::Hs(_)),
            Material::Rsa(..) => matches!(algorithm, Algorithm::Rs(_) | Algorithm::Ps(_)),
            Material::P256(..) => algorithm == Algorithm::Es256,
            Material::P384(..) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        let is_named = match (&self.id, id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        is_kind && is_named && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

/// Reads a key set, or a single key. Keys of kinds that we do not know are left out.
///
/// # Errors
/// The text says what is wrong; a set without a key for us is wrong.
pub(crate) fn read(json: &[u8]) -> Result<Vec<Key>, String> {
    if json.len() > SET_BYTES {
        return Err(format!("the key set has more than {} KiB", SET_BYTES / 1024));
    }
    let set: Value = serde_json::from_slice(json).map_err(|problem| format!("the key set is no JSON: {problem}"))?;
    let entries = match set.get("keys").and_then(Value::as_array) {
        Some(entries) => entries.as_slice(),
        None => std::slice::from_ref(&set),
    };
    if entries.len() > KEYS {
        return Err(format!("the key set has more than {KEYS} keys"));
    }
    let keys: Vec<Key> = entries.iter().filter_map(read_key).collect();
    if keys.is_empty() {
        return Err("the key set has no key of a kind that is known: oct, RSA from 2048 to 4096 bits, EC P-256 and \
                    P-384, OKP Ed25519"
            .to_owned());
    }
    Ok(keys)
}

fn read_key(entry: &Value) -> Option<Key> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let bytes = |name: &str| Base64UrlUnpadded::decode_vec(text(name)?.trim_end_matches('=')).ok();
    if text("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    // A key for an algorithm that we do not know is not for us.
    let algorithm = match text("alg") {
        Some(name) => Some(Algorithm::new(name)?),
        None => None,
    };
    let material = match (text("kty")?, text("crv")) {
        ("oct", _) => Material::Secret(bytes("k").filter(|secret| !secret.is_empty())?),
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let number = rsa::BigUint::from_bytes_be;
            let key = rsa::RsaPublicKey::new(number(&n), number(&e)).ok()?;
            if !RSA_BYTES.contains(&key.size()) {
                return None;
            }
            Material::Rsa(Box::new(key), der::rsa_key(&n, &e))
        }
        ("EC", Some("P-256")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 32)?;
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?;
            Material::P256(Box::new(key), der::p256_key(&point))
        }
        ("EC", Some("P-384")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 48)?;
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?;
            Material::P384(Box::new(key), der::p384_key(&point))
        }
        ("OKP", Some("Ed25519")) => {
            let bytes: [u8; 32] = bytes("x")?.try_into().ok()?;
            Material::Ed25519(Box::new(ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?))
        }
        _ => return None,
    };
    Some(Key { id: text("kid").map(str::to_owned), algorithm, material })
}

/// An uncompressed point of SEC 1.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}
