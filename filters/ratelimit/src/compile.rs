//! From the written form to the compiled one: every problem with its place and the likely fix.

use std::collections::HashSet;
use std::time::Duration;

use sidegate_sdk::matching::{HttpMatchRequest, Matcher};
use sidegate_sdk::{Setup, parse_duration};

use crate::bucket::Terms;
use crate::config::{self, Action, Denominator, RateLimitConfig, RuntimeFractionalPercent, TokenBucket};
use crate::describe::{Part, Source};
use crate::key::Key;
use crate::policy::{Bucket, Descriptor, Policy};

/// Envoy's shortest interval: fills are no way to count single requests.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) fn policy(written: &RateLimitConfig, prefix: &str, setup: &mut Setup) -> Policy {
    let has_service = written.rate_limit_service.is_some();
    if has_service && written.rate_limits.is_empty() {
        setup.error("/rateLimitService", "it is asked about descriptions; write rateLimits with their actions");
    } else if !has_service && written.token_bucket.is_none() && written.descriptors.is_empty() {
        setup.error("", "nothing is limited; write tokenBucket: {maxTokens: 100, fillInterval: 1s}, or descriptors");
    }
    let meant = format!("{:?}", written.matches);
    let bucket = |written: &TokenBucket, entries: &[config::Entry], pointer: &str, setup: &mut Setup| Bucket {
        key: Key::new(prefix, &(&meant, written, entries)),
        terms: terms(written, pointer, setup),
    };
    let default = written.token_bucket.as_ref().map(|written| bucket(written, &[], "/tokenBucket", setup));
    let rate_limits = written.rate_limits.iter().enumerate();
    let rate_limits = rate_limits.map(|(number, limit)| parts(limit, &format!("/rateLimits/{number}/actions"), setup));
    let rate_limits: Vec<Vec<Part>> = rate_limits.collect();
    let mut descriptors = Vec::with_capacity(written.descriptors.len());
    for (number, descriptor) in written.descriptors.iter().enumerate() {
        let pointer = format!("/descriptors/{number}");
        check_entries(&descriptor.entries, &rate_limits, &pointer, setup);
        let bucket = bucket(&descriptor.token_bucket, &descriptor.entries, &format!("{pointer}/tokenBucket"), setup);
        let entries = descriptor.entries.iter();
        // As in Envoy an empty value is none.
        let entries = entries.map(|entry| (entry.key.clone(), entry.value.clone().filter(|value| !value.is_empty())));
        descriptors.push(Descriptor { entries: entries.collect(), bucket });
    }
    descriptors.sort_by_key(|descriptor| descriptor.entries.iter().filter(|(_, value)| value.is_none()).count());
    if descriptors.is_empty() && !rate_limits.is_empty() && !has_service {
        setup.warning("/rateLimits", "descriptions that no descriptors ask for; add descriptors with their buckets");
    }
    Policy {
        matchers: matchers(&written.matches, setup),
        default,
        descriptors,
        rate_limits,
        always_consume_default: written.always_consume_default_token_bucket.unwrap_or(true),
    }
}

/// A share in millionths; what is not written is all.
pub(crate) fn share(written: Option<&RuntimeFractionalPercent>, pointer: &str, setup: &mut Setup) -> u32 {
    const MILLION: u32 = 1_000_000;
    let Some(written) = written else { return MILLION };
    let whole = match written.default_value.denominator {
        Denominator::Hundred => 100,
        Denominator::TenThousand => 10_000,
        Denominator::Million => MILLION,
    };
    if written.default_value.numerator > whole {
        let text = format!("{} of {whole} is more than all", written.default_value.numerator);
        setup.error(format!("{pointer}/defaultValue/numerator"), text);
    }
    written.default_value.numerator.min(whole) * (MILLION / whole)
}

fn terms(written: &TokenBucket, pointer: &str, setup: &mut Setup) -> Terms {
    let tokens_per_fill = written.tokens_per_fill.unwrap_or(1);
    if written.max_tokens == 0 {
        setup.error(format!("{pointer}/maxTokens"), "a bucket holds at least 1 token");
    }
    if tokens_per_fill == 0 {
        setup.error(format!("{pointer}/tokensPerFill"), "a fill brings at least 1 token");
    }
    let fill_interval = match parse_duration(&written.fill_interval) {
        Ok(interval) if interval < SHORTEST_INTERVAL => {
            setup
                .error(format!("{pointer}/fillInterval"), "fills are at least 50ms apart; raise tokensPerFill as well");
            SHORTEST_INTERVAL
        }
        Ok(interval) => interval,
        Err(problem) => {
            setup.error(format!("{pointer}/fillInterval"), problem);
            SHORTEST_INTERVAL
        }
    };
    if tokens_per_fill > written.max_tokens {
        let text = "a fill brings more than the bucket holds; what does not fit is lost";
        setup.warning(format!("{pointer}/tokensPerFill"), text);
    }
    let fill_interval = u64::try_from(fill_interval.as_millis()).unwrap_or(u64::MAX);
    Terms { max_tokens: written.max_tokens, tokens_per_fill, fill_interval }
}

/// A descriptor that no action can make limits nothing.
fn check_entries(entries: &[config::Entry], rate_limits: &[Vec<Part>], pointer: &str, setup: &mut Setup) {
    if entries.is_empty() {
        setup.error(format!("{pointer}/entries"), "a description needs an entry, for example {key: remote_address}");
        return;
    }
    let made: HashSet<&str> = rate_limits.iter().flatten().map(|part| &*part.key).collect();
    for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| !made.contains(entry.key.as_str())) {
        let text = format!("no action of rateLimits gives the key `{}`", entry.key);
        setup.error(format!("{pointer}/entries/{number}/key"), text);
    }
}

fn parts(written: &config::RateLimit, pointer: &str, setup: &mut Setup) -> Vec<Part> {
    if written.actions.is_empty() {
        setup.error(pointer, "a description needs an action, for example {remoteAddress: {}}");
    }
    let actions = written.actions.iter().enumerate();
    actions.map(|(number, action)| part(action, &format!("{pointer}/{number}"), setup)).collect()
}

fn part(action: &Action, pointer: &str, setup: &mut Setup) -> Part {
    let (key, source, skip_if_absent) = match action {
        Action::RequestHeaders(of) => {
            if of.header_name.is_empty() {
                setup.error(format!("{pointer}/requestHeaders/headerName"), "a header needs a name");
            }
            let name = of.header_name.to_ascii_lowercase();
            (of.descriptor_key.as_str(), Source::Header(name.into()), of.skip_if_absent)
        }
        Action::QueryParameters(of) => {
            (of.descriptor_key.as_str(), Source::Query(of.query_parameter_name.as_str().into()), of.skip_if_absent)
        }
        Action::Claim(of) => {
            let key = of.descriptor_key.as_deref().unwrap_or(&of.name);
            (key, Source::Claim(of.name.as_str().into()), of.skip_if_absent)
        }
        Action::Path(_) => ("path", Source::Path, false),
        Action::RemoteAddress(_) => ("remote_address", Source::Address, false),
        Action::MaskedRemoteAddress(of) => {
            let mut bits = |written: Option<u8>, most: u8, name: &str| {
                let bits = written.unwrap_or(most);
                if bits > most {
                    setup.error(format!("{pointer}/maskedRemoteAddress/{name}"), format!("there are only {most} bits"));
                }
                bits.min(most)
            };
            let network = Source::Network(
                bits(of.v4_prefix_mask_len, 32, "v4PrefixMaskLen"),
                bits(of.v6_prefix_mask_len, 128, "v6PrefixMaskLen"),
            );
            ("masked_remote_address", network, false)
        }
        Action::GenericKey(of) => {
            let key = of.descriptor_key.as_deref().unwrap_or("generic_key");
            (key, Source::Constant(of.descriptor_value.as_str().into()), false)
        }
    };
    Part { key: key.into(), source, skip_if_absent }
}

fn matchers(written: &[HttpMatchRequest], setup: &mut Setup) -> Vec<Matcher> {
    let mut compiled = Vec::with_capacity(written.len());
    for (number, entry) in written.iter().enumerate() {
        match entry.compile() {
            Ok(matcher) => compiled.push(matcher),
            Err(problem) => setup.error(format!("/match/{number}{}", problem.pointer), problem.text),
        }
    }
    compiled
}
