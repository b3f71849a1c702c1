//! Points in time as text: Envoy's default, or the letters of strftime with Envoy's `%3f`, `%6f`, `%9f` and `%s`.

use std::fmt::Write;
use std::time::SystemTime;

use crate::calendar::{self, Moment};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A compiled format. Times are UTC.
#[derive(Debug, PartialEq)]
pub(super) struct TimeFormat(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(char),
    Letter(char),
    /// This many digits behind the second.
    Fraction(u32),
}

impl TimeFormat {
    /// Nothing is `2026-11-20T18:48:35.123Z`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = if text.is_empty() { "%Y-%m-%dT%H:%M:%E3SZ" } else { text };
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                parts.push(Part::Text(c));
                continue;
            }
            match chars.next() {
                Some('%') => parts.push(Part::Text('%')),
                // The words of absl: seconds with a fraction.
                Some('E') => match (chars.next(), chars.next()) {
                    (Some(digits @ '0'..='9'), Some(kind @ ('S' | 'f'))) => {
                        if kind == 'S' {
                            parts.extend([Part::Letter('S'), Part::Text('.')]);
                        }
                        parts.push(Part::Fraction(digits.to_digit(10).unwrap_or(3)));
                    }
                    _ => return Err("a time has %E3S or %E3f, with one digit".to_owned()),
                },
                Some(digits @ '1'..='9') if chars.clone().next() == Some('f') => {
                    chars.next();
                    parts.push(Part::Fraction(digits.to_digit(10).unwrap_or(3)));
                }
                Some('f') => parts.push(Part::Fraction(9)),
                Some(
                    letter @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 's' | 'y' | 'e' | 'j' | 'a' | 'A' | 'b' | 'B' | 'h'
                    | 'I' | 'p' | 'F' | 'T' | 'D' | 'R' | 'Z' | 'z' | 'u' | 'w' | 'n' | 't'),
                ) => parts.push(Part::Letter(letter)),
                Some(other) => return Err(format!("a time has no %{other}")),
                None => return Err("a time ends with %".to_owned()),
            }
        }
        Ok(Self(parts))
    }

    pub(super) fn render(&self, time: SystemTime, out: &mut Vec<u8>) {
        let (since, seconds) = calendar::since_epoch(time);
        let now = Moment::at(seconds);
        let mut text = String::with_capacity(32);
        for part in &self.0 {
            match part {
                Part::Text(c) => text.push(*c),
                Part::Letter(letter) => write_letter(*letter, &now, seconds, &mut text),
                Part::Fraction(digits) => {
                    let value = u64::from(since.subsec_nanos()) / 10_u64.pow(9 - digits.min(&9));
                    let _ = write!(text, "{value:0width$}", width = *digits as usize);
                }
            }
        }
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_letter(letter: char, now: &Moment, seconds: i64, out: &mut String) {
    let Moment { year, month, day, hour, minute, second, .. } = now;
    let weekday = now.weekday();
    let name = |names: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    let short = |text: &'static str| text.get(..3).unwrap_or(text);
    let _ = match letter {
        'Y' => write!(out, "{year:04}"),
        'y' => write!(out, "{:02}", year % 100),
        'm' => write!(out, "{month:02}"),
        'd' => write!(out, "{day:02}"),
        'e' => write!(out, "{day:2}"),
        'j' => write!(out, "{:03}", now.day_of_year() + 1),
        'H' => write!(out, "{hour:02}"),
        'I' => write!(out, "{:02}", (hour + 11) % 12 + 1),
        'M' => write!(out, "{minute:02}"),
        'S' => write!(out, "{second:02}"),
        's' => write!(out, "{seconds}"),
        'p' => out.write_str(if *hour < 12 { "AM" } else { "PM" }),
        'a' => out.write_str(short(name(&DAYS, weekday))),
        'A' => out.write_str(name(&DAYS, weekday)),
        'b' | 'h' => out.write_str(short(name(&MONTHS, month - 1))),
        'B' => out.write_str(name(&MONTHS, month - 1)),
        'u' => write!(out, "{}", if weekday == 0 { 7 } else { weekday }),
        'w' => write!(out, "{weekday}"),
        'F' => write!(out, "{year:04}-{month:02}-{day:02}"),
        'D' => write!(out, "{month:02}/{day:02}/{:02}", year % 100),
        'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
        'R' => write!(out, "{hour:02}:{minute:02}"),
        'Z' => out.write_str("UTC"),
        'z' => out.write_str("+0000"),
        'n' => out.write_str("\n"),
        't' => out.write_str("\t"),
        _ => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64, format: &str) -> String {
        let mut out = Vec::new();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        TimeFormat::parse(format).unwrap().render(time, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates() {
        assert_eq!(at(0, ""), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999, ""), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_868_800_000, ""), "2000-03-01T00:00:00.000Z");
        assert_eq!(at(1_795_200_515_123, ""), "2026-11-20T18:48:35.123Z");
    }

    #[test]
    fn letters() {
        let now = 1_795_200_515_123;
        assert_eq!(at(now, "%d/%b/%Y:%H:%M:%S %z"), "20/Nov/2026:18:48:35 +0000");
        assert_eq!(at(now, "%s.%3f %6f %f"), "1795200515.123 123000 123000000");
        assert_eq!(at(now, "%A %a %j %I%p %y %e %u%w %%"), "Friday Fri 324 06PM 26 20 55 %");
        assert_eq!(at(now, "%F %T %R %D %B"), "2026-11-20 18:48:35 18:48 11/20/26 November");
        assert_eq!(at(now, "%E3S %E6S"), "35.123 35.123000");
        for wrong in ["%Q", "%", "%E", "%EX"] {
            assert!(TimeFormat::parse(wrong).is_err(), "{wrong}");
        }
    }
}
