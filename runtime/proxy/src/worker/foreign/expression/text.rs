//! Regular expressions of `matches`: searched for anywhere, in linear time, with a small program.

use std::fmt;

use regex_automata::Input;
use regex_automata::nfa::thompson::Config;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::syntax;

/// Bytes of a compiled pattern. A search takes at most one step per state and byte.
const PROGRAM_BYTES: usize = 32 << 10;

pub(super) struct Pattern {
    engine: PikeVM,
}

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        PikeVM::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(50))
            .thompson(Config::new().utf8(false).nfa_size_limit(Some(PROGRAM_BYTES)))
            .build(pattern)
            .map(|engine| Self { engine })
            .map_err(|problem| format!("invalid or too large regular expression: {problem}"))
    }

    /// Steps that a search in `text` may take.
    pub(super) fn cost(&self, text: &str) -> usize {
        // A state costs far less than a step of the evaluation.
        text.len().saturating_mul(self.engine.get_nfa().states().len()) / 32
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.engine.is_match(&mut self.engine.create_cache(), Input::new(text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pattern")
    }
}
