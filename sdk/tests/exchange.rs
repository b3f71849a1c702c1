//! The life of an exchange as an author sees it: what is held, what is let go, and what the client gets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sidegate_sdk::log::Level;
use sidegate_sdk::testing::{Answer, Filter as Run, Host};
use sidegate_sdk::{
    Bodies, Callout, Error, Filter, Mode, Next, Request, Response, Result, Setup, config, filter, grpc, shared, sleep,
};

/// A filter whose behaviour is chosen by the path.
#[config]
struct Paths {
    #[serde(skip)]
    seen: Cell<u32>,
    #[serde(skip)]
    stolen: RefCell<Option<Request>>,
}

#[filter]
impl Filter for Paths {
    fn body() -> Bodies {
        Bodies::none().request(Mode::Buffered { limit: 8 }).response(Mode::Streamed)
    }

    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        self.seen.set(self.seen.get() + 1);
        match req.path().as_str() {
            "/two" => {
                let one = Callout::to("users").get("/1").send().await?;
                let two = Callout::to("users").post("/2", one.body()).send().await?;
                req.headers_mut().set("x-users", two.text())?;
                next.run(req).await
            }
            "/after" => {
                let mut res = next.run(req).await?;
                let user = Callout::to("users").get("/1").send().await?;
                res.headers_mut().append("x-user", user.text())?;
                Ok(res)
            }
            "/unknown" => {
                Callout::to("nobody").send().await?;
                next.run(req).await
            }
            "/fallback" => match Callout::to("users").send().await {
                Err(Error::Callout { .. }) => Ok(Response::new(401).body("who are you?\n")),
                _ => next.run(req).await,
            },
            "/body" => {
                let body = req.body().await?;
                req.set_body(body.iter().rev().copied().collect::<Vec<_>>())?;
                next.run(req).await
            }
            "/upper" => {
                let mut res = next.run(req).await?;
                res.map_body(|chunk| {
                    let upper = chunk.bytes().to_ascii_uppercase();
                    chunk.replace(upper);
                    Ok(())
                })?;
                Ok(res)
            }
            "/instead" => {
                let res = next.run(req).await?;
                Ok(Response::new(503).header("x-was", res.status().to_string()).details("replaced"))
            }
            "/never" => std::future::pending().await,
            "/steal" => {
                self.stolen.replace(Some(req));
                Ok(Response::new(204))
            }
            "/use-stolen" => {
                let mut stolen = self.stolen.take().unwrap();
                let refused = matches!(stolen.headers_mut().set("x-a", "1"), Err(Error::Gone));
                let other = stolen.headers().get(":path");
                assert!(refused && other.is_none());
                Ok(next.forward(req))
            }
            _ => Err(Error::new("no such path")),
        }
    }
}

fn paths() -> Run<Paths> {
    let filter = Run::<Paths>::configure("{}").unwrap();
    filter.answer("users", |sent| match sent.message.header(":method") {
        Some("POST") => Answer::new(200).body(format!("{}+2", sent.message.text())),
        _ if sent.message.header(":path") == Some("/") => Answer::reset(),
        _ => Answer::new(200).body("1"),
    });
    filter
}

#[test]
fn callouts_hold_the_request_one_after_the_other() {
    let outcome = paths().get("/two").run();
    assert_eq!(outcome.request().unwrap().header("x-users"), Some("1+2"));
    let sent = outcome.callouts();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].message.header(":authority"), Some("users"));
    assert_eq!(sent[0].timeout, Duration::from_secs(5));
}

#[test]
fn a_callout_after_next_holds_the_response() {
    let outcome = paths().get("/after").respond(200, &[("x-user", "0")], "").run();
    assert_eq!(outcome.response().all("x-user"), ["0", "1"]);
}

#[test]
fn what_the_host_refuses_is_an_error_that_the_client_sees_and_the_log_explains() {
    let outcome = paths().get("/unknown").run();
    assert_eq!(outcome.status(), 500);
    assert_eq!(outcome.local_reply().unwrap().details, "filter_error");
    let line = &outcome.logs()[0];
    assert_eq!((line.level, line.text.as_str()), (Level::Error, "the host refused http_call: bad argument"));
    assert_eq!(paths().get("/nothing-of-this").run().status(), 500);
}

#[test]
fn a_reset_callout_can_be_answered_for() {
    let outcome = paths().get("/fallback").run();
    assert_eq!((outcome.status(), outcome.response().text().as_str()), (401, "who are you?\n"));
    assert!(outcome.request().is_none());
}

#[test]
fn a_buffered_body_is_whole_replaceable_and_bounded() {
    let filter = paths();
    let outcome = filter.post("/body").header("content-length", "3").body("abc").run();
    let request = outcome.request().unwrap();
    assert_eq!((request.text().as_str(), request.header("content-length")), ("cba", Some("3")));
    assert_eq!(filter.get("/body").run().request().unwrap().text(), "");
    let outcome = filter.post("/body").body("123456789").run();
    assert_eq!(outcome.status(), 413);
    assert!(outcome.request().is_none());
}

#[test]
fn a_streamed_body_is_mapped_after_the_function_has_returned() {
    let outcome = paths().get("/upper").respond(200, &[("content-length", "3")], "abc").run();
    assert_eq!(outcome.response().text(), "ABC");
    assert_eq!(outcome.header("content-length"), None);
}

#[test]
fn a_response_of_our_own_may_take_the_place_of_the_service_s() {
    let outcome = paths().get("/instead").respond(200, &[], "x").run();
    assert_eq!((outcome.status(), outcome.header("x-was")), (503, Some("200")));
}

#[test]
fn a_client_that_leaves_drops_the_future_and_the_next_exchange_is_clean() {
    let filter = paths();
    assert!(filter.get("/never").run().is_hung());
    assert_eq!(filter.get("/after").run().header("x-user"), Some("1"));
}

#[test]
fn a_request_kept_beyond_its_exchange_can_do_nothing() {
    let filter = paths();
    assert_eq!(filter.get("/steal").run().status(), 204);
    let outcome = filter.get("/use-stolen").run();
    assert_eq!((outcome.status(), outcome.request().unwrap().header("x-a")), (200, None));
}

/// Refreshes what it knows, and waits on demand.
#[config]
struct Timers {
    #[serde(skip)]
    known: RefCell<String>,
}

#[filter]
impl Filter for Timers {
    fn configure(config: Self, setup: &mut Setup) -> Result<Self> {
        setup.every(Duration::from_secs(10));
        Ok(config)
    }

    async fn handle(&self, req: Request, next: Next) -> Result<Response> {
        sleep(Duration::from_millis(20)).await;
        sleep(Duration::from_millis(30)).await;
        let mut res = next.run(req).await?;
        res.headers_mut().set("x-known", self.known.borrow().as_str())?;
        Ok(res)
    }

    async fn tick(&self) {
        if let Ok(answer) = Callout::to("keys").get("/").send().await {
            self.known.replace(answer.text());
        }
    }
}

#[test]
fn ticks_and_sleeps_share_the_host_s_timers_with_and_without_sidegate() {
    for host in [Host::new(), Host::foreign()] {
        let filter: Run<Timers> = host.configure("").unwrap();
        filter.answer("keys", |_| Answer::new(200).body("fresh"));
        filter.advance(Duration::from_secs(9));
        let outcome = filter.get("/").run();
        assert_eq!((outcome.header("x-known"), outcome.waited()), (Some(""), Duration::from_millis(50)));
        filter.advance(Duration::from_secs(2));
        assert_eq!(filter.get("/").run().header("x-known"), Some("fresh"));
    }
}

#[test]
fn shared_values_are_changed_only_when_nobody_was_faster() {
    let _host = Run::<Timers>::configure("").unwrap();
    shared::set("k", "1").unwrap();
    let (value, version) = shared::get("k").unwrap().unwrap();
    assert_eq!(value, b"1");
    assert!(shared::set_if("k", "2", version).unwrap());
    assert!(!shared::set_if("k", "3", version).unwrap());
    assert_eq!(shared::update("k", |old| [old.unwrap(), b"+"].concat()).unwrap(), b"2+");
    assert!(shared::get("other").unwrap().is_none());
    let mut was_faster = false;
    let written = shared::update("other", |old| {
        if !std::mem::replace(&mut was_faster, true) {
            shared::set("other", "first").unwrap();
        }
        [old.unwrap_or_default(), b"!"].concat()
    });
    assert_eq!(written.unwrap(), b"first!", "nor is a key made twice");
}

/// Says that it only sleeps, and sends a callout all the same.
#[config]
struct Forgetful {}

#[filter(sleep)]
impl Filter for Forgetful {
    async fn handle(&self, req: Request, next: Next) -> Result<Response> {
        Callout::to("users").send().await?;
        next.run(req).await
    }
}

#[test]
fn a_callout_that_was_not_declared_is_an_error_and_no_hang() {
    let filter = Run::<Forgetful>::configure("").unwrap();
    filter.answer("users", |_| Answer::new(200));
    let outcome = filter.get("/").run();
    assert_eq!(outcome.status(), 500);
    assert!(outcome.logs()[0].text.contains("#[filter(callouts)]"));
}

/// Asks a gRPC service what to say.
#[config]
struct Asks {}

#[filter]
impl Filter for Asks {
    async fn handle(&self, mut req: Request, next: Next) -> Result<Response> {
        let cluster = req.headers().get("x-cluster").unwrap_or("words".into()).to_string();
        let limit = Duration::from_millis(300);
        let first = grpc::call(&cluster, "shop.Words", "First", &[("x-a", "1")], req.path(), limit).await?;
        let second = grpc::call(&cluster, "shop.Words", "Second", &[], first.message(), limit).await?;
        req.headers_mut().set("x-words", String::from_utf8_lossy(second.message()))?;
        next.run(req).await
    }
}

fn asks() -> Run<Asks> {
    let filter = Run::<Asks>::configure("").unwrap();
    filter.answer_grpc("words", |sent| match sent.message.as_slice() {
        b"/bad" => Err(grpc::GrpcError { status: grpc::PERMISSION_DENIED, message: "not you".into() }),
        message => Ok([message, b"+", sent.method.as_bytes()].concat()),
    });
    filter
}

#[test]
fn grpc_callouts_hold_the_request_one_after_the_other() {
    let outcome = asks().get("/x").run();
    assert_eq!(outcome.request().unwrap().header("x-words"), Some("/x+First+Second"));
    let sent = outcome.grpc_callouts();
    assert_eq!((sent.len(), sent[0].service.as_str(), sent[0].timeout), (2, "shop.Words", Duration::from_millis(300)));
    assert_eq!((sent[0].metadata.as_slice(), sent[1].metadata.len()), (&[("x-a".into(), "1".into())][..], 0));
}

#[test]
fn a_grpc_call_that_fails_says_why() {
    let outcome = asks().get("/bad").run();
    assert_eq!(outcome.status(), 502);
    assert_eq!(outcome.logs()[0].text, "the gRPC call failed with status 7: not you");
    let outcome = asks().get("/x").header("x-cluster", "nobody").run();
    assert!(outcome.logs()[0].text.contains("the host refused grpc_call: parse failure"), "{:?}", outcome.logs());
}
