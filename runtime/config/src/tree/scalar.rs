//! What a plain YAML word means: the core schema of YAML 1.2, in which `yes` and `12:30` are strings.

use crate::bounds::MAX_QUOTED;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    /// A whole number as JSON writes it, of any size.
    Int(Box<str>),
    /// A number with a fraction or exponent; `inf` and `nan` are possible.
    Float(f64),
    Text(Box<str>),
}

impl Scalar {
    /// Reads a word that stands without quotes.
    pub(crate) fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ => number(text).unwrap_or_else(|| Self::Text(text.into())),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(digits) => format!("the number {}", cut(digits)),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => format!("the string {}", quoted(text)),
        }
    }

    /// The text as an author would put it in quotes.
    pub(crate) fn as_quoted(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(format!("\"{value}\"")),
            Self::Int(digits) => Some(format!("\"{digits}\"")),
            Self::Float(value) => Some(format!("\"{value}\"")),
            Self::Text(text) => Some(quoted(text)),
        }
    }
}

/// `text` in quotes, control characters escaped, shortened where it is long.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn number(text: &str) -> Option<Scalar> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(Scalar::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }));
        }
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(Scalar::Float(f64::NAN)),
        _ => {}
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let digits = unsigned.trim_start_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        let sign = if text.starts_with('-') && digits != "0" { "-" } else { "" };
        return Some(Scalar::Int(format!("{sign}{digits}").into()));
    }
    is_float(unsigned).then(|| text.parse().ok().map(Scalar::Float)).flatten()
}

fn radix(digits: &str, radix: u32) -> Option<Scalar> {
    // from_str_radix takes a sign, which YAML does not allow here.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u128::from_str_radix(digits, radix).ok().map(|value| Scalar::Int(value.to_string().into()))
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_yaml_1_2_says() {
        let text = |s: &str| Scalar::Text(s.into());
        let int = |s: &str| Scalar::Int(s.into());
        for (word, meaning) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("True", Scalar::Bool(true)),
            ("yes", text("yes")),
            ("off", text("off")),
            ("tRue", text("tRue")),
            ("12:30", text("12:30")),
            ("1_000", text("1_000")),
            ("007", int("7")),
            ("-0", int("0")),
            ("+5", int("5")),
            ("0x1F", int("31")),
            ("0o17", int("15")),
            ("0x", text("0x")),
            ("0x-1", text("0x-1")),
            ("-0x1", text("-0x1")),
            ("18446744073709551615", int("18446744073709551615")),
            ("-9223372036854775808", int("-9223372036854775808")),
            ("123456789012345678901234567890", int("123456789012345678901234567890")),
            ("1.50", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("1.", Scalar::Float(1.0)),
            ("1e3", Scalar::Float(1000.0)),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
            (".", text(".")),
            ("e3", text("e3")),
            ("1e", text("1e")),
            ("-", text("-")),
            ("infinity", text("infinity")),
            ("NaN", text("NaN")),
            ("127.0.0.1", text("127.0.0.1")),
            ("10s", text("10s")),
        ] {
            assert_eq!(Scalar::plain(word), meaning, "{word}");
        }
    }

    #[test]
    fn an_empty_hex_number_is_a_string() {
        assert_eq!(Scalar::plain("0o"), Scalar::Text("0o".into()));
    }
}
