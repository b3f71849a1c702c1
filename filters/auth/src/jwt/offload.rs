//! Signatures checked by the host, where it offers Envoy's `verify_signature`: native code is several times faster.

use std::cell::Cell;

use super::token::Hash;

/// Whether the host can; asked once.
#[derive(Debug, Default)]
pub(crate) struct Offload {
    is_missing: Cell<bool>,
}

impl Offload {
    /// Asks the host; `None` if it cannot say. `key` and `signature` are DER (an RSA signature is plain).
    pub(crate) fn verify(&self, hash: Hash, key: &[u8], signature: &[u8], text: &str) -> Option<bool> {
        if self.is_missing.get() {
            return None;
        }
        let hash: &[u8] = match hash {
            Hash::Sha256 => b"sha256",
            Hash::Sha384 => b"sha384",
            Hash::Sha512 => b"sha512",
        };
        let mut argument = Vec::with_capacity(key.len() + signature.len() + text.len() + 32);
        for (number, field) in [(1, hash), (2, key), (3, signature), (4, text.as_bytes())] {
            write_field(number, field, &mut argument);
        }
        match sidegate_sdk::foreign("verify_signature", &argument) {
            Ok(Some(answer)) => Some(is_good(&answer)),
            Ok(None) => {
                self.is_missing.set(true);
                None
            }
            Err(_) => None,
        }
    }
}

/// A field of bytes in a Protocol Buffers message.
fn write_field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
}

/// Whether field 1 of the answer is true: nothing is good that does not begin so.
fn is_good(answer: &[u8]) -> bool {
    answer.starts_with(&[1 << 3, 1])
}
