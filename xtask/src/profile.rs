//! The two ways to build the proxy.

/// A cargo profile of the host workspace; filters are always built for release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    /// Builds fast; what tests and CI use.
    Dev,
}

impl Profile {
    /// Its folder below target/.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }

    /// Its name for cargo.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }
}
