//! Response flags: Envoy's bits as Envoy's short codes.

use std::borrow::Cow;

/// The code of each bit, from the lowest on.
const CODES: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

/// The codes joined by `,`, or `-` for none.
pub(crate) fn text(mask: i64) -> Cow<'static, str> {
    if mask == 0 {
        return "-".into();
    }
    let set = CODES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
    set.map(|(_, code)| *code).collect::<Vec<_>>().join(",").into()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn bits_become_codes() {
        assert_eq!(text(0), "-");
        assert_eq!(text(0x100), "NR");
        assert_eq!(text(1 << 10 | 1 << 9), "DI,FI");
        assert_eq!(text(1 << 24), "NC");
    }
}
