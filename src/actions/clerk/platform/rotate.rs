//! `clerk.platform.rotate_secret_key`: makes a new secret key for one instance. The most dangerous write there is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::default_timeout;
use super::{
    ToldInstance, application_is_seen, application_path, default_secret, fingerprint, platform, read_request, told,
};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Probed, Replay};
use crate::base::{HumanDuration, Secret, Timestamp, clock};
use crate::http::{Request, path_segment};

/// Between the looks of a probe: a request that was cut off may still be under way.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(10)];

/// Rotates the secret key of one instance through the Platform API. The old keys, every one of them, work on for
/// `grace_hours` and are then deleted. The new key is given to later steps as a secret of the run. Rotating twice would
/// throw away the key that was made first, so it is never repeated before a look at the key's fingerprint.
#[derive(Debug)]
pub struct RotateSecretKey;

/// Which key, and how long the old one may live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkPlatformRotateSecretKeyParams {
    /// The application's id, `app_…`.
    pub application: String,
    /// The instance: `production`, `development`, or its id `ins_…`. Other instances keep their keys.
    #[serde(default = "default_instance")]
    pub instance: String,
    /// For how many hours the old keys work on beside the new one. `0` ends them at once: for a leaked key, whose grace
    /// would be the thief's as well; the application's calls to Clerk then fail until it has the new key.
    pub grace_hours: u32,
    /// Why, for Clerk's own records.
    pub reason: String,
    /// The name of the secret that holds a Platform API key (`ak_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// The rotation. The new key itself is no output: see `secrets.NAME.step`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkPlatformRotateSecretKeyOutput {
    /// The application's id.
    pub application: String,
    /// The instance's id, `ins_…`.
    pub instance: String,
    /// `production` or `development`.
    pub environment: String,
    /// The fingerprint of the key from before: the first twelve hexadecimal digits of its SHA-256.
    pub fingerprint_before: String,
    /// The fingerprint of the new key.
    pub fingerprint: String,
    /// For how many hours the old keys work on.
    pub grace_hours: u32,
    /// When they are deleted, as far as is known here.
    pub old_keys_until: String,
}

/// What was so before the act; with it a later look can tell whether the act happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    instance: String,
    fingerprint: String,
    at: Timestamp,
}

fn default_instance() -> String {
    "production".to_owned()
}

impl ClerkPlatformRotateSecretKeyParams {
    fn read(&self) -> Result<Request, ActionError> {
        read_request(&self.application, true, self.timeout)
    }

    fn rotate(&self, instance: &str) -> Result<Request, ActionError> {
        let segment = path_segment(instance)
            .ok_or_else(|| ActionError::invalid_params(format!("`{instance}` is no instance of an application")))?;
        let path = format!("{}/instances/{segment}/rotate_secret_keys", application_path(&self.application)?);
        // The hours are always said: what leaving them out means is not documented.
        let body = json!({ "delay_old_secrets_expiration_hours": self.grace_hours, "reason": self.reason });
        Ok(platform("POST", &path, self.timeout).json(body))
    }

    fn output(&self, before: &Before, now: &ToldInstance, key: &str) -> ClerkPlatformRotateSecretKeyOutput {
        let grace = Duration::from_secs(u64::from(self.grace_hours) * 3600);
        ClerkPlatformRotateSecretKeyOutput {
            application: self.application.clone(),
            instance: now.instance_id.clone(),
            environment: now.environment_type.clone(),
            fingerprint_before: before.fingerprint.clone(),
            fingerprint: fingerprint(key),
            grace_hours: self.grace_hours,
            old_keys_until: clock::after(before.at, grace).to_string(),
        }
    }
}

impl Before {
    fn read(checkpoint: &Value) -> Result<Self, ActionError> {
        Self::deserialize(checkpoint)
            .map_err(|error| ActionError::new(ErrorKind::Internal, format!("the checkpoint cannot be read: {error}")))
    }

    /// The output and the key of the rotation, if the instance has another key now.
    async fn rotated(
        &self,
        cx: &ActionContext,
        params: &ClerkPlatformRotateSecretKeyParams,
    ) -> Result<Option<ClerkPlatformRotateSecretKeyOutput>, ActionError> {
        let found = told(cx, params.read()?, &params.secret).await?;
        let now = found.instance(&self.instance)?;
        let key = now.key()?;
        if fingerprint(key) == self.fingerprint {
            return Ok(None);
        }
        cx.deliver(Secret::new(key.to_owned()));
        Ok(Some(params.output(self, now, key)))
    }
}

impl Action for RotateSecretKey {
    const NAME: &'static str = "clerk.platform.rotate_secret_key";
    const SUMMARY: &'static str = "Makes a new secret key for one instance, and lets the old ones end.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Probe;
    const SECRETS: &'static [&'static str] = &["clerk_platform"];
    const GIVES: Option<&'static str> = Some("the new secret key");
    type Params = ClerkPlatformRotateSecretKeyParams;
    type Output = ClerkPlatformRotateSecretKeyOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkPlatformRotateSecretKeyParams,
    ) -> Result<ClerkPlatformRotateSecretKeyOutput, ActionError> {
        if params.reason.trim().is_empty() {
            return Err(ActionError::invalid_params("`reason` is empty; say why the key is rotated"));
        }
        let before = match cx.checkpoint() {
            // An earlier try may have done it: its key is looked for before another is made.
            Some(checkpoint) => {
                let before = Before::read(checkpoint)?;
                if let Some(output) = before.rotated(cx, &params).await? {
                    return Ok(output);
                }
                before
            }
            None => {
                let found = told(cx, params.read()?, &params.secret).await?;
                let instance = found.instance(&params.instance)?;
                let before = Before {
                    instance: instance.instance_id.clone(),
                    fingerprint: fingerprint(instance.key()?),
                    at: cx.now(),
                };
                cx.save_checkpoint(json!(before)).await?;
                before
            }
        };
        let answer = told(cx, params.rotate(&before.instance)?, &params.secret).await;
        let answer = answer.map_err(|error| match error.kind {
            // Broken on the way back, or a page where data was promised: a key may have been made all the same.
            ErrorKind::Server | ErrorKind::InvalidResponse => error.uncertain(),
            _ => error,
        })?;
        let now = answer.instance(&before.instance).map_err(ActionError::uncertain)?;
        let key = now.key().map_err(ActionError::uncertain)?;
        cx.deliver(Secret::new(key.to_owned()));
        Ok(params.output(&before, now, key))
    }

    async fn probe(
        &self,
        cx: &ActionContext,
        params: ClerkPlatformRotateSecretKeyParams,
    ) -> Result<Probed<ClerkPlatformRotateSecretKeyOutput>, ActionError> {
        // The checkpoint is saved before anything is sent.
        let Some(checkpoint) = cx.checkpoint() else { return Ok(Probed::DidNotHappen) };
        let before = Before::read(checkpoint)?;
        let mut waits = LOOK_AGAIN.into_iter();
        loop {
            if let Some(output) = before.rotated(cx, &params).await? {
                return Ok(Probed::Happened(output));
            }
            let Some(wait) = waits.next() else { return Ok(Probed::DidNotHappen) };
            cx.sleep(wait).await?;
        }
    }

    async fn recall(
        &self,
        cx: &ActionContext,
        params: ClerkPlatformRotateSecretKeyParams,
        output: ClerkPlatformRotateSecretKeyOutput,
    ) -> Result<Secret, ActionError> {
        let found = told(cx, params.read()?, &params.secret).await?;
        let key = found.instance(&output.instance)?.key()?;
        if fingerprint(key) == output.fingerprint {
            return Ok(Secret::new(key.to_owned()));
        }
        let message = format!(
            "instance {} has another secret key ({}) than the one that was made ({}): it was rotated again meanwhile",
            output.instance,
            fingerprint(key),
            output.fingerprint
        );
        Err(ActionError::new(ErrorKind::Secret, message))
    }

    fn describe(&self, params: &ClerkPlatformRotateSecretKeyParams) -> Vec<Intent> {
        let old = match params.grace_hours {
            0 => "the old keys, every one of them, end at once".to_owned(),
            hours => format!("the old keys, every one of them, end after {hours}h"),
        };
        let mut intents: Vec<Intent> = params.read().iter().map(Intent::from).collect();
        intents.push(Intent::note("keeps the fingerprint of the present key in the run log"));
        intents.extend(params.rotate(&params.instance).iter().map(Intent::from));
        intents.push(Intent::note(old));
        intents
    }

    fn needs(&self, params: &ClerkPlatformRotateSecretKeyParams) -> Vec<Need> {
        application_is_seen(&params.application, &params.secret, params.timeout).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, Seen, faults};
    use super::super::tests::{NEW, OLD, application};
    use super::*;
    use std::sync::{Arc, Mutex};

    fn params(more: Value) -> ClerkPlatformRotateSecretKeyParams {
        let mut params = json!({ "application": "app_1", "grace_hours": 1, "reason": "it leaked" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    /// A vendor that rotates, and answers the rotation with what `answered` says; nothing is said to have been lost.
    async fn vendor(answered: impl Fn(&Value) -> Answer + Send + 'static) -> (Bench, Arc<Mutex<String>>) {
        let key = Arc::new(Mutex::new(OLD.to_owned()));
        let held = Arc::clone(&key);
        let bench = Bench::with(move |seen: &Seen| {
            let mut key = held.lock().unwrap();
            if seen.method == "GET" {
                return Answer::json(200, &application(&key));
            }
            let mut told = json!({ "application_id": "app_1", "name": "Shop", "instances": [
                { "instance_id": "ins_1", "environment_type": "production", "secret_key": NEW },
            ] });
            let answer = answered(&told);
            if !matches!(&answer, Answer::Whole { status: 400..=499, .. }) {
                *key = NEW.to_owned();
            }
            told.take();
            answer
        })
        .await;
        (bench, key)
    }

    const READ: &str = "GET /v1/platform/applications/app_1";
    const ROTATE: &str = "POST /v1/platform/applications/app_1/instances/ins_1/rotate_secret_keys";

    #[tokio::test]
    async fn rotates_one_instance_and_delivers_the_key_but_shows_it_nowhere() {
        let (bench, _) = vendor(|told| Answer::json(200, told)).await;
        let cx = bench.cx();
        let output = RotateSecretKey.run(&cx, params(json!({}))).await.unwrap();
        assert_eq!(output.fingerprint_before, fingerprint(OLD));
        assert_eq!(output.fingerprint, fingerprint(NEW));
        assert_eq!(output.old_keys_until, "2026-11-23T04:00:00Z");
        assert_eq!((output.instance.as_str(), output.environment.as_str()), ("ins_1", "production"));
        assert_eq!(cx.delivered().unwrap().expose(), NEW);
        let shown = format!("{} {:?} {:?}", json!(output), bench.saved(), bench.said());
        assert!(!shown.contains("sk_"), "{shown}");
        assert_eq!(bench.mask(&format!("{OLD} {NEW}")), "*** ***");
        let seen = bench.seen();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), [READ, ROTATE]);
        assert_eq!(seen[1].body, json!({ "delay_old_secrets_expiration_hours": 1, "reason": "it leaked" }));
        assert_eq!(bench.saved()[0]["fingerprint"], fingerprint(OLD));
    }

    #[tokio::test]
    async fn an_answer_that_never_came_is_in_doubt_and_the_probe_finds_the_key() {
        for answer in [Answer::Never, Answer::text(500, "boom"), Answer::html(200), Answer::json(200, &json!([]))] {
            let (bench, _) = vendor(move |_| answer.clone()).await;
            let lost = RotateSecretKey.run(&bench.cx(), params(json!({ "timeout": "300ms" }))).await.unwrap_err();
            assert!(lost.uncertain, "{lost}");
            bench.lines();
            let cx = bench.again();
            let Ok(Probed::Happened(output)) = RotateSecretKey.probe(&cx, params(json!({}))).await else { panic!() };
            assert_eq!((output.fingerprint, output.fingerprint_before), (fingerprint(NEW), fingerprint(OLD)));
            assert_eq!(cx.delivered().unwrap().expose(), NEW);
            assert_eq!(bench.lines(), [READ], "nothing is rotated by a look");
            // Whoever says `again` all the same gets the key that is there, not another.
            let output = RotateSecretKey.run(&bench.again(), params(json!({}))).await.unwrap();
            assert_eq!((output.fingerprint, bench.lines()), (fingerprint(NEW), vec![READ.to_owned()]));
        }
    }

    #[tokio::test]
    async fn what_did_not_happen_is_looked_for_more_than_once_and_then_done() {
        let (bench, key) = vendor(|told| Answer::json(200, told)).await;
        RotateSecretKey.run(&bench.cx(), params(json!({}))).await.unwrap();
        OLD.clone_into(&mut key.lock().unwrap());
        bench.lines();
        let found = RotateSecretKey.probe(&bench.again(), params(json!({}))).await.unwrap();
        assert_eq!(found, Probed::DidNotHappen);
        assert_eq!(bench.lines(), [READ, READ, READ]);
        RotateSecretKey.run(&bench.again(), params(json!({}))).await.unwrap();
        assert_eq!(bench.lines(), [READ, ROTATE]);
        assert_eq!(bench.saved().len(), 1, "the fingerprint from before the first try is the one that counts");
        let nothing_sent = RotateSecretKey.probe(&Bench::new().cx(), params(json!({}))).await.unwrap();
        assert_eq!(nothing_sent, Probed::DidNotHappen);
    }

    #[tokio::test]
    async fn the_key_is_found_again_by_its_fingerprint_or_not_at_all() {
        let (bench, key) = vendor(|told| Answer::json(200, told)).await;
        let output = RotateSecretKey.run(&bench.cx(), params(json!({}))).await.unwrap();
        let recalled = RotateSecretKey.recall(&bench.cx(), params(json!({})), output.clone()).await.unwrap();
        assert_eq!(recalled.expose(), NEW);
        "sk_live_another".clone_into(&mut key.lock().unwrap());
        let error = RotateSecretKey.recall(&bench.cx(), params(json!({})), output).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Secret);
        assert!(error.message.contains("rotated again meanwhile") && !error.message.contains("sk_"), "{error}");
    }

    #[tokio::test]
    async fn every_fault_of_the_look_and_of_the_act_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let first = answer.clone();
            let bench = Bench::with(move |_| first.clone()).await;
            let error = RotateSecretKey.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, error.uncertain, bench.lines()), (kind, false, vec![READ.to_owned()]), "{told}");
            let (bench, _) = vendor(move |_| answer.clone()).await;
            let error = RotateSecretKey.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            let in_doubt = matches!(kind, ErrorKind::Server | ErrorKind::InvalidResponse);
            assert_eq!((error.kind, error.uncertain), (kind, in_doubt), "{told}");
            assert_eq!(bench.lines(), [READ, ROTATE], "never twice");
        }
        let error = RotateSecretKey.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Network);
    }

    #[tokio::test]
    async fn what_cannot_be_meant_is_refused_before_anything_is_rotated() {
        let (bench, _) = vendor(|told| Answer::json(200, told)).await;
        for (wrong, kind) in [
            (json!({ "instance": "staging" }), ErrorKind::Rejected),
            (json!({ "application": ".." }), ErrorKind::InvalidParams),
            (json!({ "reason": " " }), ErrorKind::InvalidParams),
        ] {
            assert_eq!(RotateSecretKey.run(&bench.cx(), params(wrong)).await.unwrap_err().kind, kind);
        }
        assert!(!bench.lines().contains(&ROTATE.to_owned()));
    }

    #[test]
    fn says_what_it_will_do() {
        let intents = RotateSecretKey.describe(&params(json!({ "grace_hours": 0 })));
        let url = "https://api.clerk.com/v1/platform/applications/app_1/instances/production/rotate_secret_keys";
        let body = json!({ "delay_old_secrets_expiration_hours": 0, "reason": "it leaked" });
        assert!(intents.contains(&Intent::request_with("POST", url, body)));
        assert!(intents.contains(&Intent::note("the old keys, every one of them, end at once")));
    }
}
