//! What filters did to a head besides its fields: bytes they wrote, and what of it cannot be sent.

/// Bytes of names and values that filters may write into one head, replaced ones included: Envoy's bound for a whole
/// map. Beyond, the exchange ends.
pub(super) const MAX_WRITTEN: usize = 1 << 20;

#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// A filter removed `content-length`: filters no longer see it. A response leaves in chunks, a
    /// request with the length that it has.
    pub length_hidden: bool,
    /// A filter wrote too much: the exchange must end.
    overflown: bool,
    /// Bytes that filters wrote so far.
    written: usize,
    /// Fields that cannot be sent, by lower-case name: filters read them back, and what becomes of the message is judged
    /// after the hook, or when the head leaves.
    unsendable: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Edits {
    pub(super) fn overflow(&mut self) {
        self.overflown = true;
    }

    pub(super) fn is_overflown(&self) -> bool {
        self.overflown
    }

    /// Whether this much may still be written.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        self.written = self.written.saturating_add(bytes);
        self.overflown |= self.written > MAX_WRITTEN;
        self.written <= MAX_WRITTEN
    }

    pub(super) fn keep(&mut self, name: &[u8], value: &[u8]) {
        self.unsendable.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// Forgets what cannot be sent under this name.
    pub(super) fn forget(&mut self, name: &[u8]) {
        self.unsendable.retain(|(known, _)| !name.eq_ignore_ascii_case(known));
    }

    pub(super) fn forget_all(&mut self) {
        self.unsendable.clear();
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.unsendable().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, value)| value)
    }

    pub(super) fn unsendable(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.unsendable.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Forgives what was written so far, so that only what is written anew can end the exchange again.
    pub fn forgive(&mut self) {
        self.overflown = false;
        self.unsendable.clear();
    }
}
