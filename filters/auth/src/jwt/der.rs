//! Keys and signatures in DER, as `verify_signature` wants them: X.509's SubjectPublicKeyInfo, and ECDSA's two numbers.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// rsaEncryption with its NULL, inside a sequence.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// id-ecPublicKey and prime256v1, inside a sequence.
const P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// id-ecPublicKey and secp384r1, inside a sequence.
const P384: [u8; 18] =
    [0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

pub(crate) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [integer(modulus), integer(exponent)].concat();
    public_key(&RSA, &element(SEQUENCE, &numbers))
}

pub(crate) fn p256_key(point: &[u8]) -> Vec<u8> {
    public_key(&P256, point)
}

pub(crate) fn p384_key(point: &[u8]) -> Vec<u8> {
    public_key(&P384, point)
}

/// A signature of two numbers side by side; `None` if it does not have this length.
pub(crate) fn ecdsa_signature(fixed: &[u8], length: usize) -> Option<Vec<u8>> {
    let (r, s) = fixed.split_at_checked(length / 2).filter(|_| fixed.len() == length)?;
    Some(element(SEQUENCE, &[integer(r), integer(s)].concat()))
}

fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    // No unused bits in the last byte.
    let bits = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[algorithm, &bits].concat())
}

/// A number without sign: no zeros before it, but one where it would look negative.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let needs_zero = digits.first().is_none_or(|first| *first >= 0x80);
    element(INTEGER, &[if needs_zero { &[0][..] } else { &[] }, digits].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let long = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}
