//! Thousands of spellings of a path and a host on the wire, before `builtin:auth` with the real normalisation. Whatever
//! reaches the service is read there once more, with escapes, slashes and dots resolved: it must not be what is denied.

use sidegate_tests::{Client, Origin, Request, Sidegate};

use crate::setup::{config, fine, standard_filters};

/// Requests for each way in which a listener may normalise paths.
const REQUESTS: usize = 500;

const NORMALIZATIONS: [&str; 4] = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];

/// Numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }

    /// The word, some of its letters escaped.
    fn word(&mut self, word: &str) -> String {
        let mut spelled = String::new();
        for letter in word.chars() {
            match self.roll(8) {
                0 => spelled += &format!("%{:02x}", u32::from(letter)),
                1 => spelled += &format!("%{:02X}", u32::from(letter)),
                _ => spelled.push(letter),
            }
        }
        spelled
    }

    /// Something that some server takes for `/admin/users`, or nearly.
    fn path(&mut self) -> String {
        const SLASHES: [&str; 14] = [
            "/",
            "/",
            "//",
            "/./",
            "\\",
            "%2f",
            "%5C",
            "/x/../",
            "/%2e/",
            "/x/%2E%2e/",
            "/../",
            "/.//",
            "/x%2f../",
            "/..\\",
        ];
        let begin = self.one_of(&["", "/", "/public/..", "/%2e", "\\"]);
        let (first, second) = (self.one_of(&SLASHES), self.one_of(&SLASHES));
        let end = self.one_of(&["", "", "/", "?q=/public", "?", "/more", "/.", "/x/..", "%00", ";x=/public"]);
        let words = (self.one_of(&["admin", "admin", "admins"]), self.one_of(&["users", "users", "user"]));
        format!("{begin}{first}{}{second}{}{end}", self.word(words.0), self.word(words.1))
    }

    /// A line with the request's target, and its `host` fields.
    fn request(&mut self) -> String {
        const HOSTS: [&str; 9] = [
            "open.example.com",
            "secret.example.com",
            "SECRET.example.com",
            "secret.example.com.",
            "secret.example.com:80",
            "secret.example.com:8080",
            "secret.Example.com.:443",
            "open.example.com@secret.example.com",
            "secret%2eexample.com",
        ];
        let path = if self.roll(3) == 0 { "/public".to_owned() } else { self.path() };
        let mut host = || if self.roll(2) == 0 { self.one_of(&HOSTS) } else { HOSTS[0] };
        let (host, other) = (host(), host());
        match self.roll(6) {
            0 => format!("GET http://{host}{path} HTTP/1.1\r\nhost: {other}\r\n"),
            1 => format!("GET HTTP://{host}{path} HTTP/1.1\r\nhost: open.example.com\r\n"),
            2 => format!("GET {path} HTTP/1.1\r\nhost: open.example.com\r\nhost: {other}\r\n"),
            _ => format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n"),
        }
    }
}

/// What a service makes of a target: no query, escapes and backslashes resolved, no empty segments, no detours.
fn meaning(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    };
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = more.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments = Vec::new();
    for segment in text.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        match segment {
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn is_denied(request: &Request) -> bool {
    let path = meaning(&request.target);
    let host = request.header("host").unwrap_or_default().to_lowercase();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_owned();
    path == "/admin/users" || path.starts_with("/admin/users/") || host == "secret.example.com"
}

fn guarded(origin: &Origin, normalization: &str) -> Sidegate {
    let policy = "authorizationPolicies: [{action: DENY, rules: [\
        {to: [{operation: {paths: [/admin/users, /admin/users/*]}}]}, {to: [{operation: {hosts: [secret.example.com]}}]}]}]";
    let listener = format!(", pathNormalization: {normalization}, filters: [{{plugin: auth, config: {{{policy}}}}}]");
    Sidegate::start(&(standard_filters() + &config(&listener, origin, "")))
}

#[test]
fn no_spelling_on_the_wire_passes_a_policy_on_paths_and_hosts() {
    for (seed, normalization) in (1..).zip(NORMALIZATIONS) {
        let origin = fine();
        let sidegate = guarded(&origin, normalization);
        let mut dice = Dice(seed);
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..REQUESTS {
            let written = dice.request();
            let before = origin.request_count();
            let mut client = Client::connect(sidegate.address("inbound")).unwrap();
            client.write(format!("{written}\r\n").as_bytes()).unwrap();
            let status = client.read_response().unwrap().status;
            match status {
                200 => passed += 1,
                400 | 403 => refused += 1,
                // A path that is not as it should be may be sent to where it should (escaped slashes).
                301 | 307 => {}
                other => panic!("{normalization}: {other} for {written:?}"),
            }
            let reached = origin.requests();
            assert_eq!(reached.len() - before, usize::from(status == 200), "{normalization}: {written:?}");
            if let Some(seen) = reached.last().filter(|_| status == 200) {
                assert!(!is_denied(seen), "{normalization}: {written:?} came as {:?}", seen.target);
            }
        }
        // Both happen often: a proxy that refuses all of them shows nothing.
        assert!(
            passed > REQUESTS / 20 && refused > REQUESTS / 4,
            "{normalization}: {passed} passed, {refused} refused"
        );
    }
}

#[test]
fn the_service_in_this_test_knows_what_a_target_means() {
    for target in [
        "/admin/users",
        "//admin\\users?x",
        "/x/../admin/./users/",
        "/%61dmin%2Fusers",
        "http://a/admin/users",
        "/..\\admin//users/x/..",
    ] {
        assert_eq!(meaning(target), "/admin/users", "{target}");
    }
    assert_eq!(meaning("/public"), "/public");
}
