//! Shares of requests as they are written.

use sidegate_sdk::{Setup, Share};

use crate::config::Percent;

/// The share as written: in percent, or as a whole number by its older key, or else `absent`. A problem is told to
/// `setup` below `pointer`.
pub(crate) fn read(
    (key, percentage): (&str, Option<Percent>),
    (old_key, whole): (&str, Option<u32>),
    absent: Share,
    pointer: &str,
    setup: &mut Setup,
) -> Share {
    let (key, percent) = match (percentage, whole) {
        (Some(percentage), _) => (format!("{key}/value"), percentage.value),
        (None, Some(whole)) => (old_key.to_owned(), f64::from(whole)),
        (None, None) => return absent,
    };
    Share::of_percent(percent).unwrap_or_else(|problem| {
        setup.error(format!("{pointer}/{key}"), problem);
        absent
    })
}
