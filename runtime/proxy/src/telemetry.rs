//! What the proxy tells about itself: metrics, access logs, response flags. Imported by all rooms, imports none.

pub mod flags;
pub mod guest_log;
mod help;
pub mod log_files;
pub mod metrics;
pub mod plugins;
pub mod prometheus;
pub mod spans;
