//! What filters store in an exchange: properties by `proxy_set_property`, and filter state under Envoy's own names.

use sidegate_wasm_host::abi::Status;

/// Values that guests may store in one exchange, and their bytes in all.
const MAX_VALUES: usize = 64;
const MAX_BYTES: usize = 256 << 10;

/// Values of one exchange.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    entries: Vec<Entry>,
    /// Something was dropped, and the log knows.
    told: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    place: Place,
    path: Vec<u8>,
    value: Vec<u8>,
    declared: Declared,
}

/// Whose name space a value is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `wasm.*` in Envoy's filter state: what `proxy_set_property` writes, by raw path.
    Property,
    /// Envoy's own objects.
    FilterState,
}

/// What `declare_property` says about a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The first write stands.
    pub readonly: bool,
    /// A text in expressions; else bytes.
    pub text: bool,
}

impl Stored {
    /// Writes a value. `declared` counts when the value is new. What is over the quota is dropped with a warning: SDKs
    /// trap on other answers, and a quota must not cost a VM.
    pub fn set(&mut self, place: Place, path: &[u8], value: &[u8], declared: Declared) -> Status {
        let count = self.entries.len();
        let bytes: usize = self.entries.iter().map(|entry| entry.path.len() + entry.value.len()).sum();
        let old = self.entries.iter_mut().find(|entry| entry.place == place && entry.path == path);
        if old.as_ref().is_some_and(|entry| entry.declared.readonly) {
            return Status::BadArgument;
        }
        let more = value.len() + if old.is_some() { 0 } else { path.len() };
        let less = old.as_ref().map_or(0, |entry| entry.value.len());
        if bytes + more - less > MAX_BYTES || (old.is_none() && count >= MAX_VALUES) {
            // Once for each exchange: a guest may try a thousand times in a hook.
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!("a property was dropped: an exchange holds {MAX_VALUES} and {MAX_BYTES} bytes");
            }
            return Status::Ok;
        }
        match old {
            Some(entry) => entry.value = value.to_vec(),
            None => self.entries.push(Entry { place, path: path.to_vec(), value: value.to_vec(), declared }),
        }
        Status::Ok
    }

    pub fn find(&self, place: Place, path: &[u8]) -> Option<(&[u8], Declared)> {
        let entry = self.entries.iter().find(|entry| entry.place == place && entry.path == path)?;
        Some((&entry.value, entry.declared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(stored: &mut Stored, path: &[u8], value: &[u8]) -> Status {
        stored.set(Place::Property, path, value, Declared::default())
    }

    fn length(stored: &Stored, path: &[u8]) -> Option<usize> {
        stored.find(Place::Property, path).map(|(value, _)| value.len())
    }

    #[test]
    fn overwriting_counts_like_writing() {
        let mut stored = Stored::default();
        for path in [b"a", b"b", b"c"] {
            set(&mut stored, path, &[0; 64 << 10]);
        }
        assert_eq!(set(&mut stored, b"d", b"small"), Status::Ok);
        assert_eq!(set(&mut stored, b"d", &[0; 64 << 10]), Status::Ok, "a quota never traps an SDK");
        assert_eq!(length(&stored, b"d"), Some(5), "but the old value stays");
        set(&mut stored, b"a", b"");
        set(&mut stored, b"d", &[0; 64 << 10]);
        assert_eq!(length(&stored, b"d"), Some(64 << 10), "what another one gave back can be used");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut stored = Stored::default();
        for at in 0..=MAX_VALUES as u8 {
            set(&mut stored, &[at], b"x");
        }
        assert_eq!(length(&stored, &[MAX_VALUES as u8]), None);
        set(&mut stored, &[0], b"xyz");
        assert_eq!(length(&stored, &[0]), Some(3));
    }

    #[test]
    fn read_only_means_written_once() {
        let mut stored = Stored::default();
        let declared = Declared { readonly: true, text: true };
        assert_eq!(stored.set(Place::Property, b"a", b"1", declared), Status::Ok);
        assert_eq!(stored.set(Place::Property, b"a", b"2", declared), Status::BadArgument);
        assert_eq!(stored.find(Place::Property, b"a"), Some((&b"1"[..], declared)));
        assert_eq!(stored.find(Place::FilterState, b"a"), None, "the places do not mix");
    }
}
