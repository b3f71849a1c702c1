//! Shares of requests as they are written here.

use sidegate_sdk::{Setup, Share};

use crate::config::Percent;

/// Checks what is written; problems are told at `pointer`.
pub(crate) fn compile(written: &Percent, pointer: &str, setup: &mut Setup) -> Share {
    Share::of_percent(written.value).unwrap_or_else(|problem| {
        setup.error(format!("{pointer}/value"), problem);
        Share::NONE
    })
}

/// A header's number of whole percents; what is no number is not there.
pub(crate) fn of_header(text: &str) -> Option<Share> {
    let percents: u32 = text.trim().parse().ok()?;
    Share::of_percent(f64::from(percents.min(100))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_speak_in_whole_percents() {
        assert_eq!(of_header("5"), Share::of_percent(5.0).ok());
        assert_eq!(of_header("4294967295"), Some(Share::ALL));
        assert_eq!((of_header("x"), of_header("-1")), (None, None));
    }
}
