//! Addresses and blocks of them.

use std::net::{IpAddr, Ipv6Addr};

/// A block of addresses: those that share the first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    first: IpAddr,
    bits: u8,
}

impl Block {
    /// Reads `10.0.0.0/8` or a single address.
    pub(crate) fn new(written: &str) -> Result<Self, String> {
        let wrong = || format!("`{written}` is no address and no block of addresses such as 10.0.0.0/8");
        let (address, bits) = match written.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (written, None),
        };
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
            None => most,
        };
        // `::ffff:10.0.0.0/104` is the IPv4 block 10.0.0.0/8.
        match (first.to_canonical(), bits.checked_sub(96)) {
            (IpAddr::V4(v4), Some(bits)) if first.is_ipv6() => Ok(Self { first: IpAddr::V4(v4), bits }),
            _ => Ok(Self { first, bits }),
        }
    }

    /// Whether an address lies inside. An IPv4 address in IPv6 form is the IPv4 address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(first) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(first) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// The address in `1.2.3.4:80`, `[::1]:80`, `1.2.3.4` or `::1`, as hosts write it.
pub(crate) fn read(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse().ok().or_else(|| text.rsplit_once(':')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Block, read};

    #[test]
    fn blocks_hold_what_shares_their_bits() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.9.9.9"),
        ] {
            let read = |text: &str| text.parse().unwrap();
            assert!(Block::new(block).unwrap().contains(read(inside)), "{inside} in {block}");
            assert!(!Block::new(block).unwrap().contains(read(outside)), "{outside} not in {block}");
        }
        assert!(Block::new("10.0.0.0/8").unwrap().contains("::ffff:10.0.0.1".parse().unwrap()));
        for wrong in ["", "10.0.0/8", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/-1"] {
            assert!(Block::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_read_with_and_without_port() {
        for (text, address) in [("1.2.3.4:80", "1.2.3.4"), ("1.2.3.4", "1.2.3.4"), ("[::1]:80", "::1"), ("::1", "::1")]
        {
            assert_eq!(read(text), address.parse().ok(), "{text}");
        }
        assert_eq!(read("/run/socket"), None);
    }
}
