//! `sidegate_token_bucket`: ours. One bucket for all workers and all versions of a plugin.

use std::time::Duration;

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::shared::{BucketTerms, Shared};

/// Argument, little endian: key length u32, key, most tokens u64, tokens per fill u64, milliseconds between fills u64,
/// tokens to take u64. Result: one byte whether they were there, tokens that remain u64, milliseconds until the next
/// fill u64.
pub(super) fn call(shared: &Shared, vm_id: &str, now: Duration, argument: &[u8], out: &mut Vec<u8>) -> Status {
    let Some((key, [max_tokens, tokens_per_fill, interval, tokens])) = parse(argument) else {
        return Status::BadArgument;
    };
    let terms = BucketTerms { max_tokens, tokens_per_fill, fill_interval: Duration::from_millis(interval) };
    match shared.draw(vm_id, key, terms, tokens, now) {
        Ok(drawn) => {
            let wait = drawn.next_fill.as_nanos().div_ceil(1_000_000);
            out.push(u8::from(drawn.allowed));
            out.extend_from_slice(&drawn.remaining.to_le_bytes());
            out.extend_from_slice(&u64::try_from(wait).unwrap_or(u64::MAX).to_le_bytes());
            Status::Ok
        }
        Err(status) => status,
    }
}

fn parse(argument: &[u8]) -> Option<(&[u8], [u64; 4])> {
    let (len, rest) = argument.split_first_chunk::<4>()?;
    let (key, mut rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let mut numbers = [0; 4];
    for number in &mut numbers {
        let (bytes, behind) = rest.split_first_chunk::<8>()?;
        *number = u64::from_le_bytes(*bytes);
        rest = behind;
    }
    rest.is_empty().then_some((key, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let shared = Shared::default();
        let argument = |key: &[u8], numbers: [u64; 4]| {
            let mut bytes = (key.len() as u32).to_le_bytes().to_vec();
            bytes.extend_from_slice(key);
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
            bytes
        };
        let ask = |argument: &[u8]| {
            let mut out = Vec::new();
            (call(&shared, "vm", Duration::from_micros(1500), argument, &mut out), out)
        };
        let (status, out) = ask(&argument(b"key", [5, 1, 1000, 2]));
        assert_eq!(status, Status::Ok);
        assert_eq!(out, [&[1][..], &3_u64.to_le_bytes(), &1000_u64.to_le_bytes()].concat());
        let (_, out) = ask(&argument(b"key", [5, 1, 1000, 4]));
        assert_eq!(out.first(), Some(&0));
        let whole = argument(b"key", [5, 1, 1000, 2]);
        for bad in [&b""[..], &whole[..whole.len() - 1], &[&whole[..], &[0]].concat(), b"\xff\xff\xff\xffk"] {
            assert_eq!(ask(bad), (Status::BadArgument, Vec::new()));
        }
        assert_eq!(ask(&argument(b"key", [0, 1, 1000, 2])).0, Status::BadArgument);
    }
}
