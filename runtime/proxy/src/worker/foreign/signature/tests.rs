//! Signatures made by OpenSSL, and there and back with keys made here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair;

use super::*;

const RSA_KEY: &str = "\
    30820122300d06092a864886f70d01010105000382010f003082010a0282010100a07e54b3b5a7a275e7cbd6ba4bac5d3a33e439237b6a\
    bba1e0392f5de11b6b9f3b2c826c3b8bf51ada7b9b982518d44a1bcfbf81362ac75e63b2eec9d44258fecd4895c0234f8cba1da23a7ec8\
    f178934c4c6bdd40adf8f89152db3dc15ff2d350220463a7610c4761be2e6e02b80466f0799d2216356882a4879d07b257fb7af86f8ba6\
    11058391fb7cfaaa7a37e27bf051c2b36b68fd7109a2c9c1d54d91f20d2b6e2ec796f36c156127a470d5f08ac95b8f22064ed195cb5ee5\
    ab03bf0ede674d3d482a594a5795c664838ccab8abbcbbaf713ee0d60490785aa047eb4039171b3e519d037377f38a7fb9fb80926be581\
    50e789340169f099df7b31f8a9fb0203010001";
const RSA_SHA1: &str = "\
    69c4e668bcdbc99c4df222fa9d20963520d4a611d477bd908c03d4973b528b0cf632b3b12e8e2a595ed90f4bfda24a274f905551e286cf\
    f206e68413ec7333dc20e5a18bec13ce15f1f7d0b6c040406ec05d949a802b25908bf3eb4ae85001c78e09f19e69fc314e0f020614831a\
    be2093a64c8eba5d504845f57593ecb39c3447182b757783292dfcd6a70379aa0f118b55be8fa20ab384a34c5796c6718fc142e44ea620\
    2f2d8bb450883f8f761411176fa33f4a90ae42028415100a8ecca928006887677824dbcb533290fcd6e19650a640213392e04db5d91cf2\
    f6e71b63ecfc54517f421a9db6510d97741577366da06a9794628c024d318d0159459bf4";
const RSA_SHA512: &str = "\
    56081b082e7029d8e42af048148e793eac9bffba76c44ddcb29339b4b5b26b1e1d1b8501f31a2e2dc2be373ae2dc7e5a3b4a9060540742\
    c7f4a75a716f22a573d16208f3ab99d715ab785dfa5426bbd6f0df19c19b62670ee923d92fcb914a5fa9fa6fb57439cd29b777d26ab693\
    e56569b2e682e503eb13bce6643bea9a0e69ad58010be444b0d2db6b1dd07851d47075cfc4b3bdaf7ebc110869ac56af458d8457e7c1ed\
    37f06fb6982418660392b8d65991aa9f4514989a057412974ec4625b30832f172022d122524fc6366d236b382ce720ed1fe9d9e4092bbe\
    0725ed49aae9c23b7ce4c9451ffc2195d615e9f9ae9c23a4a127dedd1f0044841086f4c9";
const EC_SHA512: &str = "\
    3045022100b320bb8262c753bc76618fd58a96629e9e6a63d55ad5c08677eaf211b3daf7b702203ab5906a8d49df0acd8c9dea0497271f\
    5b9689048227f1692800c952ef114a16";
const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEieBxZ2ZUeO0BkX3BrmPaaaGZt1RJ\n\
    r9tNt/XU2u7tS07aAsiaU+nw30/ebs+H+T5vvUsbpW9zdyYpGVcPC9xsNA==\n\
    -----END PUBLIC KEY-----\n";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|(number, value)| put_bytes(&mut out, *number, value));
    out
}

/// The result and the texts of a result message.
fn answer(function: fn(&[u8], &mut Vec<u8>) -> Status, argument: &[u8]) -> (bool, Vec<u8>) {
    let (mut out, mut result, mut text) = (Vec::new(), false, Vec::new());
    assert_eq!(function(argument, &mut out), Status::Ok);
    protobuf::read(&out, |number, value| match (number, value) {
        (1, Value::Number(flag)) => result = flag == 1,
        (_, Value::Bytes(bytes)) => text.extend_from_slice(bytes),
        _ => {}
    })
    .unwrap();
    (result, text)
}

fn checked(hash: &str, key: (u64, &[u8]), signature: &[u8], text: &str) -> (bool, String) {
    let argument = message(&[(1, hash.as_bytes()), key, (3, signature), (4, text.as_bytes())]);
    let (result, error) = answer(verify, &argument);
    (result, String::from_utf8(error).unwrap())
}

#[test]
fn signatures_of_openssl() {
    let key = bytes(RSA_KEY);
    assert_eq!(checked("sha1", (2, &key), &bytes(RSA_SHA1), "hello"), (true, String::new()));
    assert_eq!(checked("SHA512", (2, &key), &bytes(RSA_SHA512), "hello"), (true, String::new()));
    assert_eq!(checked("sha512", (5, EC_KEY.as_bytes()), &bytes(EC_SHA512), "hello"), (true, String::new()));
    let wrong = "Failed to verify digest. Error code: 0".to_owned();
    assert_eq!(checked("sha512", (2, &key), &bytes(RSA_SHA512), "hullo"), (false, wrong.clone()));
    assert_eq!(checked("sha256", (2, &key), &bytes(RSA_SHA512), "hello"), (false, wrong));
}

#[test]
fn what_cannot_be_used_is_said_in_the_result() {
    let key = bytes(RSA_KEY);
    let signature = bytes(RSA_SHA1);
    assert_eq!(checked("md5", (2, &key), &signature, "hello"), (false, "md5 is not supported.".to_owned()));
    assert_eq!(checked("sha1", (2, b"no key"), &signature, "hello"), (false, NO_KEY.to_owned()));
    assert_eq!(checked("sha1", (2, &key[..60]), &signature, "hello"), (false, NO_KEY.to_owned()));
    assert_eq!(checked("sha1", (5, b"no pem"), &signature, "hello"), (false, NO_KEY.to_owned()));
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let key = bytes(RSA_KEY);
    let both = message(&[(1, b"sha256"), (2, &key), (5, EC_KEY.as_bytes())]);
    let large = message(&[(1, b"sha256"), (2, &vec![0; KEY_BYTES + 1])]);
    for argument in [&b"\xff"[..], &message(&[(1, b"sha256")]), &both, &large, &message(&[(1, b"\xff"), (2, &key)])] {
        assert_eq!(verify(argument, &mut Vec::new()), Status::BadArgument);
        assert_eq!(sign(&message(&[(1, b"sha256")]), &mut Vec::new()), Status::BadArgument);
    }
}

#[test]
fn what_is_signed_verifies() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let curve = EcdsaKeyPair::generate(&algorithms::ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let curve_private = curve.to_pkcs8v1().unwrap();
    let curve_public: PublicKeyX509Der<'_> = curve.public_key().as_der().unwrap();
    for (hash, private, public) in [
        ("sha256", private.as_ref(), public.as_ref()),
        ("sha512", private.as_ref(), public.as_ref()),
        ("sha384", curve_private.as_ref(), curve_public.as_ref()),
    ] {
        let (result, signature) = answer(sign, &message(&[(1, hash.as_bytes()), (2, private), (3, b"hello")]));
        assert!(result, "{}", String::from_utf8_lossy(&signature));
        assert_eq!(checked(hash, (2, public), &signature, "hello"), (true, String::new()), "{hash}");
    }
    let (result, error) = answer(sign, &message(&[(1, b"sha1"), (2, private.as_ref()), (3, b"hello")]));
    assert_eq!((result, error), (false, b"sha1 is not supported.".to_vec()), "nothing new is signed with SHA-1");
    let (result, error) = answer(sign, &message(&[(1, b"sha256"), (2, b"no key"), (3, b"hello")]));
    assert_eq!((result, error), (false, NO_SIGNING_KEY.into()));
}
