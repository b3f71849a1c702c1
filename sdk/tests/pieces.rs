//! Bodies that come in pieces while a filter waits for something else: every look shows what has come, and no look calls
//! a part the whole.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use proptest::prelude::*;
use sidegate_sdk::testing::{Answer, Exchange, Filter as Run, Host, Outcome};
use sidegate_sdk::{Bodies, Callout, Error, Filter, Mode, Next, Request, Response, Result, config, filter};

/// More than any of these bodies has.
const LIMIT: usize = 64;

/// Does one thing after the other, and tells what it sees: `ask` waits for a callout, `look 8` for so many bytes,
/// `whole` for all of them, `write x` sends that instead.
#[config]
struct Deeds {
    deeds: Vec<String>,
}

#[filter(callouts)]
impl Filter for Deeds {
    fn body() -> Bodies {
        Bodies::none().request(Mode::Buffered { limit: LIMIT })
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        for deed in &self.deeds {
            let (bytes, is_whole) = match deed.split_once(' ') {
                Some(("look", most)) => {
                    let beginning = req.beginning(most.parse().map_err(Error::new)?).await?;
                    (beginning.bytes, beginning.is_whole)
                }
                Some((_, body)) => {
                    req.set_body(body)?;
                    continue;
                }
                None if deed == "ask" => {
                    Callout::to("users").send().await?;
                    continue;
                }
                None => (req.body().await?, true),
            };
            let look = format!("{is_whole} {}", String::from_utf8_lossy(&bytes));
            req.headers_mut().append("x-look", look)?;
        }
        Ok(next.forward(req))
    }
}

fn run(
    host: Host,
    deeds: &[impl AsRef<str>],
    script: impl FnOnce(Exchange<'_, Deeds>) -> Exchange<'_, Deeds>,
) -> Outcome {
    let deeds: Vec<&str> = deeds.iter().map(AsRef::as_ref).collect();
    let filter: Run<Deeds> = host.configure(&serde_json::json!({"deeds": deeds}).to_string()).unwrap();
    filter.answer("users", |_| Answer::new(200));
    script(filter.post("/")).run()
}

fn looks(outcome: &Outcome) -> Vec<String> {
    outcome.request().unwrap().all("x-look").into_iter().map(str::to_owned).collect()
}

#[test]
fn a_look_between_callouts_does_not_hide_the_body_from_the_next() {
    let deeds = ["ask", "look 4", "ask", "whole"];
    for host in [Host::new(), Host::foreign()] {
        let outcome = run(host, &deeds, |post| post.piece("drop table").answered().piece(""));
        assert_eq!(looks(&outcome), ["false drop", "true drop table"]);
    }
}

#[test]
fn a_second_look_in_the_same_hook_sees_what_the_first_saw() {
    let outcome = run(Host::new(), &["ask", "look 8", "whole"], |post| post.piece("01234").answered().piece("56789"));
    assert_eq!(looks(&outcome), ["false 01234567", "true 0123456789"]);
}

#[test]
fn a_body_that_is_written_between_pieces_is_the_one_that_is_seen_and_sent() {
    let outcome =
        run(Host::new(), &["ask", "look 3", "write x", "whole"], |post| post.piece("drop ").answered().piece("table"));
    assert_eq!(looks(&outcome), ["false dro", "true xtable"]);
    assert_eq!(outcome.request().unwrap().text(), "xtable");
    let outcome = run(Host::new(), &["whole", "write x", "whole", "ask", "whole"], |post| post.body("drop table"));
    assert_eq!(looks(&outcome), ["true drop table", "true x", "true x"]);
}

/// Where the host shows a piece alone, nothing in front of it can be replaced: better no request than a wrong one.
#[test]
fn a_body_is_replaced_whole_or_not_at_all() {
    let outcome = run(Host::new(), &["ask", "whole", "write x"], |post| post.piece("drop ").answered().piece("table"));
    assert_eq!((outcome.status(), outcome.request()), (500, None));
    let outcome =
        run(Host::new(), &["ask", "whole", "write x"], |post| post.piece("drop ").answered().piece("ta").piece("ble"));
    assert_eq!(outcome.request().unwrap().text(), "x");
}

#[derive(Debug, Clone)]
enum Event {
    Piece(String),
    Answer,
}

fn deeds() -> impl Strategy<Value = Vec<String>> {
    let look = (0..12_usize).prop_map(|most| format!("look {most}"));
    let deed = prop_oneof![2 => Just("ask".to_owned()), 3 => look, 1 => Just("whole".to_owned())];
    proptest::collection::vec(deed, 1..7)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let piece = "[a-z]{0,6}".prop_map(Event::Piece);
    proptest::collection::vec(prop_oneof![3 => piece, 2 => Just(Event::Answer)], 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_look_shows_the_beginning_and_never_calls_a_part_the_whole(
        deeds in deeds(), events in events(), is_foreign: bool,
    ) {
        let host = if is_foreign { Host::foreign() } else { Host::new() };
        let outcome = run(host, &deeds, |post| events.iter().fold(post, |post, event| match event {
            Event::Piece(piece) => post.piece(piece.as_str()),
            Event::Answer => post.answered(),
        }));
        let body: String = events.iter().map(|event| match event {
            Event::Piece(piece) => piece.as_str(),
            Event::Answer => "",
        }).collect();
        prop_assert!(!outcome.is_hung());
        prop_assert_eq!(outcome.request().map(|request| request.text()), Some(body.clone()));
        let mosts = deeds.iter().filter(|deed| *deed != "ask").map(|deed| {
            deed.strip_prefix("look ").and_then(|most| most.parse().ok()).unwrap_or(LIMIT)
        });
        for (most, look) in mosts.zip(looks(&outcome)) {
            let (is_whole, seen) = look.split_once(' ').unwrap();
            prop_assert_eq!(seen, body.get(..most).unwrap_or(&body));
            prop_assert!(is_whole == "false" || seen == body, "{} is not the whole", seen);
        }
    }
}
