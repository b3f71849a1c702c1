//! Signatures of modules, as `signature.publicKey` wants them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sidegate_tests::hex;

/// The public key as a PEM file.
pub(crate) fn pem(pair: &Ed25519KeyPair) -> String {
    // SubjectPublicKeyInfo of an Ed25519 key is this and the key.
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [&prefix, pair.public_key().as_ref()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}

/// Statement and signature, in base64.
pub(crate) fn sign(pair: &Ed25519KeyPair, plugin: &str, version: u64, module: &[u8]) -> (String, String) {
    let sha256 = hex(digest(&SHA256, module));
    let statement = serde_json::json!({"plugin": plugin, "version": version, "sha256": sha256}).to_string();
    (BASE64.encode(&statement), BASE64.encode(pair.sign(statement.as_bytes())))
}

/// Both as the file beside a module, `NAME.wasm.sig`.
pub(crate) fn file(pair: &Ed25519KeyPair, plugin: &str, version: u64, module: &[u8]) -> String {
    let (statement, signature) = sign(pair, plugin, version, module);
    format!("{statement}\n{signature}\n")
}
