//! The ABI's form of a list of pairs: a count, the lengths, then names and values each with a NUL behind.

/// Writes pairs.
pub(crate) fn encode<'p>(pairs: impl Iterator<Item = (&'p str, &'p [u8])> + Clone) -> Vec<u8> {
    let size: usize = pairs.clone().map(|(name, value)| name.len() + value.len() + 10).sum();
    let mut out = Vec::with_capacity(size + 4);
    out.extend_from_slice(&count(pairs.clone().count()));
    for (name, value) in pairs.clone() {
        out.extend_from_slice(&count(name.len()));
        out.extend_from_slice(&count(value.len()));
    }
    for (name, value) in pairs {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

fn count(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads pairs one by one; ends early where the bytes are not well formed.
pub(crate) fn decode(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let total = number(bytes, 0).unwrap_or(0);
    let mut at = total.saturating_mul(8).saturating_add(4);
    (0..total).map_while(move |index| {
        let head = 4 + index * 8;
        let (name_len, value_len) = (number(bytes, head)?, number(bytes, head + 4)?);
        let name = bytes.get(at..at.checked_add(name_len)?)?;
        at = at.checked_add(name_len)?.checked_add(1)?;
        let value = bytes.get(at..at.checked_add(value_len)?)?;
        at = at.checked_add(value_len)?.checked_add(1)?;
        Some((name, value))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*four)).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn what_is_written_is_read_and_nonsense_ends_early() {
        let pairs: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b""), ("a", b"22")];
        let bytes = encode(pairs.into_iter());
        let back: Vec<_> = decode(&bytes).collect();
        assert_eq!(back, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"a", b"22")]);
        assert_eq!(decode(&bytes[..bytes.len() - 3]).count(), 2);
        assert_eq!(decode(&[255; 12]).count(), 0);
        assert_eq!(decode(&[]).count(), 0);
    }
}
