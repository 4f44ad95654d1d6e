//! `svix.endpoints`: where webhooks go, and which of these places Svix has given up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Svix, SvixRegion, default_secret, default_timeout};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::HumanDuration;

/// Lists an application's endpoints. Svix disables one that has failed for five days: what happens after that is not even
/// attempted.
#[derive(Debug)]
pub struct Endpoints;

/// Whose endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixEndpointsParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// Only endpoints whose address begins so, such as `https://shop.example.com/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
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

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixEndpointsOutput {
    /// The endpoints.
    pub endpoints: Vec<SvixEndpoint>,
    /// How many.
    pub count: usize,
    /// How many of them are disabled.
    pub disabled: usize,
}

/// A place that webhooks go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixEndpoint {
    /// Its id, `ep_…`.
    pub id: String,
    /// Its address.
    pub url: String,
    /// Does Svix send nothing there?
    pub disabled: bool,
    /// The kinds of events that go there; `null` for all.
    pub event_types: Option<Vec<String>>,
    /// When it was last changed, as Svix says it.
    pub updated_at: Option<String>,
}

/// Svix's own words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    url: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    event_types: Option<Vec<String>>,
    #[serde(default)]
    updated_at: Option<String>,
}

impl SvixEndpointsParams {
    fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }
}

impl Action for Endpoints {
    const NAME: &'static str = "svix.endpoints";
    const SUMMARY: &'static str = "Lists the webhook endpoints of an application at Svix, and which are disabled.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixEndpointsParams;
    type Output = SvixEndpointsOutput;

    async fn run(&self, cx: &ActionContext, params: SvixEndpointsParams) -> Result<SvixEndpointsOutput, ActionError> {
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        let (rows, _) = svix.list::<Row>("/endpoint", &[], usize::MAX).await?;
        let wanted = |row: &Row| params.url.as_ref().is_none_or(|url| row.url.starts_with(url.as_str()));
        let endpoints: Vec<SvixEndpoint> = rows
            .into_iter()
            .filter(wanted)
            .map(|row| SvixEndpoint {
                id: row.id,
                url: row.url,
                disabled: row.disabled,
                event_types: row.event_types,
                updated_at: row.updated_at,
            })
            .collect();
        let disabled = endpoints.iter().filter(|endpoint| endpoint.disabled).count();
        Ok(SvixEndpointsOutput { count: endpoints.len(), disabled, endpoints })
    }

    fn describe(&self, params: &SvixEndpointsParams) -> Vec<Intent> {
        vec![Intent::from(&params.place().shown("GET", "/endpoint"))]
    }

    fn needs(&self, params: &SvixEndpointsParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(url: Option<&str>) -> SvixEndpointsParams {
        serde_json::from_value(json!({ "app": "app_1", "url": url })).unwrap()
    }

    fn row(id: &str, url: &str, disabled: bool) -> Value {
        json!({ "id": id, "url": url, "disabled": disabled, "description": "", "version": 1, "metadata": {} })
    }

    #[tokio::test]
    async fn every_page_is_read() {
        let bench = Bench::with(|seen| {
            let (rows, iterator, done) = match seen.query.as_str() {
                "limit=250" => ([row("ep_1", "https://a/x", false), row("ep_2", "https://b/x", true)], "ep_2", false),
                "limit=250&iterator=ep_2" => {
                    ([row("ep_3", "https://a/y", true), row("ep_4", "https://c/x", false)], "ep_4", true)
                }
                other => panic!("{other}"),
            };
            Answer::json(200, &json!({ "data": rows, "iterator": iterator, "done": done }))
        })
        .await;
        let output = Endpoints.run(&bench.cx(), params(None)).await.unwrap();
        assert_eq!((output.count, output.disabled), (4, 2));
        let output = Endpoints.run(&bench.cx(), params(Some("https://a/"))).await.unwrap();
        let ids: Vec<_> = output.endpoints.iter().map(|endpoint| endpoint.id.as_str()).collect();
        assert_eq!((ids, output.disabled), (vec!["ep_1", "ep_3"], 1));
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_not_read_for_ever() {
        for iterator in [json!("ep_1"), json!(null)] {
            let bench =
                Bench::with(move |_| Answer::json(200, &json!({ "data": [], "iterator": iterator, "done": false })))
                    .await;
            let error = Endpoints.run(&bench.cx(), params(None)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidResponse);
            assert!(bench.lines().len() <= 2);
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Endpoints.run(&bench.cx(), params(None)).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.lines().len(), 1);
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Endpoints.run(&bench.cx(), params(None)).await.unwrap_err().kind, ErrorKind::Network);
    }
}
