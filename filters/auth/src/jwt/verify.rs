//! Signatures.

use hmac::{Hmac, Mac};
use rsa::{Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha256, Sha384, Sha512};
use signature::Verifier;

use super::der;
use super::keys::{Key, Material};
use super::offload::Offload;
use super::token::{Algorithm, Hash, Token};

/// Keys that are tried for one token that does not say which.
pub(crate) const ATTEMPTS: usize = 8;

/// What a key says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It signed it.
    Good,
    /// It did not.
    Bad,
    /// There is no key to ask.
    NoKey,
}

/// Whether there are so many keys that may have signed a token.
pub(crate) fn has(token: &Token<'_>, keys: &[Key], number: usize) -> bool {
    candidate(token, keys, number).is_some()
}

/// Asks one of the keys that may have signed a token, by its number among them.
pub(crate) fn check(token: &Token<'_>, keys: &[Key], number: usize, offload: &Offload) -> Outcome {
    match candidate(token, keys, number) {
        None => Outcome::NoKey,
        Some(key) if has_signed(&key.material, token, offload) => Outcome::Good,
        Some(_) => Outcome::Bad,
    }
}

fn candidate<'k>(token: &Token<'_>, keys: &'k [Key], number: usize) -> Option<&'k Key> {
    let id = token.key_id.as_deref();
    keys.iter().filter(|key| key.may_have_signed(id, token.algorithm)).nth(number)
}

fn has_signed(key: &Material, token: &Token<'_>, offload: &Offload) -> bool {
    let (text, signature) = (token.signed, &*token.signature);
    match (key, token.algorithm) {
        (Material::Secret(secret), Algorithm::Hs(hash)) => is_mac(secret, hash, text.as_bytes(), signature),
        (Material::Rsa(key, der), Algorithm::Rs(hash)) => offload
            .verify(hash, der, signature, text)
            .unwrap_or_else(|| key.verify(pkcs1(hash), &digest(hash, text.as_bytes()), signature).is_ok()),
        // The host's function knows no PSS.
        (Material::Rsa(key, _), Algorithm::Ps(hash)) => {
            key.verify(pss(hash), &digest(hash, text.as_bytes()), signature).is_ok()
        }
        (Material::P256(key, spki), Algorithm::Es256) => {
            let Some(asn1) = der::ecdsa_signature(signature, 64) else { return false };
            offload.verify(Hash::Sha256, spki, &asn1, text).unwrap_or_else(|| {
                p256::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
            })
        }
        (Material::P384(key, spki), Algorithm::Es384) => {
            let Some(asn1) = der::ecdsa_signature(signature, 96) else { return false };
            offload.verify(Hash::Sha384, spki, &asn1, text).unwrap_or_else(|| {
                p384::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
            })
        }
        (Material::Ed25519(key), Algorithm::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok()),
        _ => false,
    }
}

/// Compares in constant time.
fn is_mac(secret: &[u8], hash: Hash, text: &[u8], tag: &[u8]) -> bool {
    match hash {
        Hash::Sha256 => {
            Hmac::<Sha256>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(text).verify_slice(tag).is_ok())
        }
        Hash::Sha384 => {
            Hmac::<Sha384>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(text).verify_slice(tag).is_ok())
        }
        Hash::Sha512 => {
            Hmac::<Sha512>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(text).verify_slice(tag).is_ok())
        }
    }
}

fn digest(hash: Hash, text: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(text).to_vec(),
        Hash::Sha384 => Sha384::digest(text).to_vec(),
        Hash::Sha512 => Sha512::digest(text).to_vec(),
    }
}

fn pkcs1(hash: Hash) -> Pkcs1v15Sign {
    match hash {
        Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn pss(hash: Hash) -> Pss {
    match hash {
        Hash::Sha256 => Pss::new::<Sha256>(),
        Hash::Sha384 => Pss::new::<Sha384>(),
        Hash::Sha512 => Pss::new::<Sha512>(),
    }
}
