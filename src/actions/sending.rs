//! Tests of how requests leave: when their turn comes, what a 429 does to everybody else, what is sent again.

use super::testing::{Answer, Bench};
use crate::action::ErrorKind;
use crate::http::{Limit, Request};
use std::time::Duration;

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
