//! Signed modules: Ed25519 over a statement `{plugin, version, sha256}`. Once a plugin has a key, nothing unsigned loads,
//! and the version of what is accepted never goes back by itself.

use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// Bytes of the file `NAME.wasm.sig`, and of its parts in headers: a statement has about 200.
pub const SIGNATURE_BYTES: u64 = 16 << 10;
/// What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A statement with its signature, as it came: both in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    pub statement: String,
    pub signature: String,
}

/// What was signed.
#[derive(Debug, Deserialize)]
struct Statement {
    plugin: String,
    version: u64,
    sha256: String,
}

/// The highest version that was accepted of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub version: u64,
    pub digest: String,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Signed {
    /// Two lines: the statement, then the signature.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (statement, signature) = (lines.next()?, lines.next()?);
        lines.next().is_none().then(|| Self { statement: statement.to_owned(), signature: signature.to_owned() })
    }
}

impl Key {
    /// Reads a PEM file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let key = SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|error| named(error.to_string()))?;
        let raw = key.as_ref().strip_prefix(&ED25519_PREFIX).and_then(|raw| raw.try_into().ok());
        raw.map(Self).ok_or_else(|| named("not an Ed25519 public key".to_owned()))
    }

    /// The key as text that identifies it.
    pub fn id(&self) -> String {
        BASE64.encode(self.0)
    }

    /// Checks that this key vouches for a module under the name of this plugin; the version it was given.
    ///
    /// # Errors
    /// The reason for people: no signature, a wrong one, or one of something else.
    pub fn verify(&self, signed: Option<&Signed>, plugin: &str, digest: &str) -> Result<Accepted, String> {
        let Some(signed) = signed else {
            return Err("is not signed, and signature.publicKey asks for it".to_owned());
        };
        let decode = |what, text: &str| BASE64.decode(text).map_err(|_| format!("its {what} is not base64"));
        let statement = decode("statement", &signed.statement)?;
        let signature = decode("signature", &signed.signature)?;
        // Nothing inside the statement is looked at before this.
        if UnparsedPublicKey::new(&ED25519, &self.0).verify(&statement, &signature).is_err() {
            return Err("its signature is not valid under signature.publicKey".to_owned());
        }
        let stated: Statement =
            serde_json::from_slice(&statement).map_err(|error| format!("its signed statement: {error}"))?;
        if stated.plugin != plugin {
            return Err(format!("is signed for plugin {}, not {plugin}", stated.plugin));
        }
        if !stated.sha256.eq_ignore_ascii_case(digest) {
            return Err(format!("its signature is of sha256 {}, the module has {digest}", stated.sha256));
        }
        Ok(Accepted { version: stated.version, digest: digest.to_owned() })
    }
}

/// Refuses what is older than the highest version that was accepted. The same version again is no step back.
pub fn check_order(offered: &Accepted, highest: Option<&Accepted>) -> Result<(), String> {
    match highest {
        Some(highest) if offered.version <= highest.version && offered != highest => Err(format!(
            "its signed version {} is not above {}, the highest accepted; ?allowRollback allows it",
            offered.version, highest.version
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn sign(pair: &Ed25519KeyPair, statement: &str) -> Signed {
        Signed { statement: BASE64.encode(statement), signature: BASE64.encode(pair.sign(statement.as_bytes())) }
    }

    #[test]
    fn only_what_was_signed_for_this_plugin_passes() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = Key(pair.public_key().as_ref().try_into().unwrap());
        let stranger = Ed25519KeyPair::generate().unwrap();
        let statement = r#"{"plugin": "p", "version": 3, "sha256": "AB"}"#;
        let good = sign(&pair, statement);
        assert_eq!(key.verify(Some(&good), "p", "ab").unwrap().version, 3);
        let cases = [
            (None, "p", "ab", "not signed"),
            (Some(sign(&stranger, statement)), "p", "ab", "not valid"),
            (Some(good.clone()), "q", "ab", "signed for plugin p"),
            (Some(good.clone()), "p", "cd", "the module has cd"),
            (Some(sign(&pair, "{}")), "p", "ab", "statement"),
            (Some(Signed { signature: "?".into(), ..good.clone() }), "p", "ab", "base64"),
            (Some(Signed { statement: BASE64.encode(statement.replace('3', "4")), ..good }), "p", "ab", "not valid"),
        ];
        for (signed, plugin, digest, words) in cases {
            let refusal = key.verify(signed.as_ref(), plugin, digest).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn versions_only_go_up() {
        let version = |version, digest: &str| Accepted { version, digest: digest.to_owned() };
        let highest = version(5, "a");
        assert!(check_order(&version(6, "b"), Some(&highest)).is_ok());
        assert!(check_order(&highest, Some(&highest)).is_ok(), "the same again");
        assert!(check_order(&version(5, "b"), Some(&highest)).is_err());
        assert!(check_order(&version(4, "a"), Some(&highest)).is_err());
        assert!(check_order(&version(0, "a"), None).is_ok());
    }

    #[test]
    fn a_signature_file_has_two_lines() {
        let both = Signed { statement: "a".into(), signature: "b".into() };
        assert_eq!(Signed::parse("a\nb\n"), Some(both.clone()));
        assert_eq!(Signed::parse("\na\r\nb"), Some(both));
        assert_eq!(Signed::parse("a"), None);
        assert_eq!(Signed::parse("a\nb\nc"), None);
    }
}
