//! Setting variables, and putting back what was there.

use super::super::super::super::testing::{Answer, Bench, faults};
use super::super::tests::{World, row};
use super::*;

fn params(more: Value) -> VercelEnvSetParams {
    let mut params = json!({ "project": "shop", "values": { "MODE": "grace", "N": 7 } });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(params).unwrap()
}

fn done(bench: &Bench) -> Done<VercelEnvSetOutput> {
    let output = VercelEnvSetOutput {
        set: Vec::new(),
        created: Vec::new(),
        updated: Vec::new(),
        unreadable: Vec::new(),
        managed: Vec::new(),
    };
    Done { output: Some(output), checkpoint: bench.saved().pop() }
}

#[tokio::test]
async fn sets_what_is_new_and_what_is_there_and_puts_both_back() {
    let world = World::of(vec![row("a", "MODE", "off", &["production"]), row("b", "N", "1", &["preview"])]);
    let before = world.shown();
    let bench = world.bench().await;
    let output = EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap();
    assert_eq!((output.created, output.updated), (vec!["N".to_owned()], vec!["MODE".to_owned()]));
    assert_eq!(world.shown(), ["MODE=grace production", "N=1 preview", "N=7 production"]);
    assert_eq!(bench.saved()[0]["prior"]["MODE"][0]["value"], "off");
    assert_eq!(bench.saved()[0]["prior"]["N"], json!([]));
    let undone = EnvSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
    assert_eq!((undone.summary.as_str(), undone.left.len()), ("restored MODE, removed N", 0));
    assert_eq!(world.shown(), before);
    let again = EnvSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
    assert_eq!(again.summary, "restored MODE, N was gone already");
}

#[tokio::test]
async fn other_environments_keep_what_they_have() {
    let world = World::of(vec![row("a", "MODE", "off", &["production", "preview"])]);
    let before = world.shown();
    let bench = world.bench().await;
    EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap();
    assert_eq!(world.shown(), ["MODE=grace production", "MODE=off preview", "N=7 production"]);
    EnvSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
    assert_eq!(world.shown(), before);
}

#[tokio::test]
async fn a_repeat_trusts_the_first_record_and_writes_only_what_is_missing() {
    let world = World::of(vec![row("a", "MODE", "off", &["production"])]);
    world.writes.lock().unwrap().extend([Answer::json(200, &json!({})), Answer::text(500, "")]);
    let bench = world.bench().await;
    assert_eq!(EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Server);
    world.rows.lock().unwrap()[0]["value"] = json!("grace");
    bench.lines();
    let output = EnvSet.run(&bench.again(), params(json!({}))).await.unwrap();
    assert_eq!((output.created, output.updated), (vec!["N".to_owned()], vec!["MODE".to_owned()]));
    assert!(!bench.lines().iter().any(|line| line.starts_with("PATCH")));
    assert_eq!((bench.saved().len(), &bench.saved()[0]["prior"]["MODE"][0]["value"]), (1, &json!("off")));
}

#[tokio::test]
async fn what_could_not_be_restored_is_refused_unless_told_otherwise() {
    let mut sensitive = row("a", "MODE", "off", &["production"]);
    sensitive["type"] = json!("sensitive");
    let mut managed = row("a", "MODE", "off", &["production"]);
    managed["configurationId"] = json!("icfg_1");
    for kept in [sensitive, managed] {
        let world = World::of(vec![kept]);
        let bench = world.bench().await;
        let error = EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert!(error.kind == ErrorKind::Rejected && error.message.contains("overwrite_unreadable"), "{error}");
        assert!(bench.lines().iter().all(|line| line.starts_with("GET")) && bench.saved().is_empty());
        EnvSet.run(&bench.cx(), params(json!({ "overwrite_unreadable": true }))).await.unwrap();
        assert!(world.shown().contains(&"MODE=grace production".to_owned()));
    }
}

#[tokio::test]
async fn an_undo_names_what_it_cannot_put_back() {
    let mut sensitive = row("a", "MODE", "off", &["production"]);
    sensitive["type"] = json!("sensitive");
    let world = World::of(vec![sensitive]);
    let bench = world.bench().await;
    EnvSet.run(&bench.cx(), params(json!({ "overwrite_unreadable": true }))).await.unwrap();
    assert!(!bench.saved()[0].to_string().contains("off"));
    let undone = EnvSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
    assert_eq!(undone.left, ["the former value of MODE could not be read and so is not put back"]);
}

#[tokio::test]
async fn a_key_that_was_there_before_is_recorded_by_name_and_restored_by_value() {
    let world = World::of(vec![row("a", "MODE", "vc_0123456789", &["production"])]);
    let bench = world.bench().await;
    EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap();
    assert!(!bench.saved()[0].to_string().contains("vc_0123456789"));
    EnvSet.undo(&bench.cx(), params(json!({})), done(&bench)).await.unwrap();
    assert_eq!(world.shown(), ["MODE=vc_0123456789 production"]);
}

#[tokio::test]
async fn a_201_that_failed_is_a_failure() {
    let world = World::default();
    let failed = json!({ "created": [], "failed": [
        { "error": { "code": "RESERVED_ENV_VARIABLE", "message": "reserved", "key": "MODE" } },
        { "error": { "code": "ENV_CONFLICT", "message": "exists", "key": "N" } },
    ] });
    world.writes.lock().unwrap().push(Answer::json(201, &failed));
    let error = EnvSet.run(&world.bench().await.cx(), params(json!({}))).await.unwrap_err();
    let told = "Vercel refused MODE: reserved (code `RESERVED_ENV_VARIABLE`); N: exists (code `ENV_CONFLICT`)";
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Rejected, told));
}

#[tokio::test]
async fn every_fault_has_its_kind() {
    for (answer, kind) in faults() {
        let told = format!("{answer:?}");
        let bench = Bench::with(move |_| answer.clone()).await;
        assert_eq!(EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
    }
    let bench = Bench::hanging_up().await;
    assert_eq!(EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    for target in [json!([]), json!(["production", "development"])] {
        let wrong = params(json!({ "type": "sensitive", "target": target }));
        assert_eq!(EnvSet.run(&Bench::new().cx(), wrong).await.unwrap_err().kind, ErrorKind::InvalidParams);
    }
    for values in [json!({ "A-B": "" }), json!({ "1A": "" }), json!({ "": "" }), json!({})] {
        let error = EnvSet.run(&Bench::new().cx(), params(json!({ "values": values }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParams);
    }
    let wrong = params(json!({ "type": "sensitive", "target": "development" }));
    assert_eq!(EnvSet.run(&Bench::new().cx(), wrong).await.unwrap_err().kind, ErrorKind::InvalidParams);
}

#[tokio::test]
async fn several_environments_at_once_keep_rows_whole_and_go_back() {
    let rows =
        vec![row("a", "MODE", "off", &["production", "preview"]), row("b", "N", "1", &["preview", "development"])];
    let world = World::of(rows);
    let before = world.shown();
    let bench = world.bench().await;
    let both = || params(json!({ "target": ["production", "preview"] }));
    EnvSet.run(&bench.cx(), both()).await.unwrap();
    let after = ["MODE=grace production,preview", "N=1 development", "N=7 production,preview"];
    assert_eq!(world.shown(), after);
    let patched = bench.seen().into_iter().find(|seen| seen.line().ends_with("/env/a") && seen.method == "PATCH");
    assert_eq!(patched.unwrap().body, json!({ "value": "grace" }), "a row that is wholly meant stays one row");
    EnvSet.run(&bench.again(), both()).await.unwrap();
    assert_eq!(world.shown(), after, "a repeat comes to the same");
    let undone = EnvSet.undo(&bench.cx(), both(), done(&bench)).await.unwrap();
    assert_eq!((undone.left.len(), world.shown()), (0, before));
}

#[tokio::test]
async fn wherever_it_is_means_every_row_and_no_new_one() {
    let mut branch = row("b", "MODE", "old", &["preview"]);
    branch["gitBranch"] = json!("next");
    let mut dev = row("c", "MODE", "old", &["development"]);
    dev["type"] = json!("plain");
    let rows = vec![row("a", "MODE", "old", &["production"]), branch, dev, row("d", "N", "1", &["preview"])];
    let world = World::of(rows);
    let before = world.shown();
    let bench = world.bench().await;
    let everywhere = || params(json!({ "target": "existing" }));
    EnvSet.run(&bench.cx(), everywhere()).await.unwrap();
    let after = ["MODE=grace development", "MODE=grace preview", "MODE=grace production", "N=7 preview"];
    assert_eq!(world.shown(), after);
    assert!(!bench.lines().iter().any(|line| line.starts_with("POST")));
    EnvSet.undo(&bench.cx(), everywhere(), done(&bench)).await.unwrap();
    assert_eq!(world.shown(), before);

    let world = World::of(vec![row("d", "N", "1", &["preview"])]);
    let bench = world.bench().await;
    let error = EnvSet.run(&bench.cx(), everywhere()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Rejected, "MODE exists in no environment; name the ones it is for in `target`",)
    );
    assert!(bench.lines().iter().all(|line| line.starts_with("GET")) && bench.saved().is_empty());
}

#[tokio::test]
async fn what_a_policy_made_unreadable_is_told() {
    let world = World::default();
    let made = json!({ "created": [{ "id": "n", "key": "MODE", "type": "sensitive", "target": ["production"] }], "failed": [] });
    world.writes.lock().unwrap().push(Answer::json(201, &made));
    let output = EnvSet.run(&world.bench().await.cx(), params(json!({}))).await.unwrap();
    assert_eq!((output.unreadable, output.managed.len()), (vec!["MODE".to_owned()], 0));
}

#[tokio::test]
async fn an_integrations_row_that_vercel_keeps_for_it_says_whose_it_is() {
    let mut managed = row("a", "MODE", "off", &["production"]);
    managed["configurationId"] = json!("icfg_1");
    let world = World::of(vec![managed]);
    world.writes.lock().unwrap().push(Answer::json(403, &json!({ "error": { "code": "forbidden", "message": "no" } })));
    let wanted = params(json!({ "overwrite_unreadable": true }));
    let bench = world.bench().await;
    let error = EnvSet.run(&bench.cx(), wanted.clone()).await.unwrap_err();
    assert!(error.kind == ErrorKind::Rejected && error.message.contains("written by an integration"), "{error}");
    let output = EnvSet.run(&bench.again(), wanted).await.unwrap();
    assert_eq!(output.managed, ["MODE"], "where it is taken, the integration may still overwrite it");
}

#[tokio::test]
async fn a_checkpoint_of_an_older_version_is_still_understood() {
    let world = World::of(vec![row("a", "MODE", "grace", &["production"]), row("b", "N", "7", &["production"])]);
    let old = json!({ "prior": {
        "MODE": { "id": "a", "type": "encrypted", "targets": ["production"], "shared": false, "value": "off" },
        "N": null,
    } });
    let bench = world.bench().await;
    let done = Done { output: None, checkpoint: Some(old) };
    let undone = EnvSet.undo(&bench.cx(), params(json!({})), done).await.unwrap();
    assert_eq!(
        (undone.summary.as_str(), world.shown()),
        ("restored MODE, removed N", vec!["MODE=off production".to_owned()])
    );
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_it_open_whether_it_was_set() {
    let world = World::of(vec![row("a", "MODE", "off", &["production"])]);
    world.writes.lock().unwrap().push(Answer::text(200, "{\"id\":"));
    let error = EnvSet.run(&world.bench().await.cx(), params(json!({}))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidResponse);
    let bench = Bench::hanging_up().await;
    let error = EnvSet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
    assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
}

#[test]
fn says_what_it_will_do() {
    let intents = EnvSet.describe(&params(json!({ "target": "existing" })));
    assert!(!format!("{intents:?}").contains("POST"), "{intents:?}");
    let intents = EnvSet.describe(&params(json!({ "values": { "MODE": true }, "team": "acme" })));
    let body = json!([{ "key": "MODE", "value": "true", "type": "encrypted", "target": ["production"] }]);
    let url = "https://api.vercel.com/v10/projects/shop/env?slug=acme&upsert=true";
    assert!(intents.contains(&Intent::request_with("POST", url, body)));
    let url = "https://api.vercel.com/v9/projects/shop/env/:id?slug=acme";
    assert!(intents.contains(&Intent::request_with("PATCH", url, json!({ "value": "true" }))));
}
