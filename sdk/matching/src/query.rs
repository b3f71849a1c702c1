//! Query parameters, undecoded: Envoy compares them as they were written.

/// The first value of parameter `name` in a path with query. `?name` alone has the value `""`.
#[must_use]
pub fn query_value<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let (_, query) = path.split_once('?')?;
    let query = query.split('#').next().unwrap_or(query);
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::query_value;

    #[test]
    fn a_key_alone_is_the_empty_string_and_the_first_value_wins() {
        let path = "/p?debug&v=1&v=2&e=#v=9";
        assert_eq!(query_value(path, "debug"), Some(""));
        assert_eq!(query_value(path, "v"), Some("1"));
        assert_eq!(query_value(path, "e"), Some(""));
        assert_eq!(query_value(path, "x"), None);
        assert_eq!(query_value("/p", "v"), None);
        assert_eq!(query_value("/p?", ""), None);
    }
}
