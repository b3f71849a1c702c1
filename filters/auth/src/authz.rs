//! AuthorizationPolicy: what a request looks like from here, what policies say of it, and in which order they speak.

mod address;
mod attribute;
mod compile;
mod condition;
pub mod facts;
mod host;
mod path;
mod text;
mod truth;

pub use facts::Facts;
pub(crate) use text::Text;
pub use truth::Truth;

use condition::Condition;

/// All policies, by what they do.
#[derive(Debug, Default)]
pub struct Policies {
    /// Each with the place of the service that it asks.
    custom: Vec<(usize, Policy)>,
    deny: Vec<Policy>,
    allow: Vec<Policy>,
    audit: Vec<Policy>,
}

/// One policy, with its place in the configuration.
#[derive(Debug)]
struct Policy {
    number: usize,
    rules: Vec<Rule>,
}

/// All three parts hold. Of sources and operations one is enough, and none written means any.
#[derive(Debug, Default)]
struct Rule {
    from: Vec<Vec<Condition>>,
    to: Vec<Vec<Condition>>,
    when: Vec<Condition>,
}

/// What DENY and ALLOW policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The request may go on.
    Allowed,
    /// The DENY policy with this number matched.
    Denied(usize),
    /// There are ALLOW policies, and none matched.
    NotAllowed,
}

// === impl Policies ===

impl Policies {
    /// Whether they say nothing of any request, but whom to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty() && self.audit.is_empty()
    }

    /// Whether a CUSTOM policy wants the service at this place to be asked. In doubt it is.
    #[must_use]
    pub fn asks(&self, service: usize, facts: &impl Facts) -> bool {
        self.custom.iter().any(|(at, policy)| *at == service && policy.holds(facts) != Truth::No)
    }

    /// What DENY and then ALLOW policies say. A request that can be read in two ways is denied by a policy that fits
    /// one of them, and allowed only by one that fits both.
    #[must_use]
    pub fn decide(&self, facts: &impl Facts) -> Decision {
        if let Some(policy) = self.deny.iter().find(|policy| policy.holds(facts) != Truth::No) {
            return Decision::Denied(policy.number);
        }
        if self.allow.is_empty() || self.allow.iter().any(|policy| policy.holds(facts) == Truth::Yes) {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }

    /// The AUDIT policy that wants to hear of the request.
    #[must_use]
    pub fn audited(&self, facts: &impl Facts) -> Option<usize> {
        self.audit.iter().find(|policy| policy.holds(facts) != Truth::No).map(|policy| policy.number)
    }
}

impl Policy {
    fn holds(&self, facts: &impl Facts) -> Truth {
        Truth::any(self.rules.iter().map(|rule| rule.holds(facts)))
    }
}

impl Rule {
    fn holds(&self, facts: &impl Facts) -> Truth {
        let one_of = |alternatives: &[Vec<Condition>]| match alternatives {
            [] => Truth::Yes,
            some => Truth::any(some.iter().map(|all| all_of(all, facts))),
        };
        // In the order of their cost: the path is at hand, a claim may have to be looked up.
        match one_of(&self.to) {
            Truth::No => Truth::No,
            to => to.min(one_of(&self.from)).min(all_of(&self.when, facts)),
        }
    }
}

fn all_of(conditions: &[Condition], facts: &impl Facts) -> Truth {
    Truth::all(conditions.iter().map(|condition| condition.holds(facts)))
}
