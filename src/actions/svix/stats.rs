//! `svix.stats`: how many messages an endpoint got, and how many it did not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Svix, SvixRegion, check_id, default_secret, default_timeout};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::{HumanDuration, Timestamp};
use crate::http::{Request, path_segment};

/// Counts an endpoint's messages by how they fared. A message that was never attempted is in none of the counts.
#[derive(Debug)]
pub struct Stats;

/// Which endpoint, over which time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixStatsParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// The endpoint, by id (`ep_…`) or uid.
    pub endpoint: String,
    /// From when on; an RFC 3339 time. Svix decides when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Until when; now, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Where the account lives; the key's ending tells it, unless it is an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<SvixRegion>,
    /// The name of the secret that holds a key of Svix.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// How the messages fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixStatsOutput {
    /// Delivered.
    pub success: u64,
    /// Failed, and to be tried again by itself.
    pub pending: u64,
    /// Being sent now.
    pub sending: u64,
    /// Failed, and given up.
    pub fail: u64,
    /// Cancelled.
    pub canceled: u64,
    /// Is nothing on its way any more: neither pending nor sending?
    pub settled: bool,
}

/// Svix's own words.
#[derive(Deserialize)]
struct Counts {
    success: u64,
    pending: u64,
    sending: u64,
    fail: u64,
    #[serde(default)]
    canceled: u64,
}

impl SvixStatsParams {
    fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }

    fn path(&self) -> String {
        format!("/endpoint/{}/stats", path_segment(&self.endpoint).unwrap_or_default())
    }

    fn over(&self, mut request: Request) -> Request {
        for (name, at) in [("since", self.since), ("until", self.until)] {
            if let Some(at) = at {
                request = request.query(name, at.to_string());
            }
        }
        request
    }
}

impl Action for Stats {
    const NAME: &'static str = "svix.stats";
    const SUMMARY: &'static str = "Counts the messages of a webhook endpoint at Svix by how they fared.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixStatsParams;
    type Output = SvixStatsOutput;

    async fn run(&self, cx: &ActionContext, params: SvixStatsParams) -> Result<SvixStatsOutput, ActionError> {
        check_id("endpoint", &params.endpoint)?;
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        let Counts { success, pending, sending, fail, canceled } =
            svix.read(params.over(svix.request("GET", &params.path()))).await?;
        Ok(SvixStatsOutput { success, pending, sending, fail, canceled, settled: pending + sending == 0 })
    }

    fn describe(&self, params: &SvixStatsParams) -> Vec<Intent> {
        vec![Intent::from(&params.over(params.place().shown("GET", &params.path())))]
    }

    fn needs(&self, params: &SvixStatsParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params() -> SvixStatsParams {
        let with = json!({ "app": "app_1", "endpoint": "ep_1", "since": "2026-11-20T00:00:00Z", "timeout": "30ms" });
        serde_json::from_value(with).unwrap()
    }

    #[tokio::test]
    async fn counts_and_says_whether_anything_is_on_its_way() {
        let bench = Bench::with(|seen| {
            let pending = u64::from(seen.query.contains("since=2026-11-20T00%3A00%3A00Z"));
            Answer::json(200, &json!({ "success": 7, "pending": pending, "sending": 0, "fail": 2, "canceled": 0 }))
        })
        .await;
        let output = Stats.run(&bench.cx(), SvixStatsParams { timeout: default_timeout(), ..params() }).await.unwrap();
        assert_eq!((output.success, output.pending, output.fail, output.settled), (7, 1, 2, false));
        assert_eq!(bench.lines(), ["GET /api/v1/app/app_1/endpoint/ep_1/stats"]);
        let url = "https://api.eu.svix.com/api/v1/app/app_1/endpoint/ep_1/stats?since=2026-11-20T00%3A00%3A00Z";
        let with = SvixStatsParams { region: Some(SvixRegion::Eu), ..params() };
        assert_eq!(Stats.describe(&with), [Intent::request("GET", url)]);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let with = SvixStatsParams { timeout: default_timeout(), ..params() };
            assert_eq!(Stats.run(&bench.cx(), with).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.lines().len(), 1);
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Stats.run(&bench.cx(), params()).await.unwrap_err().kind, ErrorKind::Network);
        let bench = Bench::with(|_| Answer::Never).await;
        assert_eq!(Stats.run(&bench.cx(), params()).await.unwrap_err().kind, ErrorKind::Timeout);
    }
}
