//! `status.check`: what a vendor's status page says. Status pages lag behind reality: a hint, never a proof.

mod incident_io;
mod statuspage;
mod wait;

pub use wait::{StatusWaitOutput, StatusWaitParams, Wait};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay};
use crate::base::HumanDuration;
use crate::http::Request;

/// Reads a status page.
#[derive(Debug)]
pub struct Check;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusCheckParams {
    /// The page's address, such as `https://status.clerk.com`.
    #[schemars(extend("examples" = ["https://status.clerk.com"]))]
    pub page: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

fn default_timeout() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(10))
}

/// How a service is, in the words of both families of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Nothing is wrong.
    Ok,
    /// The page cannot be read, or says something we do not know.
    Unknown,
    /// Planned work is going on.
    Maintenance,
    /// Slower or less than it should be, or an incident nobody has rated yet.
    Degraded,
    /// All or part of it is down.
    Outage,
}

/// Which kind of page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageFamily {
    /// Atlassian Statuspage, or a page with the same JSON: `/api/v2/summary.json`.
    Statuspage,
    /// incident.io's widget API: `/api/v1/summary`.
    IncidentIo,
    /// Neither.
    Unknown,
}

/// An incident, or planned work, that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusIncident {
    /// Its title.
    pub name: String,
    /// How far it is: `investigating`, `identified`, `monitoring` …
    pub status: String,
    /// How bad it is, in the page's own word.
    pub impact: Option<String>,
    /// Where to read on.
    pub url: Option<String>,
    /// When it was last written about, as the page has it.
    pub updated_at: Option<String>,
}

/// A component that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusComponent {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: ServiceState,
}

/// What the page says. A page that cannot be read gives `unknown` with a reason, never `ok` and never a failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusCheckOutput {
    /// The worst of indicator, components and live incidents.
    pub state: ServiceState,
    /// The page's own sentence, where it has one.
    pub description: Option<String>,
    /// The page's own indicator, where it has one: `none`, `minor`, `major`, `critical`, `maintenance`.
    pub indicator: Option<String>,
    /// Incidents and planned work that are not over.
    pub incidents: Vec<StatusIncident>,
    /// The components that are not well.
    pub components: Vec<StatusComponent>,
    /// Which kind of page it is.
    pub family: PageFamily,
    /// Why the state is `unknown`; otherwise `null`.
    pub reason: Option<String>,
}

impl StatusCheckParams {
    fn request(&self, path: &str) -> Request {
        let page = self.page.trim_end_matches('/');
        Request::get(format!("{page}{path}")).header("accept", "application/json").timeout(self.timeout.0)
    }
}

impl Action for Check {
    const NAME: &'static str = "status.check";
    const SUMMARY: &'static str = "Reads a vendor's status page (Statuspage or incident.io).";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = StatusCheckParams;
    type Output = StatusCheckOutput;

    async fn run(&self, cx: &ActionContext, params: StatusCheckParams) -> Result<StatusCheckOutput, ActionError> {
        look(cx, &params).await
    }
    fn describe(&self, params: &StatusCheckParams) -> Vec<Intent> {
        vec![
            Intent::from(&params.request(statuspage::PATH)),
            Intent::note("and only where that is not a Statuspage summary:"),
            Intent::from(&params.request(incident_io::PATH)),
        ]
    }
}

/// One look at a page, in whichever family it speaks.
async fn look(cx: &ActionContext, params: &StatusCheckParams) -> Result<StatusCheckOutput, ActionError> {
    let first = match page(cx, params.request(statuspage::PATH)).await? {
        Ok(body) => match statuspage::read(&body) {
            Some(output) => return Ok(output),
            None => format!("{} has no `status.indicator`", statuspage::PATH),
        },
        Err(reason) => reason,
    };
    let second = match page(cx, params.request(incident_io::PATH)).await? {
        Ok(body) => match incident_io::read(&body) {
            Some(output) => return Ok(output),
            None => format!("{} has no `ongoing_incidents`", incident_io::PATH),
        },
        Err(reason) => reason,
    };
    Ok(StatusCheckOutput {
        state: ServiceState::Unknown,
        description: None,
        indicator: None,
        incidents: Vec::new(),
        components: Vec::new(),
        family: PageFamily::Unknown,
        reason: Some(format!("{first}; {second}")),
    })
}

/// The JSON at an address, or why there is none. Fails only for what is our own doing.
async fn page(cx: &ActionContext, request: Request) -> Result<Result<Value, String>, ActionError> {
    let response = match cx.send(request).await {
        Ok(response) => response,
        Err(error) => {
            return match error.kind {
                ErrorKind::Timeout | ErrorKind::Network | ErrorKind::InvalidResponse => Ok(Err(error.message)),
                _ => Err(error),
            };
        }
    };
    Ok(cx.json(&response).map_err(|error| error.message))
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The words of both families for a component or an impact.
fn state_of(word: &str) -> ServiceState {
    match word {
        "operational" | "none" => ServiceState::Ok,
        "under_maintenance" | "maintenance" => ServiceState::Maintenance,
        "degraded_performance" | "minor" => ServiceState::Degraded,
        "partial_outage" | "major_outage" | "full_outage" | "major" | "critical" => ServiceState::Outage,
        _ => ServiceState::Unknown,
    }
}

/// A live incident is never `ok`: one that nobody has rated yet counts as degraded.
fn state_of_incident(impact: Option<&str>) -> ServiceState {
    match state_of(impact.unwrap_or("none")) {
        ServiceState::Ok | ServiceState::Unknown => ServiceState::Degraded,
        rated => rated,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params(timeout: &str) -> StatusCheckParams {
        serde_json::from_value(json!({ "page": "https://status.example.com/", "timeout": timeout })).unwrap()
    }

    async fn check(summary: Answer, widget: Answer) -> StatusCheckOutput {
        let bench = Bench::with(move |seen| match seen.path.as_str() {
            "/api/v2/summary.json" => summary.clone(),
            _ => widget.clone(),
        });
        Check.run(&bench.await.cx(), params("10s")).await.unwrap()
    }

    fn summary(indicator: &str, components: &Value, incidents: &Value) -> Answer {
        let status = json!({ "indicator": indicator, "description": "All Systems Operational" });
        Answer::json(200, &json!({ "status": status, "components": components, "incidents": incidents }))
    }

    fn gone() -> Answer {
        Answer::html(404)
    }

    #[tokio::test]
    async fn a_quiet_page_is_ok() {
        let components = json!([{ "name": "API", "status": "operational" }]);
        let output = check(summary("none", &components, &json!([])), gone()).await;
        assert_eq!((output.state, output.family), (ServiceState::Ok, PageFamily::Statuspage));
        assert_eq!(output.description.as_deref(), Some("All Systems Operational"));
        assert!(output.components.is_empty() && output.reason.is_none());
    }

    #[tokio::test]
    async fn the_worst_of_indicator_components_and_incidents_counts() {
        let live = |impact: &str| json!([{ "name": "Sign-in", "status": "investigating", "impact": impact, "shortlink": "https://s/1" }]);
        let over = json!([{ "name": "Old", "status": "resolved", "impact": "critical" }]);
        let component = |status: &str| json!([{ "name": "API", "status": status }, { "name": "G", "status": "major_outage", "group": true }]);
        let none = json!([]);
        for (indicator, components, incidents, state) in [
            ("none", &none, &live("none"), ServiceState::Degraded),
            ("none", &none, &live("critical"), ServiceState::Outage),
            ("none", &none, &live("maintenance"), ServiceState::Maintenance),
            ("none", &none, &over, ServiceState::Ok),
            ("none", &component("operational"), &none, ServiceState::Ok),
            ("none", &component("partial_outage"), &none, ServiceState::Outage),
            ("none", &component("degraded_performance"), &none, ServiceState::Degraded),
            ("none", &component("under_maintenance"), &none, ServiceState::Maintenance),
            ("none", &component("on_fire"), &none, ServiceState::Unknown),
            ("minor", &none, &none, ServiceState::Degraded),
            ("critical", &none, &none, ServiceState::Outage),
            ("purple", &none, &none, ServiceState::Unknown),
        ] {
            let output = check(summary(indicator, components, incidents), gone()).await;
            assert_eq!(output.state, state, "{indicator} {components} {incidents}");
            assert_eq!(output.reason.is_some(), state == ServiceState::Unknown);
        }
    }

    #[tokio::test]
    async fn planned_work_counts_only_while_it_goes_on() {
        for (status, state) in [
            ("scheduled", ServiceState::Ok),
            ("in_progress", ServiceState::Maintenance),
            ("maintenance_in_progress", ServiceState::Maintenance),
            ("completed", ServiceState::Ok),
        ] {
            let body = json!({
                "status": { "indicator": "none" },
                "scheduled_maintenances": [{ "name": "Move", "status": status, "impact": "maintenance" }],
            });
            assert_eq!(check(Answer::json(200, &body), gone()).await.state, state, "{status}");
        }
    }

    #[tokio::test]
    async fn the_widget_is_read_where_there_is_no_summary() {
        let quiet = json!({ "page_title": "Clerk", "ongoing_incidents": [], "in_progress_maintenances": [] });
        let output = check(gone(), Answer::json(200, &quiet)).await;
        assert_eq!((output.state, output.family), (ServiceState::Ok, PageFamily::IncidentIo));

        let loud = json!({
            "ongoing_incidents": [{
                "name": "Sign-in fails", "status": "identified", "url": "https://s/2", "last_update_at": "2026-11-23T02:00:00Z",
                "current_worst_impact": "full_outage",
                "affected_components": [{ "name": "Session management", "current_status": "full_outage" }],
            }],
            "in_progress_maintenances": [{ "name": "Move", "status": "maintenance_in_progress" }],
        });
        let output = check(Answer::html(200), Answer::json(200, &loud)).await;
        assert_eq!((output.state, output.incidents.len()), (ServiceState::Outage, 2));
        assert_eq!(output.components[0].name, "Session management");
        assert_eq!(output.incidents[0].updated_at.as_deref(), Some("2026-11-23T02:00:00Z"));
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_read_is_unknown_and_never_a_failure() {
        for (answer, _) in faults() {
            let output = check(answer.clone(), answer.clone()).await;
            assert_eq!((output.state, output.reason.is_some()), (ServiceState::Unknown, true), "{answer:?}");
        }
        let output = Check.run(&Bench::hanging_up().await.cx(), params("10s")).await.unwrap();
        assert_eq!(output.state, ServiceState::Unknown);
        let bench = Bench::with(|_| Answer::Never).await;
        let output = Check.run(&bench.cx(), params("30ms")).await.unwrap();
        assert!(output.reason.unwrap().contains("got no answer within 30ms"));
    }

    #[test]
    fn says_what_it_will_ask() {
        let intents = Check.describe(&params("10s"));
        assert_eq!(intents[0], Intent::request("GET", "https://status.example.com/api/v2/summary.json"));
        assert_eq!(intents[2], Intent::request("GET", "https://status.example.com/api/v1/summary"));
    }
}
