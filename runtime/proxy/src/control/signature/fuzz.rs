//! Statements and keys that somebody else made: nothing passes but what the key signed for this plugin and module.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sidegate_tests::fuzz::fuzz;

use super::*;

const DIGEST: &str = "ab12";

fn value() -> impl Strategy<Value = String> {
    let odd =
        ["\"p\"", "\"q\"", "\"ab12\"", "\"AB12\"", "\"ab13\"", "3", "-1", "1e3", "18446744073709551616", "null", "[]"];
    prop_oneof![4 => select(odd.to_vec()).prop_map(str::to_owned), 1 => any::<String>().prop_map(|text| format!("{text:?}"))]
}

/// The text of a statement: mostly an object with the right names.
fn statement() -> impl Strategy<Value = String> {
    let name = select(vec!["plugin", "version", "sha256", "more"]);
    let fields = vec((name, value()), 0..6).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", fields.join(", "))
    });
    let good = Just(format!("{{\"plugin\": \"p\", \"version\": 3, \"sha256\": \"{DIGEST}\"}}"));
    prop_oneof![4 => fields, 1 => good, 1 => any::<String>()]
}

#[test]
fn what_was_signed_passes_only_as_what_it_says() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = Key(pair.public_key().as_ref().try_into().unwrap());
    fuzz(&statement(), |text| {
        let signed = Signed { statement: BASE64.encode(&text), signature: BASE64.encode(pair.sign(text.as_bytes())) };
        let Ok(accepted) = key.verify(Some(&signed), "p", DIGEST) else { return };
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((said["plugin"].as_str(), said["version"].as_u64()), (Some("p"), Some(accepted.version)));
        assert!(said["sha256"].as_str().unwrap().eq_ignore_ascii_case(DIGEST));
        assert_eq!(accepted.digest, DIGEST);
    });
}

#[test]
fn nothing_that_was_changed_passes() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = Key(pair.public_key().as_ref().try_into().unwrap());
    let text = format!("{{\"plugin\": \"p\", \"version\": 3, \"sha256\": \"{DIGEST}\"}}");
    let sound = format!("{}\n{}\n", BASE64.encode(&text), BASE64.encode(pair.sign(text.as_bytes())));
    assert!(key.verify(Signed::parse(&sound).as_ref(), "p", DIGEST).is_ok());
    let changes = vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4);
    fuzz(&changes, |changes| {
        let mut bytes = sound.clone().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        let Some(signed) = Signed::parse(&String::from_utf8_lossy(&bytes)) else { return };
        let decoded = |text: &str| BASE64.decode(text).ok();
        let is_sound = Signed::parse(&sound).is_some_and(|sound| {
            decoded(&sound.statement) == decoded(&signed.statement)
                && decoded(&sound.signature) == decoded(&signed.signature)
        });
        assert_eq!(key.verify(Some(&signed), "p", DIGEST).is_ok(), is_sound, "{signed:?}");
    });
}

#[test]
fn any_file_is_a_key_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let body = vec(any::<u8>(), 0..64).prop_map(|bytes| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(bytes)).into_bytes()
    });
    fuzz(&prop_oneof![body, vec(any::<u8>(), 0..200)], |bytes| {
        std::fs::write(&file, bytes).unwrap();
        if let Ok(key) = Key::read(&file) {
            assert_eq!(BASE64.decode(key.id()).unwrap().len(), 32);
        }
    });
}
