//! `svix.endpoint.enable`: lets Svix send to an endpoint again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Place, Svix, SvixRegion, check_id, default_secret, default_timeout};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};
use crate::base::HumanDuration;
use crate::http::path_segment;

/// Enables an endpoint. Nothing that it missed is sent by that: see `svix.recover` and `svix.replay_missing`.
#[derive(Debug)]
pub struct EndpointEnable;

/// Which endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixEndpointEnableParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// The endpoint, by id (`ep_…`) or uid.
    pub endpoint: String,
    /// Where the account lives; the key's ending tells it, unless it is an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<SvixRegion>,
    /// The name of the secret that holds a key of Svix.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixEndpointEnableOutput {
    /// Its address.
    pub url: String,
    /// Was it disabled before?
    pub was_disabled: bool,
}

/// How it was before the first try.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Prior {
    was_disabled: bool,
}

/// Svix's own words.
#[derive(Deserialize)]
struct Row {
    url: String,
    #[serde(default)]
    disabled: bool,
}

impl SvixEndpointEnableParams {
    fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }

    fn path(&self) -> String {
        format!("/endpoint/{}", path_segment(&self.endpoint).unwrap_or_default())
    }
}

fn read_prior(checkpoint: &serde_json::Value) -> Result<Prior, ActionError> {
    serde_json::from_value(checkpoint.clone())
        .map_err(|error| ActionError::new(ErrorKind::Internal, format!("the checkpoint cannot be read: {error}")))
}

impl Action for EndpointEnable {
    const NAME: &'static str = "svix.endpoint.enable";
    const SUMMARY: &'static str = "Enables a webhook endpoint at Svix that was disabled.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const UNDO: Option<&'static str> = Some("disables it again if it was disabled before");
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixEndpointEnableParams;
    type Output = SvixEndpointEnableOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: SvixEndpointEnableParams,
    ) -> Result<SvixEndpointEnableOutput, ActionError> {
        check_id("endpoint", &params.endpoint)?;
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        let now: Row = svix.read(svix.request("GET", &params.path())).await?;
        let prior = match cx.checkpoint() {
            // What counts is how it was before the first try.
            Some(checkpoint) => read_prior(checkpoint)?,
            None => {
                let prior = Prior { was_disabled: now.disabled };
                cx.save_checkpoint(json!(prior)).await?;
                prior
            }
        };
        let enabled = if now.disabled {
            svix.read::<Row>(svix.request("PATCH", &params.path()).json(json!({ "disabled": false }))).await?
        } else {
            now
        };
        if enabled.disabled {
            let told = format!("Svix took the change, and {} is still disabled", enabled.url);
            return Err(ActionError::new(ErrorKind::Failed, told));
        }
        Ok(SvixEndpointEnableOutput { url: enabled.url, was_disabled: prior.was_disabled })
    }

    fn describe(&self, params: &SvixEndpointEnableParams) -> Vec<Intent> {
        let place = params.place();
        vec![
            Intent::from(&place.shown("GET", &params.path())),
            Intent::note("keeps in the run log whether it is disabled now, for the undo; where it is:"),
            Intent::from(&place.shown("PATCH", &params.path()).json(json!({ "disabled": false }))),
        ]
    }

    fn needs(&self, params: &SvixEndpointEnableParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: SvixEndpointEnableParams,
        done: Done<SvixEndpointEnableOutput>,
    ) -> Result<Undone, ActionError> {
        let was_disabled = match (&done.checkpoint, &done.output) {
            (Some(checkpoint), _) => read_prior(checkpoint)?.was_disabled,
            (None, Some(output)) => output.was_disabled,
            (None, None) => false,
        };
        if !was_disabled {
            return Ok(Undone { summary: "it was enabled before".to_owned(), left: Vec::new() });
        }
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        svix.read::<Row>(svix.request("PATCH", &params.path()).json(json!({ "disabled": true }))).await?;
        let left = "what happens while it is disabled is not sent: it must be replayed later".to_owned();
        Ok(Undone { summary: format!("disabled {} again", params.endpoint), left: vec![left] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;

    fn params(timeout: &str) -> SvixEndpointEnableParams {
        serde_json::from_value(json!({ "app": "app_1", "endpoint": "ep_1", "timeout": timeout })).unwrap()
    }

    /// An endpoint that keeps what it is told.
    async fn bench(disabled: bool) -> Bench {
        let mut disabled = disabled;
        Bench::with(move |seen| {
            if seen.method == "PATCH" {
                disabled = seen.body["disabled"].as_bool().unwrap();
                assert_eq!(seen.body.as_object().unwrap().len(), 1, "nothing else may change");
            }
            Answer::json(200, &json!({ "id": "ep_1", "url": "https://shop/hook", "disabled": disabled }))
        })
        .await
    }

    fn done(bench: &Bench) -> Done<SvixEndpointEnableOutput> {
        Done { output: None, checkpoint: bench.saved().pop() }
    }

    #[tokio::test]
    async fn enables_it_and_puts_it_back() {
        let bench = bench(true).await;
        let output = EndpointEnable.run(&bench.cx(), params("5s")).await.unwrap();
        assert_eq!((output.url.as_str(), output.was_disabled), ("https://shop/hook", true));
        let path = "/api/v1/app/app_1/endpoint/ep_1";
        assert_eq!(bench.lines(), [format!("GET {path}"), format!("PATCH {path}")]);
        // A second try finds it enabled, and still knows how it was.
        let again = EndpointEnable.run(&bench.again(), params("5s")).await.unwrap();
        assert!(again.was_disabled);
        assert_eq!(bench.lines(), [format!("GET {path}")]);
        let undone = EndpointEnable.undo(&bench.cx(), params("5s"), done(&bench)).await.unwrap();
        assert_eq!((undone.summary.as_str(), undone.left.len()), ("disabled ep_1 again", 1));
        assert_eq!(bench.seen()[0].body, json!({ "disabled": true }));
    }

    #[tokio::test]
    async fn what_was_enabled_stays_so_either_way() {
        let bench = bench(false).await;
        assert!(!EndpointEnable.run(&bench.cx(), params("5s")).await.unwrap().was_disabled);
        let undone = EndpointEnable.undo(&bench.cx(), params("5s"), done(&bench)).await.unwrap();
        assert_eq!(undone.summary, "it was enabled before");
        assert_eq!(bench.lines().len(), 1);
    }

    #[tokio::test]
    async fn a_change_that_changed_nothing_is_a_failure() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "url": "https://x", "disabled": true }))).await;
        let error = EndpointEnable.run(&bench.cx(), params("5s")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_changes_nothing() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(EndpointEnable.run(&bench.cx(), params("5s")).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.lines().len(), 1);
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(EndpointEnable.run(&bench.cx(), params("5s")).await.unwrap_err().kind, ErrorKind::Network);
    }
}
