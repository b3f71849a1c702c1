//! Counts the messages of a gRPC body as its bytes go by: five bytes of prefix, then as many as the prefix says.

/// Messages of one direction.
#[derive(Debug, Default)]
pub struct Messages {
    /// Messages that have begun.
    pub count: u64,
    prefix: [u8; 5],
    /// Bytes of the prefix that are there.
    filled: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Messages {
    /// Looks at the next bytes of the body.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.prefix.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled += 1;
            if self.filled == self.prefix.len() {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.filled = 0;
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = b"\0\0\0\0\x02ab\0\0\0\0\0\x01\0\0\0\x01c";
        for size in 1..=body.len() {
            let mut messages = Messages::default();
            body.chunks(size).for_each(|chunk| messages.pass(chunk));
            assert_eq!(messages.count, 3, "in pieces of {size}");
        }
    }
}
