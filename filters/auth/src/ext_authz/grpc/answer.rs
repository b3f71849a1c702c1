//! What the service says: a `CheckResponse`.

use sidegate_sdk::protobuf::{Malformed, Value, fields};

use super::super::Verdict;
use super::super::edit::{Action, Edit};

/// The status of a refusal that names none that can be sent.
const FORBIDDEN: u16 = 403;

/// Reads an answer. As in Envoy a status that is absent is OK, and every other status is a refusal.
pub(super) fn read(message: &[u8]) -> Result<Verdict, Malformed> {
    let (mut code, mut denied, mut ok, mut error) = (0, None, None, None);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(status)) => code = first_number(status)?.unwrap_or(0),
            (2, Value::Bytes(bytes)) => denied = Some(bytes),
            (3, Value::Bytes(bytes)) => ok = Some(bytes),
            (5, Value::Bytes(bytes)) => error = Some(bytes),
            _ => {}
        }
    }
    match (code, error) {
        (0, _) => allow(ok.unwrap_or_default()),
        (code, Some(_)) => Ok(Verdict::Error(format!("it failed with status {code}"))),
        (_, None) => deny(denied.unwrap_or_default()),
    }
}

/// `OkHttpResponse`.
fn allow(ok: &[u8]) -> Result<Verdict, Malformed> {
    let (mut upstream, mut removed, mut downstream) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields(ok) {
        match field? {
            // A value that the client sent must not stand beside the service's unless that is said.
            (2, Value::Bytes(option)) => upstream.extend(edit(option, Action::Set)?),
            (5, Value::Bytes(name)) => {
                removed.extend(Edit::new(Action::Remove, &String::from_utf8_lossy(name), ""));
            }
            (6, Value::Bytes(option)) => downstream.extend(edit(option, Action::Append)?),
            _ => {}
        }
    }
    upstream.extend(removed);
    Ok(Verdict::Allow { upstream, downstream })
}

/// `DeniedHttpResponse`.
fn deny(denied: &[u8]) -> Result<Verdict, Malformed> {
    let (mut status, mut headers, mut body) = (FORBIDDEN, Vec::new(), Vec::new());
    for field in fields(denied) {
        match field? {
            (1, Value::Bytes(bytes)) => {
                let code = first_number(bytes)?.and_then(|code| u16::try_from(code).ok());
                status = code.filter(|code| (200..600).contains(code)).unwrap_or(FORBIDDEN);
            }
            (2, Value::Bytes(option)) => headers.extend(edit(option, Action::Append)?),
            (3, Value::Bytes(bytes)) => body = bytes.to_vec(),
            _ => {}
        }
    }
    Ok(Verdict::Deny { status, headers, body })
}

/// `HeaderValueOption`; `usual` is what is done where the service does not say. `None` for a header that is not to be
/// changed.
fn edit(option: &[u8], usual: Action) -> Result<Option<Edit>, Malformed> {
    let (mut name, mut value) = (String::new(), String::new());
    let (mut appends, mut action) = (None, 0);
    for field in fields(option) {
        match field? {
            (1, Value::Bytes(header)) => {
                for field in fields(header) {
                    match field? {
                        (1, Value::Bytes(bytes)) => name = String::from_utf8_lossy(bytes).into_owned(),
                        // `raw_value` stands in the place of `value`.
                        (2 | 3, Value::Bytes(bytes)) if !bytes.is_empty() => {
                            value = String::from_utf8_lossy(bytes).into_owned();
                        }
                        _ => {}
                    }
                }
            }
            (2, Value::Bytes(truth)) => appends = Some(first_number(truth)? == Some(1)),
            (3, Value::Number(number)) => action = number,
            _ => {}
        }
    }
    let action = match (appends, action) {
        (Some(true), _) => Action::Append,
        (Some(false), _) => Action::Set,
        // The first of the enumeration, which is also what nobody wrote.
        (None, 0) => usual,
        (None, 1) => Action::AddIfAbsent,
        (None, 3) => Action::SetIfThere,
        (None, _) => Action::Set,
    };
    Ok(Edit::new(action, &name, &value))
}

/// Field 1 of a `Status`, an `HttpStatus` or a `BoolValue`.
fn first_number(message: &[u8]) -> Result<Option<u64>, Malformed> {
    let mut first = None;
    for field in fields(message) {
        if let (1, Value::Number(number)) = field? {
            first = Some(number);
        }
    }
    Ok(first)
}
