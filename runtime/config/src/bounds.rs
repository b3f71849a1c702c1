//! Every bound that a configuration text meets before its meaning is looked at. A file may come from a network volume
//! or a push, so nothing about it is trusted.

/// Bytes of one file. A ConfigMap holds 1 MiB; the largest route tables seen in meshes take a few.
pub(crate) const MAX_TEXT: usize = 16 << 20;

/// Files that one folder may contribute.
pub(crate) const MAX_FILES: usize = 1024;

/// Keys and values of all files together; each costs about 80 bytes while the configuration is looked at.
pub(crate) const MAX_ELEMENTS: usize = 2_000_000;

/// Nodes and text bytes, together, that aliases may add to a document. Stops texts that double at every line.
pub(crate) const MAX_ALIASED: usize = 4 << 20;

/// Levels of lists and maps inside each other. Below the 128 that serde_json accepts, so that a filter can read back
/// what it is given.
pub(crate) const MAX_DEPTH: usize = 100;

/// Problems kept; further ones are counted in one last line.
pub(crate) const MAX_PROBLEMS: usize = 1000;

/// Characters of a value that a message repeats.
pub(crate) const MAX_QUOTED: usize = 60;
