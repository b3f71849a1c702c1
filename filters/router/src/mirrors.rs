//! Copies of requests: checked here and passed on as JSON; the proxy draws, copies and forgets.

use sidegate_sdk::{Setup, Share, serde_json};

use crate::config::{Destination, HttpRoute};
use crate::share;
use crate::surroundings::Surroundings;

/// Mirrors of one route. Each is one more request for every request.
const MAX: usize = 4;

/// The value of `sidegate.upstream.mirrors`; `None` if nothing is copied. Problems are told to `setup` below `pointer`.
pub(crate) fn compile(route: &HttpRoute, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Option<Box<str>> {
    let mut list = Vec::new();
    let (percentage, percent) =
        (("mirrorPercentage", route.mirror_percentage), ("mirrorPercent", route.mirror_percent));
    let share = share::read(percentage, percent, Share::ALL, pointer, setup);
    if let Some(destination) = &route.mirror {
        of.check(destination, &format!("{pointer}/mirror"), setup);
        list.push(entry(destination, share));
        if !route.mirrors.is_empty() {
            setup.error(format!("{pointer}/mirrors"), "mirror and mirrors exclude each other");
        }
    }
    for (at, mirror) in route.mirrors.iter().enumerate() {
        let pointer = format!("{pointer}/mirrors/{at}");
        of.check(&mirror.destination, &format!("{pointer}/destination"), setup);
        let share = share::read(("percentage", mirror.percentage), ("", None), Share::ALL, &pointer, setup);
        list.push(entry(&mirror.destination, share));
    }
    if list.len() > MAX {
        setup.error(format!("{pointer}/mirrors"), format!("a route has at most {MAX} mirrors"));
    }
    let list: Vec<serde_json::Value> = list.into_iter().flatten().collect();
    (!list.is_empty()).then(|| serde_json::Value::Array(list).to_string().into())
}

fn entry(destination: &Destination, share: Share) -> Option<serde_json::Value> {
    if share == Share::NONE {
        return None;
    }
    let mut entry = serde_json::Map::new();
    entry.insert("cluster".to_owned(), destination.host.as_str().into());
    if let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) {
        entry.insert("subset".to_owned(), subset.into());
    }
    if share != Share::ALL {
        entry.insert("percentage".to_owned(), share.percent().into());
    }
    Some(entry.into())
}
