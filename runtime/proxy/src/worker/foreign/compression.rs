//! `compress` and `uncompress`: Envoy's, in zlib's format, from bytes to bytes.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sidegate_wasm_host::abi::Status;

/// Bytes of the uncompressed side, either way: four times the body that a filter gets by default, some tens of
/// milliseconds at most. Envoy has no limit, so that a few bytes can take all of its memory.
const PLAIN_BYTES: usize = 4 << 20;
/// What is larger is compressed for speed, because others wait.
const THOROUGH_BYTES: usize = 512 << 10;

/// Argument: any bytes. Result: a zlib stream.
pub(super) fn compress(argument: &[u8], out: &mut Vec<u8>) -> Status {
    if argument.len() > PLAIN_BYTES {
        return Status::SerializationFailure;
    }
    let level = if argument.len() <= THOROUGH_BYTES { Compression::default() } else { Compression::fast() };
    let mut encoder = ZlibEncoder::new(out, level);
    match encoder.write_all(argument).and_then(|()| encoder.try_finish()) {
        Ok(()) => Status::Ok,
        Err(_) => Status::SerializationFailure,
    }
}

/// Argument: a whole zlib stream. Result: what it holds.
pub(super) fn uncompress(argument: &[u8], out: &mut Vec<u8>) -> Status {
    let mut decoder = ZlibDecoder::new(argument).take(PLAIN_BYTES as u64 + 1);
    match decoder.read_to_end(out) {
        Ok(length) if length <= PLAIN_BYTES => Status::Ok,
        _ => {
            out.clear();
            Status::SerializationFailure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(function: fn(&[u8], &mut Vec<u8>) -> Status, argument: &[u8]) -> (Status, Vec<u8>) {
        let mut out = Vec::new();
        (function(argument, &mut out), out)
    }

    #[test]
    fn there_and_back() {
        for text in [&b""[..], b"a", &[b'x'; 100_000]] {
            let (status, small) = called(compress, text);
            assert_eq!((status, small.first()), (Status::Ok, Some(&0x78)), "zlib's header");
            assert_eq!(called(uncompress, &small), (Status::Ok, text.to_vec()));
        }
        // Made by zlib itself.
        let made = b"\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15";
        assert_eq!(called(uncompress, made), (Status::Ok, b"hello".to_vec()));
    }

    #[test]
    fn bad_input_and_too_much_output_are_serialization_failures() {
        let (_, whole) = called(compress, b"hello, hello, hello");
        let wrong_sum: Vec<u8> = whole.iter().enumerate().map(|(at, b)| b ^ u8::from(at + 1 == whole.len())).collect();
        for bad in [&b""[..], b"hello", &whole[..whole.len() - 1], &whole[..4], &wrong_sum] {
            assert_eq!(called(uncompress, bad), (Status::SerializationFailure, Vec::new()), "{bad:?}");
        }
        let (_, bomb) = called(compress, &vec![0; PLAIN_BYTES]);
        assert_eq!(called(uncompress, &bomb).0, Status::Ok, "as much as may be");
        assert_eq!(called(compress, &vec![0; PLAIN_BYTES + 1]).0, Status::SerializationFailure);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 16 * PLAIN_BYTES]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < PLAIN_BYTES / 50);
        assert_eq!(called(uncompress, &bomb), (Status::SerializationFailure, Vec::new()));
    }
}
