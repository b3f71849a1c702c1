//! Picks one endpoint for one attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::snapshot::cluster::{Balancing, Subset};
use crate::snapshot::{Cluster, Endpoint};
use crate::worker::Worker;

/// Draws of an endpoint before one that has failed this request is taken all the same; Istio's number.
const DRAWS: usize = 5;

/// An endpoint of the subset, or of the whole cluster, if possible none of `avoid`. `None`: no such subset, or nobody
/// in it.
pub fn pick(cluster: &Cluster, subset: Option<&str>, worker: &Worker, avoid: &[usize]) -> Option<Arc<Endpoint>> {
    let subset = match subset {
        Some(name) => cluster.subsets.get(name)?,
        None => &cluster.all,
    };
    let random = |bound| worker.with_env(|env| env.rng().below(bound));
    let mut chosen = choose(cluster, subset, random)?;
    for _ in 1..DRAWS {
        if !avoid.contains(&chosen.id) {
            break;
        }
        chosen = choose(cluster, subset, random)?;
    }
    Some(chosen.clone())
}

fn choose<'a>(
    cluster: &'a Cluster,
    subset: &Subset,
    mut random: impl FnMut(usize) -> usize,
) -> Option<&'a Arc<Endpoint>> {
    let members = &subset.members;
    let member = |at: usize| members.get(at).and_then(|index| cluster.endpoints.get(*index));
    if members.len() <= 1 {
        return member(0);
    }
    match subset.balancing.unwrap_or(cluster.balancing) {
        Balancing::RoundRobin => member(subset.turn.fetch_add(1, Ordering::Relaxed) % members.len()),
        Balancing::Random => member(random(members.len())),
        Balancing::LeastRequest => {
            let first = random(members.len());
            // A second choice that is never the first.
            let second = (first + 1 + random(members.len() - 1)) % members.len();
            let (first, second) = (member(first)?, member(second)?);
            let load = |endpoint: &Endpoint| endpoint.active.load(Ordering::Relaxed);
            Some(if load(second) < load(first) { second } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::snapshot::Address;
    use crate::snapshot::cluster::{Limits, Load};

    fn cluster(balancing: Balancing, count: usize) -> Cluster {
        let endpoint = |port| Endpoint {
            address: Address::Tcp(([127, 0, 0, 1], port).into()),
            text: port.to_string(),
            labels: Default::default(),
            weight: 1,
            locality: String::new(),
            active: AtomicU32::new(0),
            id: port.into(),
        };
        Cluster {
            name: "c".into(),
            protocol: crate::snapshot::cluster::Protocol::Http1,
            balancing,
            endpoints: (0..count as u16).map(|port| Arc::new(endpoint(port))).collect(),
            subsets: HashMap::new(),
            limits: Limits::UNLIMITED,
            load: Load::default(),
            all: Subset { members: (0..count).collect(), ..Subset::default() },
            id: 0,
            fingerprint: 0,
        }
    }

    fn sequence(cluster: &Cluster, mut random: impl FnMut(usize) -> usize, count: usize) -> String {
        (0..count).map(|_| choose(cluster, &cluster.all, &mut random).map_or("-", |endpoint| &endpoint.text)).collect()
    }

    #[test]
    fn round_robin_takes_turns() {
        assert_eq!(sequence(&cluster(Balancing::RoundRobin, 3), |_| 0, 7), "0120120");
    }

    #[test]
    fn least_request_avoids_the_busy_one_of_two_choices() {
        let cluster = cluster(Balancing::LeastRequest, 2);
        cluster.endpoints[0].active.store(5, Ordering::Relaxed);
        assert_eq!(sequence(&cluster, |_| 0, 3), "111");
    }

    #[test]
    fn nobody_there() {
        assert_eq!(sequence(&cluster(Balancing::LeastRequest, 0), |_| 0, 1), "-");
    }
}
