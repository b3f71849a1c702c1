//! Where a gRPC call goes: a cluster's name, or Envoy's `GrpcService` message, of which a few fields are read.

use std::time::Duration;

/// Entries of metadata that a target may bring.
const METADATA: usize = 100;

/// The upstream of a gRPC call as the guest names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcTarget {
    pub cluster: String,
    pub authority: Option<String>,
    /// Names in lower case.
    pub metadata: Vec<(Vec<u8>, Vec<u8>)>,
    pub timeout: Option<Duration>,
}

impl GrpcTarget {
    /// Reads a `GrpcService` with `envoy_grpc`; anything else is the name of a cluster.
    pub fn read(bytes: &[u8]) -> Self {
        let name = || Self { cluster: String::from_utf8_lossy(bytes).into_owned(), ..Self::default() };
        service(bytes).filter(|target| !target.cluster.is_empty()).unwrap_or_else(name)
    }
}

/// `envoy.config.core.v3.GrpcService`: 1 `envoy_grpc`, 3 `timeout`, 5 `initial_metadata`.
fn service(bytes: &[u8]) -> Option<GrpcTarget> {
    let mut target = GrpcTarget::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(envoy)) => envoy_grpc(envoy, &mut target)?,
            (3, Value::Bytes(timeout)) => target.timeout = duration(timeout)?,
            (5, Value::Bytes(entry)) if target.metadata.len() < METADATA => target.metadata.push(header(entry)?),
            (5, Value::Bytes(_)) => return None,
            _ => {}
        }
    }
    Some(target)
}

/// `EnvoyGrpc`: 1 `cluster_name`, 2 `authority`.
fn envoy_grpc(bytes: &[u8], target: &mut GrpcTarget) -> Option<()> {
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(cluster)) => target.cluster = str::from_utf8(cluster).ok()?.to_owned(),
            (2, Value::Bytes(b"")) => target.authority = None,
            (2, Value::Bytes(authority)) => target.authority = Some(str::from_utf8(authority).ok()?.to_owned()),
            _ => {}
        }
    }
    Some(())
}

/// `google.protobuf.Duration`: 1 seconds, 2 nanoseconds. Zero and less are no limit.
fn duration(bytes: &[u8]) -> Option<Option<Duration>> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(value)) => seconds = value.cast_signed(),
            (2, Value::Number(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else { return Some(None) };
    let sum = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
    Some(Some(sum).filter(|sum| !sum.is_zero()))
}

/// `HeaderValue`: 1 key, 2 value, 3 `raw_value`, of which one is given.
fn header(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(key)) => name = key.to_ascii_lowercase(),
            (2 | 3, Value::Bytes(given)) if !given.is_empty() => value = given.to_vec(),
            _ => {}
        }
    }
    Some((name, value))
}

/// The fields of a protobuf message, in order; `None` in place of what is malformed, and then no more.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number: none of the fields read here.
    Fixed,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        (tag >> 3 != 0).then_some((tag >> 3, value))
    }

    /// A variable-length number of at most ten bytes.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with bytes; short ones only.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    #[test]
    fn anything_but_a_message_with_a_cluster_is_a_name() {
        for name in ["auth", "outbound|80||auth.shop", "abcdefghi", "", "\n\u{4}auth"] {
            assert_eq!(GrpcTarget::read(name.as_bytes()), GrpcTarget { cluster: name.into(), ..GrpcTarget::default() });
        }
        let google = field(2, &field(1, b"a:1"));
        assert_eq!(GrpcTarget::read(&google).cluster.as_bytes(), google);
    }

    #[test]
    fn a_service_brings_cluster_authority_metadata_and_timeout() {
        let bytes = [
            field(1, &[field(1, b"auth"), field(2, b"auth.shop"), vec![5 << 3, 1]].concat()),
            field(3, &[vec![1 << 3, 2], vec![2 << 3, 0x80, 0xca, 0xb5, 0xee, 0x01]].concat()),
            field(5, &[field(1, b"X-Tenant"), field(2, b"a")].concat()),
            field(5, &[field(1, b"x-bin"), field(3, b"\xff")].concat()),
            vec![9 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8, 10 << 3 | 5, 1, 2, 3, 4],
        ];
        let target = GrpcTarget::read(&bytes.concat());
        assert_eq!((target.cluster.as_str(), target.authority.as_deref()), ("auth", Some("auth.shop")));
        assert_eq!(target.timeout, Some(Duration::from_millis(2500)));
        assert_eq!(target.metadata, [(b"x-tenant".to_vec(), b"a".to_vec()), (b"x-bin".to_vec(), b"\xff".to_vec())]);
    }

    #[test]
    fn a_message_that_is_cut_or_overlong_is_no_message() {
        let good = field(1, &field(1, b"auth"));
        for cut in 1..good.len() {
            assert_ne!(GrpcTarget::read(&good[..cut]).cluster, "auth", "cut at {cut}");
        }
        for behind in [&[0x08][..], &[0x0b], &[0x02, 0x00], &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]] {
            assert_ne!(GrpcTarget::read(&[&good, behind].concat()).cluster, "auth", "{behind:?}");
        }
        let negative = [good, field(3, &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])].concat();
        assert_eq!((GrpcTarget::read(&negative).cluster.as_str(), GrpcTarget::read(&negative).timeout), ("auth", None));
    }
}
