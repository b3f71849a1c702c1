//! Fields that come twice: of a standard one there is one entry, which everybody reads alike.

use sidegate_tests::{Answer, Origin, Request};

use crate::setup::plain;

#[test]
fn standard_fields_arrive_as_one_list_in_both_directions() {
    let origin = Origin::answering(|_| {
        let answer = Answer::ok("fine").with_header("vary", "a").with_header("set-cookie", "a=1");
        answer.with_header("vary", "b").with_header("set-cookie", "b=2").with_header("x-a", "1").with_header("x-a", "2")
    });
    let sidegate = plain(&origin);
    let request = Request::get("/")
        .with_header("accept", "text/html")
        .with_header("authorization", "Bearer good")
        .with_header("x-a", "1")
        .with_header("accept", "text/plain")
        .with_header("authorization", "Bearer bad")
        .with_header("x-a", "2");
    let answer = sidegate.send(&request);
    let all = |name| answer.headers.all(name).collect::<Vec<_>>();
    assert_eq!((all("vary"), all("set-cookie")), (vec!["a,b"], vec!["a=1", "b=2"]));
    assert_eq!(all("x-a"), ["1", "2"]);
    let request = origin.requests().pop().unwrap();
    let all = |name| request.headers.all(name).collect::<Vec<_>>();
    assert_eq!((all("accept"), all("x-a")), (vec!["text/html,text/plain"], vec!["1", "2"]));
    assert_eq!(all("authorization"), ["Bearer good,Bearer bad"]);
}
