//! `status.wait`: waits until a status page has said for a while, without a break, that all is well.
//!
//! An action of its own and not an `until` around `status.check`: `until` ends at the first good look, and a page that
//! says "operational" once may take it back a minute later.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ServiceState, StatusCheckParams, default_timeout, look};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay};
use crate::base::clock::{after, until};
use crate::base::{HumanDuration, Timestamp};

/// Waits for a lasting recovery.
#[derive(Debug)]
pub struct Wait;

/// Which page, and how long it must be well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusWaitParams {
    /// The page's address.
    #[schemars(extend("examples" = ["https://status.clerk.com"]))]
    pub page: String,
    /// How long it must say without a break that all is well.
    #[serde(default = "default_settle")]
    pub settle: HumanDuration,
    /// The pause between two looks.
    #[serde(default = "default_every")]
    pub every: HumanDuration,
    /// How long to go on, from the first look of the run.
    #[serde(default = "default_within")]
    pub within: HumanDuration,
    /// How long one exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// How it went. A step that failed has it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusWaitOutput {
    /// What the last look saw.
    pub state: ServiceState,
    /// Since when the page has said without a break that all is well; `null` when it does not.
    pub ok_since: Option<String>,
    /// How often it said so and took it back, or could no longer be read.
    pub flaps: u32,
    /// How often it was looked at.
    pub looks: u32,
    /// How many looks could not read it.
    pub unreadable: u32,
    /// How long it took, in seconds.
    pub waited_seconds: u64,
}

fn default_settle() -> HumanDuration {
    HumanDuration(Duration::from_secs(10 * 60))
}

fn default_every() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

fn default_within() -> HumanDuration {
    HumanDuration(Duration::from_secs(2 * 60 * 60))
}

/// What a resumed run must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Watch {
    began: Timestamp,
    looked: Timestamp,
    ok_since: Option<Timestamp>,
    flaps: u32,
    looks: u32,
    unreadable: u32,
}

impl Watch {
    fn new(now: Timestamp) -> Self {
        Self { began: now, looked: now, ok_since: None, flaps: 0, looks: 0, unreadable: 0 }
    }

    /// Time in which nobody looked proves nothing: the window goes on where it was, and is no longer for it.
    fn resumed(mut self, now: Timestamp) -> Self {
        let unseen = until(self.looked, now);
        self.ok_since = self.ok_since.map(|since| after(since, unseen));
        self.looked = now;
        self
    }

    /// Takes in a look; says whether the window opened or broke.
    fn look(&mut self, state: ServiceState, now: Timestamp) -> bool {
        self.looks += 1;
        self.looked = now;
        self.unreadable += u32::from(state == ServiceState::Unknown);
        match (state, self.ok_since) {
            (ServiceState::Ok, None) => self.ok_since = Some(now),
            (ServiceState::Ok, Some(_)) | (_, None) => return false,
            (_, Some(_)) => {
                self.ok_since = None;
                self.flaps += 1;
            }
        }
        true
    }

    fn settled(&self, settle: Duration) -> bool {
        self.ok_since.is_some_and(|since| until(since, self.looked) >= settle)
    }

    fn output(&self, state: ServiceState) -> StatusWaitOutput {
        StatusWaitOutput {
            state,
            ok_since: self.ok_since.map(|since| since.to_string()),
            flaps: self.flaps,
            looks: self.looks,
            unreadable: self.unreadable,
            waited_seconds: until(self.began, self.looked).as_secs(),
        }
    }
}

impl StatusWaitParams {
    fn look(&self) -> StatusCheckParams {
        StatusCheckParams { page: self.page.clone(), timeout: self.timeout }
    }

    fn check(&self) -> Result<(), ActionError> {
        if self.every.0 < Duration::from_secs(1) {
            return Err(ActionError::invalid_params("`every` must be a second or more: the page is not ours"));
        }
        if self.settle.0 > self.within.0 {
            let message = format!("`settle` ({}) is longer than `within` ({})", self.settle, self.within);
            return Err(ActionError::invalid_params(message));
        }
        Ok(())
    }
}

impl Action for Wait {
    const NAME: &'static str = "status.wait";
    const SUMMARY: &'static str = "Waits until a status page has said for a while, without a break, that all is well.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = StatusWaitParams;
    type Output = StatusWaitOutput;

    async fn run(&self, cx: &ActionContext, params: StatusWaitParams) -> Result<StatusWaitOutput, ActionError> {
        params.check()?;
        let now = cx.now();
        let saved = cx.checkpoint().and_then(|saved| serde_json::from_value::<Watch>(saved.clone()).ok());
        let mut watch = saved.map_or_else(|| Watch::new(now), |watch| watch.resumed(now));
        let end = after(watch.began, params.within.0);
        let mut before = None;
        loop {
            let seen = look(cx, &params.look()).await?;
            let turned = watch.look(seen.state, cx.now());
            cx.save_checkpoint(serde_json::to_value(&watch).map_err(internal)?).await?;
            if turned || before != Some(seen.state) {
                cx.progress(told(&watch, seen.state, seen.reason.as_deref(), params.settle));
            }
            before = Some(seen.state);
            if watch.settled(params.settle.0) {
                return Ok(watch.output(seen.state));
            }
            let left = until(cx.now(), end);
            if left.is_zero() {
                let message = format!(
                    "{} was not well for {} without a break within {}; it broke {} times",
                    params.page, params.settle, params.within, watch.flaps
                );
                return Err(ActionError::new(ErrorKind::NotMet, message).with_outputs(&watch.output(seen.state)));
            }
            cx.sleep(params.every.0.min(left)).await?;
        }
    }

    fn describe(&self, params: &StatusWaitParams) -> Vec<Intent> {
        let often = format!("every {}, until it is well for {} without a break", params.every, params.settle);
        super::Check.describe(&params.look()).into_iter().chain([Intent::note(often)]).collect()
    }
}

fn told(watch: &Watch, state: ServiceState, reason: Option<&str>, settle: HumanDuration) -> String {
    match (watch.ok_since, reason) {
        (Some(since), _) => format!("ok since {since}; it must stay so for {settle}"),
        (None, Some(reason)) => format!("the page cannot be read: {reason}"),
        (None, None) => format!("the page says {}; waits for ok", word(state)),
    }
}

fn word(state: ServiceState) -> String {
    serde_json::to_value(state).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn internal(error: serde_json::Error) -> ActionError {
    ActionError::new(ErrorKind::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench};
    use super::*;
    use serde_json::{Value, json};

    fn params(more: Value) -> StatusWaitParams {
        let mut params =
            json!({ "page": "https://status.example.com", "settle": "3m", "every": "1m", "within": "20m" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn says(indicator: &str) -> Answer {
        Answer::json(200, &json!({ "status": { "indicator": indicator } }))
    }

    /// A page that says these one after the other, a letter each, and then the last for ever: `o`k, `d`egraded, `u`nknown.
    async fn page(script: &'static str) -> Bench {
        let mut rest = script.chars().peekable();
        Bench::with(move |seen| {
            if seen.path != "/api/v2/summary.json" {
                return Answer::html(404);
            }
            let said = *rest.peek().unwrap();
            if rest.clone().count() > 1 {
                rest.next();
            }
            match said {
                'o' => says("none"),
                'd' => says("minor"),
                'm' => says("maintenance"),
                _ => Answer::html(200),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_page_that_is_well_is_watched_for_the_whole_window() {
        let bench = page("o").await;
        let output = Wait.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.state, output.looks, output.flaps, output.waited_seconds), (ServiceState::Ok, 4, 0, 180));
        assert_eq!(output.ok_since.as_deref(), Some("2026-11-23T03:00:00Z"));
        assert_eq!(bench.said(), ["ok since 2026-11-23T03:00:00Z; it must stay so for 3m"]);
    }

    #[tokio::test]
    async fn a_page_that_flaps_begins_anew_each_time() {
        let bench = page("doodooudoooo").await;
        let output = Wait.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.flaps, output.unreadable, output.looks), (2, 1, 12));
        assert_eq!(output.ok_since.as_deref(), Some("2026-11-23T03:08:00Z"));
        let said = bench.said();
        assert_eq!(said[0], "the page says degraded; waits for ok");
        assert!(said.iter().any(|line| line.starts_with("the page cannot be read: ")), "{said:?}");
    }

    #[tokio::test]
    async fn neither_silence_nor_maintenance_is_a_recovery() {
        for script in ["u", "m", "d"] {
            let error = Wait.run(&page(script).await.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotMet, "{script}");
            let outputs = error.outputs.unwrap();
            assert_eq!((&outputs["ok_since"], &outputs["waited_seconds"]), (&Value::Null, &json!(1200)), "{script}");
        }
    }

    #[tokio::test]
    async fn a_page_that_never_stays_well_is_given_up_in_time() {
        let bench = page("odododododododododododododododod").await;
        let error = Wait.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(
            error.message,
            "https://status.example.com was not well for 3m without a break within 20m; it broke 10 times"
        );
    }

    #[tokio::test]
    async fn a_resumed_run_goes_on_with_its_window_and_counts_no_time_in_which_nobody_looked() {
        let bench = page("doo").await;
        let stopped = {
            let cx = bench.cx();
            let params = params(json!({ "within": "3m", "settle": "3m" }));
            Wait.run(&cx, params).await.unwrap_err()
        };
        assert_eq!(stopped.kind, ErrorKind::NotMet, "two minutes of the window are over");
        bench.cx().sleep(Duration::from_secs(3600)).await.unwrap();
        let output = Wait.run(&bench.again(), params(json!({ "within": "4h" }))).await.unwrap();
        assert_eq!((output.flaps, output.looks), (0, 6), "one more minute is enough");
        assert_eq!(output.ok_since.as_deref(), Some("2026-11-23T04:01:00Z"));
        assert_eq!(output.waited_seconds, 3600 + 180 + 60);
    }

    #[tokio::test]
    async fn it_can_be_stopped_and_refuses_what_makes_no_sense() {
        let bench = page("d").await;
        for wrong in [json!({ "settle": "3h" }), json!({ "every": "10ms" })] {
            assert_eq!(Wait.run(&bench.cx(), params(wrong)).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
        bench.cancel.cancel();
        let error = Wait.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Cancelled, 0));
    }

    #[test]
    fn says_what_it_will_ask_and_how_often() {
        let intents = Wait.describe(&params(json!({})));
        assert_eq!(intents[0], Intent::request("GET", "https://status.example.com/api/v2/summary.json"));
        assert_eq!(intents.last(), Some(&Intent::note("every 1m, until it is well for 3m without a break")));
    }
}
