//! API keys and passwords: a client shows one that is ours, or none gets in.

use std::collections::HashMap;

use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};
use sidegate_sdk::{Request, Result, Setup};
use subtle::ConstantTimeEq;

use crate::config::{ApiKeys, Basic};
use crate::names;
use crate::reason::Reason;

/// Keys or users of one filter.
const ENTRIES: usize = 10_000;
/// Bytes of a key or of user name and password: what is longer is not ours, and is not hashed.
const SECRET_BYTES: usize = 4 * 1024;

type Hash = [u8; 32];

/// Whom we know. Secrets are kept as SHA-256 only.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    keys: Option<Keys>,
    users: Option<Users>,
}

#[derive(Debug)]
struct Keys {
    header: String,
    /// By the first bytes of the hash, which tell nothing of the key.
    by_hash: HashMap<u64, Vec<(Hash, String)>>,
    hides: bool,
}

#[derive(Debug)]
struct Users {
    challenge: String,
    /// Salt and hash.
    by_name: HashMap<String, (String, Hash)>,
    hides: bool,
}

// === impl Secrets ===

impl Secrets {
    /// Checks and compiles; with errors told to `setup` the result is not to be used.
    pub(crate) fn compile(keys: Option<&ApiKeys>, users: Option<&Basic>, setup: &mut Setup) -> Self {
        Self {
            keys: keys.map(|keys| Keys::compile(keys, setup)),
            users: users.map(|users| Users::compile(users, setup)),
        }
    }

    /// The name of whoever sent the request; `None` if nobody has to say. One good key or password is enough, and a
    /// wrong one is refused even beside a good one.
    pub(crate) fn check(&self, req: &Request) -> Result<Result<Option<String>, Reason>> {
        if self.keys.is_none() && self.users.is_none() {
            return Ok(Ok(None));
        }
        let by_key = self.keys.as_ref().map(|keys| keys.check(&req.headers().get_all(&keys.header)));
        let by_password = self.users.as_ref().map(|users| users.check(&req.headers().get_all("authorization")));
        let shown: Vec<Shown<'_>> = by_key.into_iter().chain(by_password).collect();
        if shown.contains(&Shown::Wrong) {
            return Ok(Err(Reason::CredentialWrong));
        }
        let name = shown.iter().find_map(|shown| match shown {
            Shown::Name(name) => Some((*name).to_owned()),
            _ => None,
        });
        Ok(name.map_or(Err(Reason::CredentialMissing), |name| Ok(Some(name))))
    }

    /// Takes the secrets out of a request that goes on.
    pub(crate) fn hide(&self, req: &mut Request) -> Result<()> {
        if let Some(keys) = self.keys.as_ref().filter(|keys| keys.hides) {
            req.headers_mut().remove(&keys.header)?;
        }
        if self.users.as_ref().is_some_and(|users| users.hides) {
            req.headers_mut().remove("authorization")?;
        }
        Ok(())
    }

    /// What a client is asked for.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|users| &*users.challenge).chain(self.keys.iter().map(|_| "ApiKey"))
    }
}

/// What a client showed.
#[derive(Debug, PartialEq, Eq)]
enum Shown<'s> {
    Nothing,
    Wrong,
    Name(&'s str),
}

impl Keys {
    fn compile(written: &ApiKeys, setup: &mut Setup) -> Self {
        let header = written.header.as_deref().unwrap_or("x-api-key").to_ascii_lowercase();
        if !names::is_header(&header) {
            setup.error("/apiKeys/header", format!("`{header}` is no header name"));
        }
        check_count(written.keys.len(), "/apiKeys/keys", setup);
        let mut by_hash: HashMap<u64, Vec<(Hash, String)>> = HashMap::with_capacity(written.keys.len());
        for (at, key) in written.keys.iter().enumerate() {
            let pointer = format!("/apiKeys/keys/{at}");
            check_name(&key.name, &pointer, setup);
            let hash = match (&key.key, &key.sha256) {
                (Some(key), None) if key.is_empty() => Err("a key cannot be empty"),
                (Some(key), None) => Ok(Sha256::digest(key).into()),
                (None, Some(text)) => hex(text).ok_or("sha256 has 64 hexadecimal digits"),
                _ => Err("either key or sha256 is needed"),
            };
            let hash: Hash = match hash {
                Ok(hash) => hash,
                Err(problem) => {
                    setup.error(pointer, problem);
                    continue;
                }
            };
            let same = by_hash.entry(first_bytes(&hash)).or_default();
            if same.iter().any(|(known, _)| *known == hash) {
                setup.error(&*pointer, "this key is there already");
            }
            same.push((hash, key.name.clone()));
        }
        Self { header, by_hash, hides: written.hide_credentials }
    }

    fn check(&self, sent: &[String]) -> Shown<'_> {
        let key = match sent {
            [] => return Shown::Nothing,
            [one] if one.len() <= SECRET_BYTES => one,
            _ => return Shown::Wrong,
        };
        let hash: Hash = Sha256::digest(key).into();
        let candidates = self.by_hash.get(&first_bytes(&hash)).into_iter().flatten();
        let mut known =
            candidates.filter(|(known, _)| bool::from(known.ct_eq(&hash))).map(|(_, name)| Shown::Name(name));
        known.next().unwrap_or(Shown::Wrong)
    }
}

impl Users {
    fn compile(written: &Basic, setup: &mut Setup) -> Self {
        let realm = written.realm.as_deref().unwrap_or("sidegate");
        if !names::is_value(realm) || realm.contains(['"', '\\']) {
            setup.error("/basic/realm", "a realm has no quotes, backslashes or control characters");
        }
        check_count(written.users.len(), "/basic/users", setup);
        let mut by_name = HashMap::with_capacity(written.users.len());
        for (at, user) in written.users.iter().enumerate() {
            let pointer = format!("/basic/users/{at}");
            check_name(&user.name, &pointer, setup);
            if user.name.contains(':') {
                setup.error(format!("{pointer}/name"), "a user name has no colon");
            }
            let Some(hash) = hex(&user.sha256) else {
                setup.error(format!("{pointer}/sha256"), "sha256 has 64 hexadecimal digits");
                continue;
            };
            if by_name.insert(user.name.clone(), (user.salt.clone(), hash)).is_some() {
                setup.error(format!("{pointer}/name"), "this user is there already");
            }
        }
        Self {
            challenge: format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
            by_name,
            hides: written.hide_credentials,
        }
    }

    fn check(&self, sent: &[String]) -> Shown<'_> {
        let of_scheme = |value: &String| {
            let (scheme, rest) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| rest.trim().to_owned())
        };
        let mut sent = sent.iter().filter_map(of_scheme);
        let Some(encoded) = sent.next() else { return Shown::Nothing };
        if sent.next().is_some() || encoded.len() > SECRET_BYTES {
            return Shown::Wrong;
        }
        let decoded = Base64::decode_vec(&encoded).or_else(|_| Base64Unpadded::decode_vec(&encoded));
        let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Shown::Wrong;
        };
        let entry = self.by_name.get_key_value(name);
        // An unknown name costs as much as a known one.
        let (salt, hash) = entry.map_or(("", Hash::default()), |(_, (salt, hash))| (&**salt, *hash));
        let shown: Hash = Sha256::new().chain_update(salt).chain_update(password).finalize().into();
        match entry {
            Some((name, _)) if bool::from(shown.ct_eq(&hash)) => Shown::Name(name),
            _ => Shown::Wrong,
        }
    }
}

fn check_count(count: usize, pointer: &str, setup: &mut Setup) {
    if count == 0 {
        setup.error(pointer, "an empty list lets nobody in");
    }
    if count > ENTRIES {
        setup.error(pointer, format!("at most {ENTRIES} entries are taken"));
    }
}

fn check_name(name: &str, pointer: &str, setup: &mut Setup) {
    if name.is_empty() || !names::is_value(name) {
        setup.error(
            format!("{pointer}/name"),
            "a name is needed, without control characters: it goes on in x-auth-user",
        );
    }
}

fn first_bytes(hash: &Hash) -> u64 {
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn hex(text: &str) -> Option<Hash> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}
