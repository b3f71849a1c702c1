//! From what people write to what workers run: configuration, modules, snapshots, and their publication.

pub mod builtins;
pub mod cache;
pub mod compiler;
pub mod files;
pub mod judge;
pub mod modules;
pub mod publish;
pub mod rollout;
pub mod update;
