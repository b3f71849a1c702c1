//! Regular expressions: RE2's syntax, linear time, a bounded program, one scratch memory for all of them.

use std::cell::RefCell;

use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Literal, Look};

/// Upper bound of one compiled program in bytes: far above any route, far below what would hurt a VM.
const PROGRAM_LIMIT: usize = 256 * 1024;
/// Deepest nesting of groups that is parsed, so that an expression cannot exhaust the stack.
const NEST_LIMIT: u32 = 100;
/// Groups `\0` to `\9` are what a replacement can name.
const GROUPS: usize = 10;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    engine: BoundedBacktracker,
    /// What every match begins with. Most values do not, and are decided without a search.
    prefix: Box<[u8]>,
}

impl Pattern {
    /// Compiles an expression that has to match a whole value.
    ///
    /// # Errors
    /// The text says what is wrong: a syntax error, an empty expression, or a program over 256 KiB.
    pub fn full(expression: &str) -> Result<Self, String> {
        let hir = parse(expression)?;
        let prefix = literal_prefix(&hir).into();
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        Ok(Self { engine: engine(&whole, WhichCaptures::None)?, prefix })
    }

    /// Compiles an expression that is searched for, with groups for [`Pattern::replace_all`].
    ///
    /// # Errors
    /// As [`Pattern::full`].
    pub fn searching(expression: &str) -> Result<Self, String> {
        Ok(Self { engine: engine(&parse(expression)?, WhichCaptures::All)?, prefix: Box::default() })
    }

    /// Whether the expression matches; for one made by [`Pattern::full`] the whole value.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if !value.as_bytes().starts_with(&self.prefix) {
            return false;
        }
        let anchored = Input::new(value).anchored(Anchored::Yes);
        SCRATCH.with(|scratch| scratch.borrow_mut().search(&self.engine, &anchored, &mut []))
    }

    /// How many groups the expression has, the whole match not counted.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.engine.get_nfa().group_info().all_group_len().saturating_sub(1)
    }

    /// Replaces every match; in `replacement` `\0` is the match, `\1` to `\9` its groups, `\\` a backslash.
    #[must_use]
    pub fn replace_all(&self, value: &str, replacement: &str) -> String {
        let mut out: Vec<u8> = Vec::with_capacity(value.len() + replacement.len());
        let bytes = value.as_bytes();
        let mut slots = [None; GROUPS * 2];
        let (mut done, mut at) = (0, 0);
        while at <= bytes.len() {
            let input = Input::new(value).span(at..bytes.len());
            if !SCRATCH.with(|scratch| scratch.borrow_mut().search(&self.engine, &input, &mut slots)) {
                break;
            }
            let Some((start, end)) = group(&slots, 0) else { break };
            out.extend_from_slice(bytes.get(done..start).unwrap_or_default());
            expand(replacement, &mut out, |number| {
                group(&slots, number).and_then(|(from, to)| bytes.get(from..to)).unwrap_or_default()
            });
            if start == end {
                out.extend_from_slice(bytes.get(end..end + 1).unwrap_or_default());
                at = end + 1;
            } else {
                at = end;
            }
            done = at;
        }
        out.extend_from_slice(bytes.get(done..).unwrap_or_default());
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn parse(expression: &str) -> Result<Hir, String> {
    if expression.is_empty() {
        return Err("an empty regular expression matches nothing useful".to_owned());
    }
    if !expression.is_ascii() {
        return Err("a regular expression is written in ASCII; use . or \\x{..} bytes for other characters".to_owned());
    }
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(NEST_LIMIT)
        .build()
        .parse(expression)
        .map_err(|problem| format!("invalid regular expression: {}", reason(&problem)))
}

/// The parser's reason on one line; its own text draws the expression over several.
fn reason(problem: &regex_syntax::Error) -> String {
    match problem {
        regex_syntax::Error::Parse(error) => format!("{} at character {}", error.kind(), error.span().start.column),
        regex_syntax::Error::Translate(error) => {
            format!("{} at character {}", error.kind(), error.span().start.column)
        }
        _ => problem.to_string(),
    }
}

/// The bytes that a match at the start begins with, as far as the expression says them plainly.
fn literal_prefix(hir: &Hir) -> &[u8] {
    match hir.kind() {
        HirKind::Literal(Literal(bytes)) => bytes,
        HirKind::Concat(parts) => parts.first().map_or(&[], literal_prefix),
        HirKind::Capture(group) => literal_prefix(&group.sub),
        _ => &[],
    }
}

fn engine(hir: &Hir, captures: WhichCaptures) -> Result<BoundedBacktracker, String> {
    let config = Config::new().utf8(false).which_captures(captures).nfa_size_limit(Some(PROGRAM_LIMIT));
    Compiler::new()
        .configure(config)
        .build_from_hir(hir)
        .and_then(BoundedBacktracker::new_from_nfa)
        .map_err(|_| format!("the regular expression needs more than {} KiB; make it smaller", PROGRAM_LIMIT / 1024))
}

fn group(slots: &[Option<NonMaxUsize>], number: usize) -> Option<(usize, usize)> {
    let from = slots.get(number * 2).copied().flatten()?;
    let to = slots.get(number * 2 + 1).copied().flatten()?;
    Some((from.get(), to.get()))
}

fn expand<'g>(replacement: &str, out: &mut Vec<u8>, group: impl Fn(usize) -> &'g [u8]) {
    let mut bytes = replacement.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit @ b'0'..=b'9') => out.extend_from_slice(group(usize::from(digit - b'0'))),
            Some(other) => out.push(other),
            None => {}
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { backtrack: None, pike: None }) };
}

/// Working memory of the two engines, shared by all patterns of a thread.
struct Scratch {
    backtrack: Option<backtrack::Cache>,
    pike: Option<pikevm::Cache>,
}

impl Scratch {
    /// Leftmost-first search: the backtracker for ordinary values, the slower machine for very long ones.
    fn search(&mut self, engine: &BoundedBacktracker, input: &Input<'_>, slots: &mut [Option<NonMaxUsize>]) -> bool {
        let cache = self.backtrack.get_or_insert_with(|| engine.create_cache());
        engine.reset_cache(cache);
        if let Ok(found) = engine.try_search_slots(cache, input, slots) {
            return found.is_some();
        }
        let Ok(engine) = PikeVM::new_from_nfa(engine.get_nfa().clone()) else { return false };
        let cache = self.pike.get_or_insert_with(|| engine.create_cache());
        engine.reset_cache(cache);
        engine.search_slots(cache, input, slots).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn full(expression: &str, value: &str) -> bool {
        Pattern::full(expression).unwrap().matches(value)
    }

    #[test]
    fn a_match_is_a_full_match_even_when_a_shorter_branch_comes_first() {
        assert!(full("a|ab", "ab"));
        assert!(!full("/v1", "/v1/x"));
        assert!(!full("v1", "/v1"));
        assert!(full("/v[0-9]+/.*", "/v12/x/y"));
        assert!(full("(?i)/Shop", "/sHOP"));
        assert!(full("(/a)(b|c)", "/ac") && !full("(/a)(b|c)", "/xc"));
        assert!(full("/a|/b", "/b") && full("^/a$", "/a") && full("/?a", "a"));
        assert!(!full(r"\d+", "٣"));
        assert!(!full("a.c", "a\nc"));
        assert!(full("(?s)a.c", "a\nc"));
    }

    #[test]
    fn a_value_too_long_for_the_backtracker_is_still_decided() {
        let long = "a".repeat(3_000_000);
        assert!(full("(a|b)*", &long));
        assert!(!full("(a|b)*c", &long));
    }

    #[test]
    fn what_re2_cannot_do_and_what_is_too_big_is_refused_with_a_reason() {
        for (expression, word) in [
            ("", "empty"),
            ("(", "unclosed group at character 1"),
            (r"(a)\1", "backreferences"),
            ("(?=a)", "look"),
            ("((((a{100}){100}){100}){100})", "KiB"),
            ("é", "ASCII"),
        ] {
            let problem = Pattern::full(expression).unwrap_err();
            assert!(problem.contains(word), "{expression}: {problem}");
        }
    }

    #[test]
    fn replacing_knows_groups_and_empty_matches() {
        let swap = Pattern::searching("^/service/([^/]+)(/.*)$").unwrap();
        assert_eq!(swap.groups(), 2);
        assert_eq!(swap.replace_all("/service/foo/v1/api", r"\2/instance/\1"), "/v1/api/instance/foo");
        assert_eq!(Pattern::searching("x*").unwrap().replace_all("abc", "-"), "-a-b-c-");
        assert_eq!(Pattern::searching("b").unwrap().replace_all("abcb", r"\\\0"), r"a\bc\b");
        assert_eq!(Pattern::searching("q").unwrap().replace_all("abc", "-"), "abc");
    }
}
