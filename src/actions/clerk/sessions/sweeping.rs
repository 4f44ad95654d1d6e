//! Tests of the whole sweep, against a vendor whose sessions really end.

use serde_json::{Value, json};

use super::super::super::testing::{Answer, Bench, faults};
use super::vendor::{NOW, Vendor};
use super::*;
use crate::action::{Action, ActionError, Done, ErrorKind};

fn params(more: Value) -> ClerkSessionsRevokeAllParams {
    serde_json::from_value(more).unwrap()
}

async fn sweep(vendor: &Vendor, more: Value) -> (Bench, Result<ClerkSessionsRevokeAllOutput, ActionError>) {
    let bench = vendor.bench().await;
    let result = RevokeAll.run(&bench.cx(), params(more)).await;
    (bench, result)
}

fn outputs(error: &ActionError) -> ClerkSessionsRevokeAllOutput {
    serde_json::from_value(*error.outputs.clone().unwrap()).unwrap()
}

fn lines(bench: &Bench, beginning: &str) -> usize {
    bench.seen().iter().filter(|seen| seen.line().starts_with(beginning)).count()
}

fn maintenance() -> Answer {
    Answer::json(503, &json!({ "shortMessage": "under maintenance", "code": "maintenance_mode" }))
}

#[tokio::test]
async fn everybody_is_signed_out_pending_sessions_too_and_each_page_is_kept() {
    let vendor = Vendor::of(1203).with(|state| state.templates = vec![30, 600]);
    let live = vendor.live() as u64;
    let (bench, output) = sweep(&vendor, json!({})).await;
    let output = output.unwrap();
    assert_eq!((vendor.live(), output.revoked, output.sessions_found), (0, live, live));
    assert_eq!((output.users, output.failures, output.passes, output.complete), (1203, 0, 2, true));
    assert_eq!(output.residual_seconds, Some(600));
    let pages: Vec<String> =
        bench.seen().into_iter().filter(|seen| seen.path == "/v1/users").map(|seen| seen.query).take(4).collect();
    assert_eq!(
        pages,
        [
            "limit=500&order_by=%2Bcreated_at",
            "limit=500&order_by=%2Bcreated_at&starting_after=user_00499",
            "limit=500&order_by=%2Bcreated_at&starting_after=user_00999",
            "limit=500&order_by=%2Bcreated_at&last_sign_in_at_after=1795402790000",
        ]
    );
    let after: Vec<Value> = bench.saved().iter().map(|saved| saved["after"].clone()).collect();
    assert_eq!(after[..3], [Value::Null, json!("user_00499"), json!("user_00999")]);
    assert!(bench.seen().iter().filter(|seen| seen.method == "POST").all(|seen| seen.body == json!("")));
    // By the clock of the run, half of a thousand in ten seconds.
    let per_second = output.requests_per_second;
    assert!((40.0..=52.0).contains(&per_second), "{per_second}");
    let said = bench.said();
    assert!(said.iter().any(|line| line.contains("of 1203 users") && line.contains("left")), "{said:?}");
}

#[tokio::test]
async fn a_user_with_more_sessions_than_a_page_holds_loses_all_of_them() {
    let vendor = Vendor::of(2).with(|state| {
        for _ in 0..1234 {
            state.open(1, "active", NOW - 1000);
        }
    });
    let (_, output) = sweep(&vendor, json!({ "share": "95%" })).await;
    assert_eq!((vendor.live(), output.unwrap().revoked), (0, 1237));
}

#[tokio::test]
async fn who_is_excepted_stays() {
    let vendor = Vendor::of(10);
    let (bench, output) = sweep(&vendor, json!({ "except": ["user_00003"] })).await;
    assert_eq!((vendor.live(), output.unwrap().excluded), (2, 1));
    assert_eq!(bench.seen().iter().filter(|seen| seen.query.contains("user_00003")).count(), 0);
    for wrong in [json!({ "except": ["me"] }), json!({ "except": ["user_a/b"] }), json!({ "at_once": 0 })] {
        let (bench, result) = sweep(&vendor, wrong.clone()).await;
        assert_eq!((result.unwrap_err().kind, bench.seen().len()), (ErrorKind::InvalidParams, 0), "{wrong}");
    }
}

#[tokio::test]
async fn nothing_is_ended_in_another_instance_than_the_one_that_is_meant() {
    let vendor = Vendor::of(3);
    let before = vendor.live();
    let (bench, result) = sweep(&vendor, json!({ "expect_instance": "ins_2" })).await;
    assert_eq!((result.unwrap_err().kind, bench.lines()), (ErrorKind::Rejected, vec!["GET /v1/instance".to_owned()]));
    let test = Vendor::of(3).with(|state| state.environment = "development");
    let (bench, result) = sweep(&test, json!({})).await;
    assert_eq!((result.unwrap_err().code.as_deref(), bench.lines().len()), (Some("other_instance"), 1));
    let (_, output) = sweep(&test, json!({ "expect_environment": "development" })).await;
    assert_eq!((output.unwrap().environment.as_str(), vendor.live()), ("development", before));
}

#[tokio::test]
async fn who_signs_in_meanwhile_is_found_by_another_round() {
    let vendor = Vendor::of(20);
    let mut revoked = 0;
    vendor.state().before = Some(Box::new(move |seen, state| {
        if seen.path.ends_with("/revoke") {
            revoked += 1;
            // Somebody who has been dealt with, and somebody else, sign in again.
            if revoked == 20 {
                state.sign_in(0, NOW);
                state.sign_in(19, NOW);
            }
        }
    }));
    let (bench, output) = sweep(&vendor, json!({ "at_once": 1 })).await;
    let output = output.unwrap();
    assert_eq!(vendor.live(), 0);
    assert!(output.found_later >= 1 && output.passes == 3 && output.complete, "{output:?}");
    assert!(bench.seen().iter().any(|seen| seen.query.contains("created_at_after=")));
}

#[tokio::test]
async fn who_signs_in_after_it_was_over_stays() {
    let vendor = Vendor::of(4).with(|state| state.sign_in(2, NOW + 3_600_000));
    let (_, output) = sweep(&vendor, json!({})).await;
    // The first pass ends whatever is live then; what comes an hour later is none of its business.
    assert!(output.is_ok());
    let late = Vendor::of(4);
    late.state().before = Some(Box::new(|seen, state| {
        if seen.query.contains("last_sign_in_at_after") && state.signed_in.is_empty() {
            state.sign_in(2, NOW + 3_600_000);
        }
    }));
    let (_, output) = sweep(&late, json!({})).await;
    assert_eq!((late.live(), output.unwrap().complete), (1, true));
}

#[tokio::test]
async fn what_is_gone_is_counted_apart_and_no_failure() {
    let vendor = Vendor::of(5).failing(
        "POST /v1/sessions/",
        2,
        2,
        Answer::json(404, &json!({ "errors": [{ "code": "resource_not_found" }] })),
    );
    let (_, output) = sweep(&vendor, json!({ "at_once": 1 })).await;
    let output = output.unwrap();
    assert_eq!((output.already_gone, output.failures), (1, 0));
    assert_eq!(output.sessions_found, output.revoked + 1);
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_stops_nobody_and_fails_the_step_at_the_end() {
    let vendor = Vendor::of(30).failing(
        "POST /v1/sessions/sess_00004/",
        1,
        99,
        Answer::json(409, &json!({ "errors": [{ "message": "no", "code": "conflict" }] })),
    );
    let (bench, result) = sweep(&vendor, json!({})).await;
    let error = result.unwrap_err();
    let output = outputs(&error);
    assert_eq!((vendor.live(), output.failures, output.complete), (1, 1, false));
    assert!(
        error.kind == ErrorKind::Failed && error.message.starts_with("1 could not be signed out; user_"),
        "{error}"
    );
    assert_eq!(output.failed[0].session_id.as_deref(), Some("sess_00004"));
    assert_eq!(lines(&bench, "POST /v1/sessions/sess_00004/"), 2, "tried once more at the end");
    // A repeat of the step does what is left, and nothing else.
    vendor.state().faults.clear();
    bench.lines();
    let output = RevokeAll.run(&bench.again(), params(json!({}))).await.unwrap();
    assert_eq!((vendor.live(), output.failures, output.complete), (0, 0, true));
    let asked = bench.lines();
    assert_eq!(asked.iter().filter(|line| line.as_str() == "GET /v1/users").count(), 0, "{asked:?}");
    assert_eq!(asked.iter().filter(|line| line.ends_with("/revoke")).count(), 1);
}

#[tokio::test]
async fn a_failure_that_would_meet_everybody_ends_it_at_once() {
    let refused = Answer::json(401, &json!({ "errors": [{ "code": "clerk_key_invalid" }] }));
    let vendor = Vendor::of(600).failing("POST /v1/sessions/", 10, u32::MAX, refused);
    let (bench, result) = sweep(&vendor, json!({})).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind, outputs(&error).complete), (ErrorKind::Unauthorized, false));
    assert!(lines(&bench, "POST /v1/sessions/") < 60);

    let broken = Answer::json(409, &json!({ "errors": [{ "code": "conflict" }] }));
    let vendor = Vendor::of(600).failing("POST /v1/sessions/", 1, u32::MAX, broken);
    let (bench, result) = sweep(&vendor, json!({})).await;
    assert!(result.unwrap_err().message.starts_with("50 users failed one after the other"));
    assert!(lines(&bench, "GET /v1/sessions") < 100);
}

#[tokio::test]
async fn a_refusal_for_asking_too_often_is_waited_out() {
    let vendor = Vendor::of(40).failing("POST /v1/sessions/", 5, 7, Answer::text(429, "").header("retry-after", "7"));
    let (bench, output) = sweep(&vendor, json!({ "at_once": 4 })).await;
    let output = output.unwrap();
    assert_eq!((vendor.live(), output.failures), (0, 0));
    assert!(output.seconds >= 17, "the wait, and the ten seconds after the first pass: {}", output.seconds);
    assert!(bench.said().iter().any(|line| line.contains("7s")), "{:?}", bench.said());
}

#[tokio::test]
async fn maintenance_is_waited_for_and_not_hammered() {
    let vendor = Vendor::of(40).failing("POST /v1/sessions/", 11, 30, maintenance());
    let (bench, output) = sweep(&vendor, json!({ "at_once": 8 })).await;
    let output = output.unwrap();
    assert_eq!((vendor.live(), output.failures), (0, 0));
    assert!(output.paused_seconds >= 300, "{output:?}");
    assert!(bench.said().iter().any(|line| line.contains("under maintenance")));
    // Twenty refusals, and of those at most what was under way when it began went out together.
    assert_eq!(lines(&bench, "POST /v1/sessions/"), 54 + 20);
}

#[tokio::test]
async fn a_maintenance_that_lasts_too_long_fails_and_a_repeat_goes_on() {
    let vendor = Vendor::of(700).failing("POST /v1/sessions/", 700, 900, maintenance());
    let (bench, result) = sweep(&vendor, json!({ "maintenance_patience": "5m" })).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Server, Some("maintenance_mode")));
    assert_eq!(bench.saved().last().unwrap()["after"], "user_00499");
    vendor.state().faults.clear();
    let output = RevokeAll.run(&bench.again(), params(json!({}))).await.unwrap();
    assert_eq!((vendor.live(), output.users, output.complete), (0, 700, true));
}

#[tokio::test]
async fn who_goes_on_repeats_one_page_at_most_and_counts_it_whole() {
    let vendor = Vendor::of(1600);
    let live = vendor.live() as u64;
    let refused = Answer::json(401, &json!({ "errors": [{ "code": "clerk_key_invalid" }] }));
    let vendor = vendor.failing("GET /v1/sessions", 1250, u32::MAX, refused);
    let (bench, result) = sweep(&vendor, json!({})).await;
    result.unwrap_err();
    let checkpoint = bench.saved().pop().unwrap();
    assert_eq!((&checkpoint["after"], &checkpoint["users"]), (&json!("user_00999"), &json!(1000)));
    vendor.state().faults.clear();
    bench.lines();
    let output = RevokeAll.run(&bench.again(), params(json!({}))).await.unwrap();
    let asked = bench.lines().iter().filter(|line| line.as_str() == "GET /v1/sessions").count();
    assert_eq!(asked, 600, "the users after the last whole page, each once");
    assert_eq!((vendor.live(), output.users, output.revoked), (0, 1600, live));
}

#[tokio::test]
async fn it_goes_on_only_with_the_same_instance_and_strategy() {
    let vendor = Vendor::of(3);
    let (bench, _) = sweep(&vendor, json!({})).await;
    let error = RevokeAll.run(&bench.again(), params(json!({ "strategy": "set_compromised" }))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.message.contains("by revoke, and is to go on with ins_1 by set_compromised"), "{error}");
}

#[tokio::test]
async fn the_strategy_by_passwords_asks_once_a_user_and_falls_back_for_those_without() {
    let vendor = Vendor::of(9).with(|state| state.passwordless = vec![3]);
    let (bench, output) = sweep(&vendor, json!({ "strategy": "set_compromised" })).await;
    let output = output.unwrap();
    assert_eq!((vendor.live(), output.users_signed_out, output.revoked), (0, 8, 2));
    assert_eq!(lines(&bench, "GET /v1/sessions"), 1);
}

#[tokio::test]
async fn the_fast_strategy_bans_and_unbans_and_leaves_those_alone_who_were_banned() {
    let vendor = Vendor::of(620).with(|state| state.banned[7] = true);
    let (bench, output) = sweep(&vendor, json!({ "strategy": "ban_cycle" })).await;
    let output = output.unwrap();
    assert_eq!((output.users_signed_out, output.already_banned, output.users), (619, 1, 620));
    let banned: Vec<usize> = (0..620).filter(|user| vendor.state().banned[*user]).collect();
    assert_eq!(banned, [7]);
    assert_eq!(vendor.live(), 1, "the one who was banned before was not touched");
    assert_eq!((lines(&bench, "POST /v1/users/ban"), lines(&bench, "POST /v1/users/unban")), (13, 13));
    let banning: Vec<usize> =
        bench.saved().iter().map(|saved| saved["banning"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(banning[..4], [0, 499, 0, 120]);
}

#[tokio::test]
async fn a_failure_between_ban_and_unban_leaves_nobody_banned() {
    let conflict = Answer::json(409, &json!({ "errors": [{ "code": "conflict" }] }));
    let vendor = Vendor::of(120).failing("POST /v1/users/unban", 1, 2, conflict.clone());
    let (bench, result) = sweep(&vendor, json!({ "strategy": "ban_cycle" })).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Rejected);
    assert!(!vendor.state().banned.contains(&true), "put right before the step ends");
    assert!(bench.saved().last().unwrap().get("banning").is_none());

    // It cannot be put right: the checkpoint says who, and an undo or a repeat does it.
    for repeat in [false, true] {
        let vendor = Vendor::of(120).failing("POST /v1/users/unban", 1, u32::MAX, conflict.clone());
        let (bench, result) = sweep(&vendor, json!({ "strategy": "ban_cycle" })).await;
        let error = result.unwrap_err();
        assert!(error.message.contains("a repeat or an undo of this step lifts them"), "{error}");
        assert!(vendor.state().banned.contains(&true));
        assert_eq!(bench.saved().last().unwrap()["banning"].as_array().unwrap().len(), 120);
        vendor.state().faults.clear();
        if repeat {
            let output = RevokeAll.run(&bench.again(), params(json!({ "strategy": "ban_cycle" }))).await.unwrap();
            assert_eq!((output.users_signed_out, vendor.live()), (120, 0));
        } else {
            let done = Done { output: None, checkpoint: bench.saved().pop() };
            let undone = RevokeAll.undo(&bench.cx(), params(json!({ "strategy": "ban_cycle" })), done).await.unwrap();
            assert_eq!(undone.summary, "lifted the bans of up to 120 users");
        }
        assert!(!vendor.state().banned.contains(&true), "{repeat}");
    }
}

#[tokio::test]
async fn a_cancelled_run_leaves_nobody_banned() {
    let vendor = Vendor::of(120);
    let bench = vendor.bench().await;
    let cancel = bench.cancel.clone();
    vendor.state().before = Some(Box::new(move |seen, _| {
        if seen.path.ends_with("/users/ban") {
            cancel.cancel();
        }
    }));
    let error = RevokeAll.run(&bench.cx(), params(json!({ "strategy": "ban_cycle" }))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(!vendor.state().banned.contains(&true));
    assert!(bench.saved().last().unwrap().get("banning").is_none());
}

#[tokio::test]
async fn a_plan_without_bans_is_explained_and_a_user_who_is_gone_stops_no_bulk() {
    let poor = Vendor::of(3).failing("POST /v1/users/ban", 1, 9, Answer::text(402, ""));
    let (_, result) = sweep(&poor, json!({ "strategy": "ban_cycle" })).await;
    assert!(result.unwrap_err().message.contains("take the strategy `revoke`"));
    let vendor = Vendor::of(3).failing("POST /v1/users/ban", 1, 1, Answer::text(400, ""));
    let (bench, output) = sweep(&vendor, json!({ "strategy": "ban_cycle" })).await;
    assert_eq!((output.unwrap().users_signed_out, vendor.live()), (3, 0));
    assert_eq!(lines(&bench, "POST /v1/users/user_0000"), 3);
}

#[tokio::test]
async fn an_undo_says_what_no_undo_brings_back() {
    let vendor = Vendor::of(3);
    let (bench, _) = sweep(&vendor, json!({})).await;
    let done = Done { output: None, checkpoint: bench.saved().pop() };
    bench.lines();
    let undone = RevokeAll.undo(&bench.cx(), params(json!({})), done).await.unwrap();
    assert_eq!(undone.left, ["the sessions that were ended; people sign in again"]);
    let nothing =
        RevokeAll.undo(&bench.cx(), params(json!({})), Done { output: None, checkpoint: None }).await.unwrap();
    assert_eq!((nothing.left.len(), bench.lines().len()), (0, 0));
}

#[tokio::test]
async fn verifying_everybody_looks_at_everybody_once_more() {
    let vendor = Vendor::of(12);
    let (bench, output) = sweep(&vendor, json!({ "verify": "everybody" })).await;
    assert_eq!((output.unwrap().passes, lines(&bench, "GET /v1/sessions")), (3, 24));
}

#[tokio::test]
async fn a_first_answer_that_is_a_fault_has_its_kind_and_ends_nothing() {
    for (answer, kind) in faults() {
        let told = format!("{answer:?}");
        let vendor = Vendor::of(3).failing("GET /v1/instance", 1, 99, answer);
        let (bench, result) = sweep(&vendor, json!({})).await;
        assert_eq!((result.unwrap_err().kind, bench.lines().len()), (kind, 1), "{told}");
    }
    let error = RevokeAll.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Network);
}

#[tokio::test]
async fn each_fault_of_a_revocation_is_repeated_by_its_class() {
    let cases = [
        (Answer::text(500, "boom"), 5, ErrorKind::Server),
        (Answer::html(502), 5, ErrorKind::Server),
        (Answer::text(429, "").header("retry-after", "1"), 5, ErrorKind::RateLimited),
        (Answer::json(400, &json!({ "errors": [{ "code": "x" }] })), 1, ErrorKind::Rejected),
        (Answer::html(200), 1, ErrorKind::InvalidResponse),
        (Answer::json(200, &json!({ "id": "sess_00001", "status": "active" })), 1, ErrorKind::Failed),
    ];
    for (answer, tries, kind) in cases {
        let told = format!("{answer:?}");
        let vendor = Vendor::of(2).failing("POST /v1/sessions/sess_00001", 1, u32::MAX, answer);
        let (bench, result) = sweep(&vendor, json!({})).await;
        let output = outputs(&result.unwrap_err());
        assert_eq!((output.failures, output.failed[0].kind), (1, kind), "{told}");
        // Once in its turn and once more at the end.
        assert_eq!(lines(&bench, "POST /v1/sessions/sess_00001"), 2 * tries, "{told}");
    }
}

#[tokio::test]
async fn one_user_is_signed_out_by_itself() {
    let vendor = Vendor::of(4);
    let bench = vendor.bench().await;
    let one = |user: &str| serde_json::from_value(json!({ "user_id": user })).unwrap();
    let output = RevokeUser.run(&bench.cx(), one("user_00003")).await.unwrap();
    assert_eq!((output.revoked, output.already_gone, output.residual_seconds), (2, 0, Some(60)));
    let again = RevokeUser.run(&bench.cx(), one("user_00003")).await.unwrap();
    assert_eq!((again.revoked, vendor.live()), (0, 4));
    let conflict = Answer::json(409, &json!({ "errors": [{ "code": "conflict" }] }));
    let vendor = Vendor::of(1).failing("POST /v1/sessions/sess_00001", 1, 9, conflict);
    let error = RevokeUser.run(&vendor.bench().await.cx(), one("user_00000")).await.unwrap_err();
    assert_eq!((error.kind, error.outputs.unwrap()["revoked"].clone()), (ErrorKind::Rejected, json!(1)));
    let error = RevokeUser.run(&Vendor::of(1).bench().await.cx(), one("../users")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidParams);
}

#[tokio::test]
async fn a_count_tells_what_there_is_and_what_ending_it_takes() {
    let vendor = Vendor::of(1000).with(|state| state.templates = vec![300]);
    let count = |more: Value| serde_json::from_value::<ClerkSessionsCountParams>(more).unwrap();
    let bench = vendor.bench().await;
    let all = Count.run(&bench.cx(), count(json!({ "everybody": true, "share": "95%" }))).await.unwrap();
    assert_eq!((all.users, all.looked_at, all.sessions, all.exact), (1000, 1000, 1334, true));
    assert_eq!((all.pending, all.residual_seconds), (334, 300));
    assert_eq!(all.costs.revoke.requests, 3 + 1000 + 1334);
    assert_eq!(all.costs.ban_cycle.takes.to_string(), "1s");
    bench.lines();
    let some = Count.run(&bench.cx(), count(json!({ "sample": 60, "except": ["user_00000"] }))).await.unwrap();
    assert_eq!((some.looked_at, some.exact, bench.lines().len()), (59, false, 4 + 59));
    assert!((1250..1400).contains(&some.sessions), "{}", some.sessions);
    let none = Count.run(&bench.cx(), count(json!({ "sample": 0 }))).await.unwrap();
    assert_eq!((none.looked_at, none.sessions), (0, 1000));
}

#[tokio::test]
async fn a_count_after_a_sweep_finds_only_what_came_later() {
    let vendor = Vendor::of(30);
    let (_, output) = sweep(&vendor, json!({})).await;
    let up_to = output.unwrap().up_to.unwrap();
    vendor.state().sign_in(3, NOW + 86_400_000);
    let count = |more: Value| serde_json::from_value::<ClerkSessionsCountParams>(more).unwrap();
    let bench = vendor.bench().await;
    let found = Count.run(&bench.cx(), count(json!({ "opened_up_to": up_to }))).await.unwrap();
    assert_eq!((found.live, found.opened_in_time, found.still_signed_in.len()), (1, 0, 0));
    vendor.state().sign_in(4, NOW - 1);
    let found = Count.run(&bench.cx(), count(json!({ "opened_up_to": up_to }))).await.unwrap();
    assert_eq!((found.opened_in_time, found.still_signed_in), (1, vec!["user_00004".to_owned()]));
    let error = Count.run(&bench.cx(), count(json!({ "opened_up_to": "now" }))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidParams);
}
