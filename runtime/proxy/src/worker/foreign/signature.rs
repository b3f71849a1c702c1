//! `verify_signature` and `sign`: Envoy's, for RSA (PKCS #1 v1.5) and ECDSA (ASN.1).
//!
//! A key or hash function that cannot be used is a result of `false` with a reason, as in Envoy; only arguments that
//! make no sense are refused.

use std::borrow::Cow;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as algorithms;
use aws_lc_rs::signature::{
    EcdsaKeyPair, EcdsaSigningAlgorithm, RsaEncoding, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use sidegate_wasm_host::abi::Status;

use crate::protobuf::{self, Malformed, Value, put_bytes, put_number};

/// Bytes of a key, and of the text that is hashed: both cost time that no budget of the guest ends. An RSA key of 4096
/// bits, which signs in some milliseconds, has 2.4 KiB, and 3.3 as PEM.
const KEY_BYTES: usize = 4 << 10;
const TEXT_BYTES: usize = 4 << 20;

const NO_KEY: &str = "Failed to initialize digest verify.";
const NO_SIGNING_KEY: &str = "Failed to initialize digest sign.";

/// Argument: `VerifySignatureArguments`. Result: `VerifySignatureResult`.
pub(super) fn verify(argument: &[u8], out: &mut Vec<u8>) -> Status {
    let Ok(request) = Request::read(argument, [2, 5, 3, 4]) else { return Status::BadArgument };
    let Some(key) = request.key() else { return Status::BadArgument };
    let error = match verified(&request, &key) {
        Ok(()) => Cow::Borrowed(""),
        Err(error) => error,
    };
    put_number(out, 1, u64::from(error.is_empty()));
    put_bytes(out, 2, error.as_bytes());
    Status::Ok
}

/// Argument: `SignArguments`. Result: `SignResult`.
pub(super) fn sign(argument: &[u8], out: &mut Vec<u8>) -> Status {
    let Ok(request) = Request::read(argument, [2, 4, NONE, 3]) else { return Status::BadArgument };
    let Some(key) = request.key() else { return Status::BadArgument };
    match signed(&request, &key) {
        Ok(signature) => {
            put_number(out, 1, 1);
            put_bytes(out, 2, &signature);
        }
        Err(error) => put_bytes(out, 3, error.as_bytes()),
    }
    Status::Ok
}

/// The number of a field that a message does not have.
const NONE: u64 = 0;

#[derive(Default)]
struct Request<'a> {
    hash: String,
    der: &'a [u8],
    pem: &'a [u8],
    signature: &'a [u8],
    text: &'a [u8],
}

impl<'a> Request<'a> {
    /// Both messages have the same parts under different numbers: key, key as PEM, signature, text. 1 is the hash.
    fn read(argument: &'a [u8], [der, pem, signature, text]: [u64; 4]) -> Result<Self, Malformed> {
        let mut request = Self::default();
        let mut hash: &[u8] = b"";
        protobuf::read(argument, |number, value| {
            let Value::Bytes(bytes) = value else { return };
            match number {
                1 => hash = bytes,
                _ if number == der => request.der = bytes,
                _ if number == pem => request.pem = bytes,
                _ if number == signature => request.signature = bytes,
                _ if number == text => request.text = bytes,
                _ => {}
            }
        })?;
        protobuf::text(request.pem)?;
        request.hash = protobuf::text(hash)?.to_ascii_lowercase();
        let fits = request.der.len().max(request.pem.len()) <= KEY_BYTES && request.text.len() <= TEXT_BYTES;
        if fits { Ok(request) } else { Err(Malformed) }
    }

    /// The one key that was given.
    fn key(&self) -> Option<Key<'a>> {
        match (self.der.is_empty(), self.pem.is_empty()) {
            (false, true) => Some(Key::Der(self.der)),
            (true, false) => Some(Key::Pem(self.pem)),
            _ => None,
        }
    }
}

enum Key<'a> {
    Der(&'a [u8]),
    Pem(&'a [u8]),
}

/// What kind of key it is, by the object identifiers that its first bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    P521,
    P256K1,
}

/// The identifiers as they stand in a key: algorithm, and for curves the curve.
const KINDS: [(Kind, &[u8]); 5] = [
    (Kind::Rsa, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"),
    (Kind::P256, b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"),
    (Kind::P384, b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"),
    (Kind::P521, b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23"),
    (Kind::P256K1, b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a"),
];
/// Where a curve's own identifier begins.
const CURVE_AT: usize = 9;
/// Where the identifiers end at the latest: behind the headers of three sequences and a version.
const IDENTIFIERS: usize = 40;

impl Kind {
    fn of(der: &[u8]) -> Option<Self> {
        let front = der.get(..IDENTIFIERS.min(der.len()))?;
        KINDS.into_iter().find(|(_, id)| memchr::memmem::find(front, id).is_some()).map(|(kind, _)| kind)
    }

    /// Such a key names its curve alone, behind the key.
    fn of_sec1(der: &[u8]) -> Option<Self> {
        let named = |id: &[u8]| id.get(CURVE_AT..).is_some_and(|curve| memchr::memmem::find(der, curve).is_some());
        KINDS.into_iter().filter(|(kind, _)| *kind != Self::Rsa).find(|(_, id)| named(id)).map(|(kind, _)| kind)
    }
}

fn verified(request: &Request<'_>, key: &Key<'_>) -> Result<(), Cow<'static, str>> {
    let hash = known_hash(&request.hash)?;
    let der = match key {
        Key::Der(der) => Cow::Borrowed(*der),
        Key::Pem(pem) => {
            let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| NO_KEY)?;
            Cow::Owned(key.as_ref().to_vec())
        }
    };
    let kind = Kind::of(&der).ok_or(NO_KEY)?;
    let algorithm = verification(kind, hash).ok_or_else(|| unsupported(hash))?;
    UnparsedPublicKey::new(algorithm, &der).parse().map_err(|_| NO_KEY)?;
    UnparsedPublicKey::new(algorithm, &der)
        .verify(request.text, request.signature)
        .map_err(|_| Cow::Borrowed("Failed to verify digest. Error code: 0"))
}

fn signed(request: &Request<'_>, key: &Key<'_>) -> Result<Vec<u8>, Cow<'static, str>> {
    let hash = known_hash(&request.hash)?;
    let key = match key {
        Key::Der(der) => PrivateKeyDer::try_from(*der).map_err(|_| NO_SIGNING_KEY)?,
        Key::Pem(pem) => PrivateKeyDer::from_pem_slice(pem).map_err(|_| NO_SIGNING_KEY)?,
    };
    let rsa = match &key {
        PrivateKeyDer::Pkcs1(_) => true,
        PrivateKeyDer::Pkcs8(_) => Kind::of(key.secret_der()) == Some(Kind::Rsa),
        _ => false,
    };
    let random = SystemRandom::new();
    if rsa {
        let encoding = rsa_encoding(hash).ok_or_else(|| unsupported(hash))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => RsaKeyPair::from_pkcs8(key.secret_der()),
        };
        let pair = pair.map_err(|_| NO_SIGNING_KEY)?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &random, request.text, &mut signature).map_err(|_| "Failed to sign digest.")?;
        return Ok(signature);
    }
    let kind = match &key {
        PrivateKeyDer::Sec1(der) => Kind::of_sec1(der.secret_sec1_der()),
        _ => Kind::of(key.secret_der()),
    };
    let kind = kind.ok_or(NO_SIGNING_KEY)?;
    let algorithm = ecdsa_signing(kind, hash).ok_or_else(|| unsupported(hash))?;
    let pair = match &key {
        PrivateKeyDer::Sec1(der) => EcdsaKeyPair::from_private_key_der(algorithm, der.secret_sec1_der()),
        _ => EcdsaKeyPair::from_pkcs8(algorithm, key.secret_der()),
    };
    let pair = pair.map_err(|_| NO_SIGNING_KEY)?;
    let signature = pair.sign(&random, request.text).map_err(|_| "Failed to sign digest.")?;
    Ok(signature.as_ref().to_vec())
}

fn unsupported(hash: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{hash} is not supported."))
}

fn known_hash(hash: &str) -> Result<&str, Cow<'static, str>> {
    let known = ["sha1", "sha224", "sha256", "sha384", "sha512"].contains(&hash);
    if known { Ok(hash) } else { Err(unsupported(hash)) }
}

/// What aws-lc-rs offers of Envoy's combinations; SHA-1 and short RSA keys are for signatures that exist already.
fn verification(kind: Kind, hash: &str) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (kind, hash) {
        (Kind::Rsa, "sha1") => &algorithms::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Kind::Rsa, "sha256") => &algorithms::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (Kind::Rsa, "sha384") => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, "sha512") => &algorithms::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (Kind::P256, "sha1") => &algorithms::ECDSA_P256_SHA1_ASN1,
        (Kind::P256, "sha256") => &algorithms::ECDSA_P256_SHA256_ASN1,
        (Kind::P256, "sha384") => &algorithms::ECDSA_P256_SHA384_ASN1,
        (Kind::P256, "sha512") => &algorithms::ECDSA_P256_SHA512_ASN1,
        (Kind::P384, "sha256") => &algorithms::ECDSA_P384_SHA256_ASN1,
        (Kind::P384, "sha384") => &algorithms::ECDSA_P384_SHA384_ASN1,
        (Kind::P384, "sha512") => &algorithms::ECDSA_P384_SHA512_ASN1,
        (Kind::P521, "sha1") => &algorithms::ECDSA_P521_SHA1_ASN1,
        (Kind::P521, "sha224") => &algorithms::ECDSA_P521_SHA224_ASN1,
        (Kind::P521, "sha256") => &algorithms::ECDSA_P521_SHA256_ASN1,
        (Kind::P521, "sha384") => &algorithms::ECDSA_P521_SHA384_ASN1,
        (Kind::P521, "sha512") => &algorithms::ECDSA_P521_SHA512_ASN1,
        (Kind::P256K1, "sha256") => &algorithms::ECDSA_P256K1_SHA256_ASN1,
        _ => return None,
    })
}

fn rsa_encoding(hash: &str) -> Option<&'static dyn RsaEncoding> {
    Some(match hash {
        "sha256" => &algorithms::RSA_PKCS1_SHA256,
        "sha384" => &algorithms::RSA_PKCS1_SHA384,
        "sha512" => &algorithms::RSA_PKCS1_SHA512,
        _ => return None,
    })
}

fn ecdsa_signing(kind: Kind, hash: &str) -> Option<&'static EcdsaSigningAlgorithm> {
    Some(match (kind, hash) {
        (Kind::P256, "sha256") => &algorithms::ECDSA_P256_SHA256_ASN1_SIGNING,
        (Kind::P384, "sha384") => &algorithms::ECDSA_P384_SHA384_ASN1_SIGNING,
        (Kind::P521, "sha224") => &algorithms::ECDSA_P521_SHA224_ASN1_SIGNING,
        (Kind::P521, "sha256") => &algorithms::ECDSA_P521_SHA256_ASN1_SIGNING,
        (Kind::P521, "sha384") => &algorithms::ECDSA_P521_SHA384_ASN1_SIGNING,
        (Kind::P521, "sha512") => &algorithms::ECDSA_P521_SHA512_ASN1_SIGNING,
        (Kind::P256K1, "sha256") => &algorithms::ECDSA_P256K1_SHA256_ASN1_SIGNING,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
