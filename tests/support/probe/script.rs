//! What the probe is to do, from text to the bytes that it runs, and what it says about it.

use super::calls::{CALLS, call};
use super::guest::{OUT, PROGRAM, SPECIALS, STEP_BYTES, WORD};
use super::phase;
use crate::hex;

/// Steps in order; the probe does those of a phase whenever its hook is called.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Step {
    phase: u32,
    call: u32,
    words: Vec<Word>,
    text: String,
}

/// Four bytes of a step's arguments.
#[derive(Clone, Copy, Debug)]
enum Word {
    Number(u32),
    /// The address of what stands here in the script's data.
    Data(u32),
}

/// What the probe logged about one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Report {
    /// The number of the step in its script.
    pub step: usize,
    pub status: u32,
    /// The eight bytes at `word`.
    pub word: u64,
    /// The bytes that the call returned at `out`, at most 1,024.
    pub value: Vec<u8>,
}

impl Script {
    /// Adds a step: the name of a call and its arguments. `5` is a number, `'a\0b'` address and length of a text,
    /// `[a=1|b=2]` address and length of a serialized header map, `out` the two places for a result's address and
    /// length, `word` a place for a number. Besides hostcalls there are `trap`, `spin` (for ever), `arguments` (of the
    /// hook: its second and third as halves of the word) and `switch` (to the youngest stream).
    ///
    /// # Panics
    /// When there is no such phase or call, or the arguments do not fit it.
    #[must_use]
    pub fn on(mut self, phase_name: &str, step: &str) -> Self {
        let mut tokens = tokens(step).into_iter();
        let name = tokens.next().unwrap_or_default();
        let (number, params) = match (call(&name), SPECIALS.iter().position(|(special, _)| *special == name)) {
            (Some((number, call)), _) => (number, call.params),
            (None, Some(special)) => ((CALLS.len() + special) as u32, if name == "return" { "i" } else { "" }),
            (None, None) => panic!("there is no call {name:?}"),
        };
        let values: Vec<Value> = tokens.flat_map(|token| self.values(&token)).collect();
        assert!(values.len() == params.len(), "{step:?} has {} arguments, not {}", values.len(), params.len());
        let words = values.iter().zip(params.chars()).flat_map(|(value, param)| value.words(param == 'I')).collect();
        let text = format!("{phase_name}: {step}");
        self.steps.push(Step { phase: phase(phase_name), call: number, words, text });
        self
    }

    /// The same step in every one of these phases.
    #[must_use]
    pub fn in_all(self, phases: &[&str], step: &str) -> Self {
        phases.iter().fold(self, |script, phase| script.on(phase, step))
    }

    /// What the hook of this phase returns; without it 0, where the ABI wants a boolean 1.
    #[must_use]
    pub fn returns(self, phase: &str, value: u32) -> Self {
        self.on(phase, &format!("return {value}"))
    }

    /// The text of a step, for people.
    pub fn text(&self, step: usize) -> &str {
        self.steps.get(step).map_or("?", |step| &step.text)
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The VM configuration that makes a probe run this.
    pub fn to_config(&self) -> String {
        let data_at = PROGRAM + 4 + STEP_BYTES * self.len() as u32;
        let mut bytes = (self.len() as u32).to_le_bytes().to_vec();
        for step in &self.steps {
            let start = bytes.len();
            bytes.extend(step.phase.to_le_bytes());
            bytes.extend(step.call.to_le_bytes());
            for word in &step.words {
                let value = match word {
                    Word::Number(number) => *number,
                    Word::Data(at) => data_at + at,
                };
                bytes.extend(value.to_le_bytes());
            }
            bytes.resize(start + STEP_BYTES as usize, 0);
        }
        bytes.extend(&self.data);
        hex(&bytes)
    }

    fn values(&mut self, token: &str) -> Vec<Value> {
        let quoted = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let map = token.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(bytes) = quoted.map(unescaped).or(map.map(serialized)) {
            let at = self.data.len() as u32;
            self.data.extend(&bytes);
            return vec![Value::Data(at), Value::Number(bytes.len() as i64)];
        }
        match token {
            "out" => vec![Value::Number(OUT.into()), Value::Number(i64::from(OUT) + 4)],
            "word" => vec![Value::Number(WORD.into())],
            number => match number.parse() {
                Ok(number) => vec![Value::Number(number)],
                Err(_) => panic!("{token:?} is no argument"),
            },
        }
    }
}

impl Report {
    /// Out of a line of a log, whatever stands around it; `None` for lines that are not the probe's.
    pub fn read(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("probe ")?;
        let mut fields = rest.split(' ');
        let mut number = || u32::from_str_radix(fields.next()?.get(..8)?, 16).ok();
        let (step, status, low, high) = (number()?, number()?, number()?, number()?);
        let digits = fields.next().unwrap_or_default();
        let digits: String = digits.chars().take_while(char::is_ascii_hexdigit).collect();
        let bytes = digits.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
        let value = bytes.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>()?;
        Some(Self { step: step as usize, status, word: u64::from(low) | u64::from(high) << 32, value })
    }

    /// The value as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

enum Value {
    Number(i64),
    Data(u32),
}

impl Value {
    fn words(&self, wide: bool) -> Vec<Word> {
        match self {
            Self::Data(at) => vec![Word::Data(*at)],
            Self::Number(number) if wide => vec![Word::Number(*number as u32), Word::Number((number >> 32) as u32)],
            Self::Number(number) => vec![Word::Number(*number as u32)],
        }
    }
}

/// Words apart by spaces; those inside quotes or brackets belong together.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut closing = None;
    for c in text.chars() {
        match (c, closing) {
            (' ', None) => tokens.push(String::new()),
            _ => {
                closing = match (c, closing) {
                    ('\'', None) => Some('\''),
                    ('[', None) => Some(']'),
                    (c, Some(end)) if c == end => None,
                    (_, open) => open,
                };
                if let Some(token) = tokens.last_mut() {
                    token.push(c);
                }
            }
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// `\0` is NUL; `\xff` any byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let digits = escape.strip_prefix('x').and_then(|hex| Some((hex.get(..2)?, hex.get(2..)?)));
        let byte = digits.and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 16).ok()?, rest)));
        let (byte, after) = byte.or_else(|| Some((0, escape.strip_prefix('0')?))).unwrap_or((b'\\', escape));
        bytes.push(byte);
        rest = after;
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// `a=1|b=2` as the ABI writes maps.
fn serialized(text: &str) -> Vec<u8> {
    let pairs: Vec<(&str, &str)> = text.split('|').filter_map(|pair| pair.split_once('=')).collect();
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in &pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in &pairs {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_numbers_and_maps_become_words() {
        let script = Script::default()
            .on("log", "proxy_log 2 'a b\\0\\xff'")
            .on("tick", "proxy_increment_metric 4 -2")
            .on("done", "proxy_set_header_map_pairs 0 [:path=/|x=]");
        let config = script.to_config();
        assert!(config.starts_with("03000000"));
        assert!(config.ends_with(&hex(b":path\0/\0x\0\0")), "{config}");
        assert!(config.contains(&hex(b"a b\0\xff")), "{config}");
        assert!(config.contains("04000000feffffffffffffff"), "{config}");
        assert_eq!(script.text(1), "tick: proxy_increment_metric 4 -2");
    }

    #[test]
    fn a_report_is_found_inside_a_line() {
        let line = "[info] wasm log x: probe 00000002 0000000a 00000004 00000001 6869 more";
        let report = Report { step: 2, status: 10, word: 0x1_0000_0004, value: b"hi".to_vec() };
        assert_eq!(Report::read(line), Some(report));
        assert_eq!(Report::read("probe nothing"), None);
    }

    #[test]
    #[should_panic(expected = "has 1 arguments, not 3")]
    fn a_step_with_too_few_arguments_is_a_mistake() {
        let _ = Script::default().on("log", "proxy_log 2");
    }
}
