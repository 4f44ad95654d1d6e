//! What `svix.recover` and `svix.replay_missing` have in common: an order for a stretch of time, and the task that carries
//! it out in the background.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Place, Svix, SvixRegion, check_id, count, default_secret, default_timeout};
use crate::action::{ActionContext, ActionError, ErrorKind, Intent};
use crate::base::{HumanDuration, Timestamp};
use crate::http::path_segment;

/// How long to wait before the task is looked at, at first and at most.
const FIRST_LOOK: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Which endpoint, and over which time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixReplayParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// The endpoint, by id (`ep_…`) or uid.
    pub endpoint: String,
    /// From when on; an RFC 3339 time.
    #[schemars(with = "String", extend("examples" = ["2026-03-10T15:53:00Z"]))]
    pub since: Timestamp,
    /// Until when; now, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// How long to wait for the task to end. It goes on at Svix after that.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
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

fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(30 * 60))
}

/// How the task fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixReplayOutput {
    /// The task's id, `qtask_…`.
    pub task: String,
    /// How far it is. `unknown`: this key may not look at tasks, so look at `svix.stats`.
    pub status: SvixTaskStatus,
    /// How many messages it sent; `null` when it does not say.
    pub messages_sent: Option<u64>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SvixTaskStatus {
    /// Under way.
    Running,
    /// At its end.
    Finished,
    /// Svix gave it up.
    Failed,
    /// Nobody may look.
    Unknown,
}

/// What was ordered, so that a later try waits for it and orders nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ordered {
    task: String,
}

/// Svix's own words.
#[derive(Deserialize)]
struct Task {
    id: String,
    status: SvixTaskStatus,
    #[serde(default)]
    data: Value,
}

impl SvixReplayParams {
    pub(super) fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }

    fn path(&self, verb: &str) -> String {
        format!("/endpoint/{}/{verb}", path_segment(&self.endpoint).unwrap_or_default())
    }

    fn body(&self) -> Value {
        let mut body = json!({ "since": self.since.to_string() });
        if let Some(until) = self.until {
            body["until"] = until.to_string().into();
        }
        body
    }

    /// Is the stretch of time one? Svix refuses what it does not like; this says it in better words, and before anything
    /// is sent.
    fn check(&self, now: Timestamp, longest: Option<Duration>) -> Result<(), ActionError> {
        check_id("endpoint", &self.endpoint)?;
        let until = self.until.unwrap_or(now);
        if self.since >= until {
            let told = format!("`since` is {}, which is not before {until}", self.since);
            return Err(ActionError::invalid_params(told));
        }
        let length = crate::base::clock::until(self.since, until);
        if let Some(longest) = longest.filter(|longest| length > *longest) {
            let told = format!(
                "from {} to {until} is more than the {} that Svix resends at once; set `until` and take it in parts",
                self.since,
                HumanDuration(longest).rounded()
            );
            return Err(ActionError::invalid_params(told));
        }
        Ok(())
    }

    pub(super) fn describe(&self, verb: &str, what: &str) -> Vec<Intent> {
        vec![
            Intent::from(&self.place().shown("POST", &self.path(verb)).json(self.body())),
            Intent::note(format!("{what}; Svix does it in the background, and the step waits for that")),
        ]
    }

    /// Orders it, unless an earlier try has, and waits for its end.
    pub(super) async fn carry_out(
        &self,
        cx: &ActionContext,
        verb: &str,
        longest: Option<Duration>,
    ) -> Result<SvixReplayOutput, ActionError> {
        let svix = Svix::new(cx, self.place(), &self.secret)?;
        let ordered = cx.checkpoint().and_then(|checkpoint| serde_json::from_value::<Ordered>(checkpoint.clone()).ok());
        let task = match ordered {
            Some(ordered) => ordered.task,
            None => {
                self.check(cx.now(), longest)?;
                let task: Task = svix.read(svix.creating(&self.path(verb)).json(self.body())).await?;
                cx.save_checkpoint(json!(Ordered { task: task.id.clone() })).await?;
                task.id
            }
        };
        self.wait(cx, &svix, task).await
    }

    async fn wait(&self, cx: &ActionContext, svix: &Svix<'_>, task: String) -> Result<SvixReplayOutput, ActionError> {
        let segment = path_segment(&task)
            .ok_or_else(|| ActionError::invalid_response(format!("Svix names the task `{task}`, which is no id")))?;
        let deadline = crate::base::clock::after(cx.now(), self.deadline.0);
        let mut pause = FIRST_LOOK;
        loop {
            let url = format!("https://{}/api/v1/background-task/{segment}", svix.host);
            let request = crate::http::Request::get(url).timeout(self.timeout.0).bearer(&svix.key);
            match svix.read::<Task>(request).await {
                Ok(found) => {
                    let messages_sent = count(&found.data, "messagesSent");
                    let output = SvixReplayOutput { task: task.clone(), status: found.status, messages_sent };
                    match found.status {
                        SvixTaskStatus::Finished | SvixTaskStatus::Unknown => return Ok(output),
                        SvixTaskStatus::Failed => {
                            let told = format!("Svix gave up the task {task}");
                            return Err(ActionError::new(ErrorKind::Failed, told).with_outputs(&output));
                        }
                        SvixTaskStatus::Running => cx.progress(match messages_sent {
                            Some(sent) => format!("{sent} messages sent"),
                            None => "Svix is sending".to_owned(),
                        }),
                    }
                }
                // A key that belongs to one application may not look at tasks. The order stands all the same.
                Err(error) if matches!(error.status, Some(401 | 403 | 404)) => {
                    return Ok(SvixReplayOutput { task, status: SvixTaskStatus::Unknown, messages_sent: None });
                }
                // The order stands: a look that failed is taken again.
                Err(error) if error.kind.is_transient() => {
                    cx.progress(format!("the task could not be looked at: {}", error.message));
                    pause = pause.max(error.retry_after().unwrap_or_default().min(LONGEST_PAUSE));
                }
                Err(error) => return Err(error),
            }
            if crate::base::clock::after(cx.now(), pause) > deadline {
                let output =
                    SvixReplayOutput { task: task.clone(), status: SvixTaskStatus::Running, messages_sent: None };
                let told = format!("after {}, the task {task} is not at its end", self.deadline.rounded());
                return Err(ActionError::new(ErrorKind::Timeout, told).with_outputs(&output));
            }
            cx.sleep(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::Action;

    pub(in super::super) fn params(more: Value) -> SvixReplayParams {
        let mut params = json!({ "app": "app_1", "endpoint": "ep_1", "since": "2026-11-20T00:00:00Z" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn task(status: &str) -> Value {
        json!({ "id": "qtask_1", "status": status, "task": "endpoint.recover", "updatedAt": "2026-11-23T03:00:00Z" })
    }

    fn sent(status: &str, sent: u64) -> Value {
        let mut task = task(status);
        task["data"] = json!({ "messagesSent": sent });
        task
    }

    /// Svix takes the order, and then says these things about the task, the last one for ever.
    async fn bench(looks: Vec<Answer>) -> Bench {
        let mut looks = looks.into_iter();
        let mut last = Answer::json(200, &task("running"));
        Bench::with(move |seen| {
            if seen.method == "POST" {
                return Answer::json(202, &task("running"));
            }
            if let Some(next) = looks.next() {
                last = next;
            }
            last.clone()
        })
        .await
    }

    /// The tests that both actions pass.
    pub(in super::super) async fn orders_once_and_waits<A>(action: A, verb: &str)
    where
        A: Action<Params = SvixReplayParams, Output = SvixReplayOutput>,
    {
        let looks = [sent("running", 3), sent("running", 9), sent("finished", 12)].map(|look| Answer::json(200, &look));
        let bench = bench(looks.to_vec()).await;
        let output = action.run(&bench.cx(), params(json!({ "until": "2026-11-21T00:00:00Z" }))).await.unwrap();
        assert_eq!((output.status, output.messages_sent), (SvixTaskStatus::Finished, Some(12)));
        let seen = bench.seen();
        assert_eq!(seen[0].line(), format!("POST /api/v1/app/app_1/endpoint/ep_1/{verb}"));
        assert_eq!(seen[0].body, json!({ "since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z" }));
        assert_eq!(seen[0].headers["idempotency-key"], "20261123-030000-test/the_step");
        assert_eq!(seen[1].line(), "GET /api/v1/background-task/qtask_1");
        assert!(!seen[1].headers.contains_key("idempotency-key"));
        assert_eq!(bench.said(), ["3 messages sent", "9 messages sent"]);
        bench.lines();
        // A later try knows the task and orders nothing.
        action.run(&bench.again(), params(json!({}))).await.unwrap();
        assert_eq!(bench.lines(), ["GET /api/v1/background-task/qtask_1"]);
    }

    pub(in super::super) async fn every_fault_of_the_order<A>(action: A)
    where
        A: Action<Params = SvixReplayParams, Output = SvixReplayOutput>,
    {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(action.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
            assert_eq!((bench.lines().len(), bench.saved().len()), (1, 0));
        }
        let error = action.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = action.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, true));
    }

    #[tokio::test]
    async fn a_key_that_may_not_look_at_tasks_is_no_failure() {
        for status in [401, 403, 404] {
            let bench = bench(vec![Answer::json(status, &json!({ "code": "x", "detail": "y" }))]).await;
            let output = super::super::Recover.run(&bench.cx(), params(json!({}))).await.unwrap();
            assert_eq!((output.status, output.task.as_str()), (SvixTaskStatus::Unknown, "qtask_1"));
        }
    }

    #[tokio::test]
    async fn a_look_that_fails_is_taken_again_and_a_task_that_fails_is_a_failure() {
        let looks = vec![
            Answer::text(500, "boom"),
            Answer::text(429, "").header("retry-after", "7"),
            Answer::json(200, &sent("failed", 4)),
        ];
        let bench = bench(looks).await;
        let error = super::super::Recover.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.outputs.unwrap()["messages_sent"].clone()), (ErrorKind::Failed, json!(4)));
        assert_eq!(bench.lines().len(), 4);
    }

    #[tokio::test]
    async fn the_deadline_leaves_the_task_running_and_says_so() {
        let bench = bench(Vec::new()).await;
        let error = super::super::Recover.run(&bench.cx(), params(json!({ "deadline": "5m" }))).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Timeout, "after 5m, the task qtask_1 is not at its end")
        );
        assert_eq!(bench.saved(), [json!({ "task": "qtask_1" })]);
        let looks = bench.lines().len();
        assert!((10..20).contains(&looks), "ever more seldom: {looks}");
    }

    #[tokio::test]
    async fn a_stretch_of_time_that_is_none_is_refused_before_anything_is_sent() {
        // It is 2026-11-23T03:00:00Z there.
        for more in [
            json!({ "since": "2026-11-24T00:00:00Z" }),
            json!({ "until": "2026-11-20T00:00:00Z" }),
            json!({ "endpoint": "" }),
        ] {
            for error in [
                super::super::Recover.run(&Bench::new().cx(), params(more.clone())).await.unwrap_err(),
                super::super::ReplayMissing.run(&Bench::new().cx(), params(more.clone())).await.unwrap_err(),
            ] {
                assert_eq!(error.kind, ErrorKind::InvalidParams, "{error}");
            }
        }
        assert!(
            serde_json::from_value::<SvixReplayParams>(json!({ "app": "a", "endpoint": "e", "since": "yesterday" }))
                .is_err()
        );
    }
}
