//! Serialized header maps from guests.

use proptest::collection::vec;
use proptest::prelude::*;
use sidegate_wasm_host::limits;
use sidegate_wasm_host::pairs::{decode, encode_list};

use crate::fuzz;

/// A sound map with some bytes changed, cut or added; or any bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = vec(any::<u8>(), 0..6);
    let sound = vec((text.clone(), text), 0..8).prop_map(|pairs| {
        let mut bytes = Vec::new();
        encode_list(&pairs, &mut bytes);
        bytes
    });
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let damaged = (sound, changes, any::<prop::sample::Index>(), vec(any::<u8>(), 0..3)).prop_map(
        |(mut bytes, changes, cut, tail)| {
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            // Most are left whole.
            bytes.truncate(cut.index(bytes.len() * 2 + 1));
            bytes.extend(tail);
            bytes
        },
    );
    prop_oneof![4 => damaged, 1 => vec(any::<u8>(), 0..64)]
}

#[test]
fn a_map_is_read_as_it_was_written_or_not_at_all() {
    fuzz(&bytes(), |bytes| {
        let Some(pairs) = decode(&bytes) else { return };
        assert!(pairs.len() <= limits::PAIRS_COUNT);
        let mut again = Vec::new();
        encode_list(&pairs, &mut again);
        assert!(again == bytes || pairs.is_empty(), "{pairs:?} has one form only");
    });
}
