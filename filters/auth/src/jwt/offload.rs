//! Signatures checked by the host, where it offers Envoy's `verify_signature`: native code is several times faster.

use std::cell::Cell;

use sidegate_sdk::protobuf::Writer;

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
        let mut argument = Writer::new();
        argument.bytes(1, hash).bytes(2, key).bytes(3, signature).bytes(4, text);
        match sidegate_sdk::foreign("verify_signature", &argument.into_bytes()) {
            Ok(Some(answer)) => Some(is_good(&answer)),
            Ok(None) => {
                self.is_missing.set(true);
                None
            }
            Err(_) => None,
        }
    }
}

/// Whether field 1 of the answer is true: nothing is good that does not begin so.
fn is_good(answer: &[u8]) -> bool {
    answer.starts_with(&[1 << 3, 1])
}
