//! Headers of requests, responses and local replies behind one pair of types.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::host::{self, Hook, Map};
use crate::link::{Link, Phase};
use crate::pairs;
use crate::view::all_in_request;

/// Headers to read. Names are lower-case; a repeated header is several entries.
///
/// ```
/// use sidegate_sdk::Response;
/// let reply = Response::new(403).header("x-reason", "quota");
/// assert_eq!(reply.headers().get("x-reason").as_deref(), Some("quota"));
/// assert!(reply.headers().is("x-reason", "quota"));
/// assert!(!reply.headers().has("x-other"));
/// ```
#[derive(Clone, Copy)]
pub struct Headers<'m>(pub(crate) Source<'m>);

#[derive(Clone, Copy)]
pub(crate) enum Source<'m> {
    Host(&'m Link, Map),
    Own(&'m [(String, String)]),
}

impl Headers<'_> {
    /// The first value of a header. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.with(name, |value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The first value of a header, unchanged.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.with(name, |value| value.map(<[u8]>::to_vec))
    }

    /// All values of a header, in order.
    #[must_use]
    pub fn get_all(&self, name: &str) -> Vec<String> {
        if let Source::Host(link, map @ Map::Request) = self.0 {
            // One value costs one call, not a copy of the whole map.
            if link.check(phase_of(map)).is_err() {
                return Vec::new();
            }
            return all_in_request(&Hook::running(), name).into_iter().map(Cow::into_owned).collect();
        }
        let entries = self.entries();
        entries.into_iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Whether the header is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.with(name, |value| value.is_some())
    }

    /// Whether the first value of the header is `value`; copies nothing.
    #[must_use]
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.with(name, |found| found == Some(value.as_bytes()))
    }

    /// Looks at the first value of a header without copying it.
    pub fn with<R>(&self, name: &str, look: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match self.0 {
            Source::Own(list) => {
                let entry = list.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                look(entry.map(|(_, value)| value.as_bytes()))
            }
            Source::Host(link, map) => {
                if link.check(phase_of(map)).is_err() {
                    return look(None);
                }
                let hook = Hook::running();
                let value = host::header(&hook, map, name).ok().flatten();
                look(value.as_deref())
            }
        }
    }

    /// All headers in order, pseudo headers such as `:path` included.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, String)> {
        match self.0 {
            Source::Own(list) => list.to_vec(),
            Source::Host(link, map) => {
                if link.check(phase_of(map)).is_err() {
                    return Vec::new();
                }
                read_pairs(map)
            }
        }
    }
}

pub(crate) fn read_pairs(map: Map) -> Vec<(String, String)> {
    let hook = Hook::running();
    let bytes = host::header_pairs(&hook, map).unwrap_or_default();
    pairs::decode(&bytes).map(|(name, value)| (text(name), text(value))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn phase_of(map: Map) -> Phase {
    if map == Map::Response { Phase::Response } else { Phase::Request }
}

/// Headers to change. Framing headers (`content-length`, `transfer-encoding`, `connection`) belong to the host:
/// Sidegate ignores changes of them.
///
/// ```
/// use sidegate_sdk::Response;
/// let mut reply = Response::new(200);
/// reply.headers_mut().append("set-cookie", "a=1")?;
/// reply.headers_mut().append("set-cookie", "b=2")?;
/// reply.headers_mut().set("x-user", "ann")?;
/// reply.headers_mut().remove("x-user")?;
/// assert_eq!(reply.headers().get_all("set-cookie"), ["a=1", "b=2"]);
/// # Ok::<(), sidegate_sdk::Error>(())
/// ```
pub struct HeadersMut<'m>(pub(crate) Target<'m>);

pub(crate) enum Target<'m> {
    Host(&'m Link, Map),
    Own(&'m mut Vec<(String, String)>),
    /// A response that this filter gave away.
    Gone,
}

impl HeadersMut<'_> {
    /// Makes `value` the only value of a header.
    ///
    /// # Errors
    /// If the host refuses, or the message has left this filter.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) -> Result<()> {
        match &mut self.0 {
            Target::Gone => Err(Error::Gone),
            Target::Host(link, map) => {
                link.check(phase_of(*map))?;
                host::replace_header(*map, name, value.as_ref().as_bytes())
            }
            Target::Own(list) => {
                list.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
                list.push((name.to_ascii_lowercase(), value.as_ref().to_owned()));
                Ok(())
            }
        }
    }

    /// Adds a further value of a header.
    ///
    /// # Errors
    /// As [`HeadersMut::set`].
    pub fn append(&mut self, name: &str, value: impl AsRef<str>) -> Result<()> {
        match &mut self.0 {
            Target::Gone => Err(Error::Gone),
            Target::Host(link, map) => {
                link.check(phase_of(*map))?;
                host::add_header(*map, name, value.as_ref().as_bytes())
            }
            Target::Own(list) => {
                list.push((name.to_ascii_lowercase(), value.as_ref().to_owned()));
                Ok(())
            }
        }
    }

    /// Removes all values of a header; a missing one is no error.
    ///
    /// # Errors
    /// As [`HeadersMut::set`].
    pub fn remove(&mut self, name: &str) -> Result<()> {
        match &mut self.0 {
            Target::Gone => Err(Error::Gone),
            Target::Host(link, map) => {
                link.check(phase_of(*map))?;
                host::remove_header(*map, name)
            }
            Target::Own(list) => {
                list.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
                Ok(())
            }
        }
    }
}
