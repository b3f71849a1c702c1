//! Where in a text of JSON something is wrong, by the byte at which its reader stopped. A reader that kept track of its
//! path itself would be a second reader of every type in every module.

use super::escape;

/// The JSON pointer of the value or key at which a reader stopped, given serde's line and column.
pub(super) fn pointer(json: &[u8], line: usize, column: usize) -> String {
    let lines = json.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let mut walk = Walk { json, at: 0, stop: before + column, path: Vec::new() };
    if !walk.value() {
        walk.path.clear();
    }
    walk.path.iter().flat_map(|segment| ["/".to_owned(), escape(segment)]).collect()
}

/// A walk through values that ends where the reader did. It goes no deeper than the reader went.
struct Walk<'j> {
    json: &'j [u8],
    at: usize,
    stop: usize,
    path: Vec<String>,
}

impl Walk<'_> {
    /// Passes a value; `true`: the reader stopped at or in it, and the path is its path.
    fn value(&mut self) -> bool {
        self.space();
        if self.at >= self.stop {
            return true;
        }
        match self.peek() {
            Some(b'{') => return self.members(b'}'),
            Some(b'[') => return self.members(b']'),
            Some(b'"') => {
                self.string();
            }
            // One byte at least, also where no value can begin.
            _ => {
                self.at += 1;
                self.skip(|byte| !b",]} \t\r\n".contains(&byte));
            }
        }
        self.at >= self.stop
    }

    /// Passes what is inside of a map or a list.
    fn members(&mut self, end: u8) -> bool {
        self.at += 1;
        let mut number = 0;
        loop {
            self.space();
            match self.peek() {
                None => return true,
                Some(byte) if byte == end => {
                    self.at += 1;
                    return self.at >= self.stop;
                }
                Some(b',') => self.at += 1,
                Some(_) => {
                    let segment = if end == b'}' { self.string() } else { number.to_string() };
                    number += 1;
                    self.path.push(segment);
                    if end == b'}' {
                        if self.at >= self.stop {
                            return true;
                        }
                        self.skip(|byte| b": \t\r\n".contains(&byte));
                    }
                    if self.value() {
                        return true;
                    }
                    self.path.pop();
                }
            }
        }
    }

    /// Passes a text and returns it; where there is none, the rest is passed.
    fn string(&mut self) -> String {
        let begin = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        serde_json::from_slice(self.json.get(begin..self.at).unwrap_or_default()).unwrap_or_default()
    }

    fn space(&mut self) {
        self.skip(|byte| byte.is_ascii_whitespace());
    }

    fn skip(&mut self, is_passed: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_passed) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn the_place_is_where_the_reader_stopped() {
        let json = b"{\"a\": [1, {\"b/c\": \"x\"}],\n \"d\": {}}";
        for (line, column, place) in [
            (1, 8, "/a/0"),
            (1, 16, "/a/1/b~1c"),
            (1, 21, "/a/1/b~1c"),
            (1, 22, "/a/1"),
            (1, 23, "/a"),
            (2, 4, "/d"),
            (2, 8, "/d"),
            (2, 9, ""),
            (9, 9, ""),
        ] {
            assert_eq!(pointer(json, line, column), place, "{line}:{column}");
        }
        for hostile in ["", "{", "[", "\"", "{\"", "{x", "[[[", "{\"a\\", "\\"] {
            pointer(hostile.as_bytes(), 1, 99);
        }
    }
}
