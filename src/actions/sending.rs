//! Tests of how requests leave: when their turn comes, what a 429 does to everybody else, what is sent again.

use std::time::Duration;

use serde_json::json;

use super::testing::{Answer, Bench};
use crate::action::{ErrorKind, Patience};
use crate::http::{Limit, Repeat, Request};

fn limited() -> Request {
    let limit = Limit::new("clerk", 50, Duration::from_secs(10));
    Request::get("https://api.clerk.com/v1/users/count").limited(limit)
}

#[tokio::test]
async fn a_turn_is_waited_for_by_the_clock_of_the_run() {
    let bench = Bench::with(|_| Answer::text(200, "[]")).await;
    let cx = bench.cx();
    let began = cx.now();
    for _ in 0..52 {
        cx.send(limited()).await.unwrap();
    }
    assert_eq!(cx.now().duration_since(began).as_secs(), 10, "two at once, then one in 200 ms");
    assert_eq!(bench.said(), [""; 0]);
}

#[tokio::test]
async fn one_steps_429_holds_back_the_others() {
    let mut answers = vec![Answer::text(200, "[]"), Answer::text(429, "").header("retry-after", "7")];
    let bench = Bench::with(move |_| answers.pop().unwrap_or(Answer::text(200, "[]"))).await;
    let (one, other) = (bench.cx(), bench.cx());
    let began = one.now();
    assert_eq!(one.send(limited()).await.unwrap().status, 429);
    assert_eq!(other.send(limited()).await.unwrap().status, 200);
    assert_eq!(other.now().duration_since(began).as_secs(), 7);
    assert_eq!(bench.said(), ["waits 7s: `clerk` takes no request before"]);
    let limit = limited().limit.unwrap();
    assert!((other.share(&limit) - 0.5).abs() < 1e-9 && other.rate(&limit) == Some(2.5));
}

#[tokio::test]
async fn a_request_without_a_limit_waits_for_nobody() {
    let bench = Bench::with(|_| Answer::text(429, "").header("retry-after", "7")).await;
    let cx = bench.cx();
    let began = cx.now();
    cx.send(limited()).await.unwrap();
    cx.send(Request::get("https://api.clerk.com/v1/jwks")).await.unwrap();
    assert_eq!((cx.now(), bench.seen().len()), (began, 2));
}

#[tokio::test]
async fn who_waits_for_a_turn_can_be_stopped() {
    let bench = Bench::with(|_| Answer::text(429, "").header("retry-after", "7")).await;
    bench.cx().send(limited()).await.unwrap();
    bench.cancel.cancel();
    assert_eq!(bench.cx().send(limited()).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(bench.seen().len(), 1);
}

fn patient(class: Repeat) -> Patience {
    Patience { tries: 3, ..Patience::of(class) }
}

fn read() -> Request {
    Request::get("https://api.clerk.com/v1/users/count")
}

/// A vendor that says these one after the other, and then `[]`.
async fn saying(answers: Vec<Answer>) -> Bench {
    let mut answers = answers.into_iter();
    Bench::with(move |_| answers.next().unwrap_or(Answer::text(200, "[]"))).await
}

#[tokio::test]
async fn a_request_is_repeated_by_its_class_and_no_further() {
    for (answer, class, tries) in [
        (Answer::text(500, "boom"), Repeat::Always, 3),
        (Answer::text(500, "boom"), Repeat::SameState, 3),
        (Answer::text(500, "boom"), Repeat::IfUnsent, 1),
        (Answer::text(500, "boom"), Repeat::Never, 1),
        (Answer::text(429, ""), Repeat::IfUnsent, 3),
        (Answer::text(429, ""), Repeat::Never, 1),
        (Answer::text(200, "{\"cut"), Repeat::Always, 3),
        (Answer::text(200, "{\"cut"), Repeat::IfUnsent, 1),
        (Answer::text(404, ""), Repeat::Always, 1),
        (Answer::json(503, &json!({ "code": "maintenance_mode" })), Repeat::Always, 1),
        (Answer::json(503, &json!({ "errors": [{ "code": "maintenance_mode" }] })), Repeat::SameState, 1),
    ] {
        let told = format!("{answer:?} {class:?}");
        let bench = saying(vec![answer.clone(); 9]).await;
        bench.cx().call_patiently(read(), patient(class)).await.unwrap_err();
        assert_eq!((bench.seen().len(), bench.said().len()), (tries, tries - 1), "{told}");
    }
}

#[tokio::test]
async fn the_wait_is_the_one_the_vendor_asks_for_and_is_told() {
    for retry_after in ["20", "Mon, 23 Nov 2026 03:00:20 GMT"] {
        let bench = saying(vec![Answer::text(429, "").header("retry-after", retry_after)]).await;
        let cx = bench.cx();
        let began = cx.now();
        assert_eq!(cx.call_patiently(read(), patient(Repeat::IfUnsent)).await.unwrap(), json!([]));
        let waited = cx.now().duration_since(began).as_secs_f64();
        assert!((20.0..=21.0).contains(&waited), "{waited}");
        let said = bench.said();
        assert!(said[0].starts_with("https://api.clerk.com/v1/users/count answered 429; waits 2"), "{said:?}");
        assert!(said.len() == 1 && said[0].ends_with("s, then try 2 of 3"), "{said:?}");
    }
}

#[tokio::test]
async fn it_does_not_wait_past_its_deadline() {
    let bench = saying(vec![Answer::text(429, "").header("retry-after", "3600")]).await;
    let cx = bench.cx();
    let began = cx.now();
    let error = cx.send_patiently(limited(), patient(Repeat::Always)).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms, cx.now()), (ErrorKind::RateLimited, Some(3_600_000), began));
    let error = bench.cx().send_patiently(limited(), patient(Repeat::Always)).await.unwrap_err();
    assert!(error.message.ends_with("takes no request for 1h; nothing was sent"), "{}", error.message);
    assert_eq!((bench.seen().len(), bench.cx().now()), (1, began), "the second never left");
}

#[tokio::test]
async fn a_doubt_outlasts_the_tries_after_it() {
    let mut answers = vec![Answer::text(429, ""), Answer::text(429, ""), Answer::text(200, "{\"cut")];
    let bench = Bench::with(move |_| answers.pop().unwrap()).await;
    let error = bench.cx().call_patiently(read(), patient(Repeat::SameState)).await.unwrap_err();
    assert_eq!((error.kind, error.uncertain), (ErrorKind::RateLimited, true));
    let bench = saying(vec![Answer::text(429, ""); 9]).await;
    let error = bench.cx().send_patiently(read(), patient(Repeat::SameState)).await.unwrap_err();
    assert!(!error.uncertain, "a refusal is no doubt");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_only_where_twice_is_harmless() {
    for (class, lines) in [(Repeat::Always, 2), (Repeat::IfUnsent, 0)] {
        let bench = Bench::hanging_up().await;
        let error = bench.cx().send_patiently(read(), patient(class)).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain, bench.said().len()), (ErrorKind::Network, true, lines));
    }
}

#[tokio::test]
async fn a_refusal_that_is_final_is_an_answer() {
    let bench = saying(vec![Answer::text(500, ""), Answer::text(404, "")]).await;
    assert_eq!(bench.cx().send_patiently(read(), patient(Repeat::SameState)).await.unwrap().status, 404);
}

#[tokio::test]
async fn patience_ends_with_the_run() {
    let bench = saying(vec![Answer::text(500, "")]).await;
    bench.cancel.cancel();
    let error = bench.cx().send_patiently(read(), patient(Repeat::Always)).await.unwrap_err();
    assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Cancelled, 0));
}
