//! `clerk.svix_portal`: a link to Svix's own pages for the instance's webhooks. Whoever has it is signed in.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{backend, default_secret, default_timeout, key_is_taken, limit, typed};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::base::{HumanDuration, Secret};

/// Asks Clerk for a link to the pages where Svix shows the instance's webhooks. The link signs in whoever opens it, so it
/// is a secret: no output holds it. A person finds it in a file in the run's folder which only they can read, and later
/// steps have it as a secret of the run.
#[derive(Debug)]
pub struct SvixPortal;

/// With which key to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkSvixPortalParams {
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// Where the link is, and what it says besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSvixPortalOutput {
    /// The file that holds the link, hidden in the run's folder, for its owner alone; no export of the run has it. Open it soon: the link does not live long.
    pub link_file: String,
    /// The application's id at Svix, `app_…`, where the link tells it.
    pub app: Option<String>,
    /// Svix's region, such as `us`, where the link tells it.
    pub region: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    svix_url: String,
}

/// What the part after `#key=` holds. None of it is documented: whatever is not understood is left out.
fn decoded(link: &str) -> Option<Value> {
    let key = link.split_once("#key=")?.1.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(key).or_else(|_| URL_SAFE_NO_PAD.decode(key)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a file that nobody else can read, not even for a moment.
fn write_for_owner(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // One from an earlier try may be there, with whatever rights somebody gave it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Action for SvixPortal {
    const NAME: &'static str = "clerk.svix_portal";
    const SUMMARY: &'static str = "Makes a link to Svix's pages for the instance's webhooks, and keeps it secret.";
    const EFFECT: Effect = Effect::Read;
    // Another link ends no earlier one.
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    const GIVES: Option<&'static str> = Some("the link");
    type Params = ClerkSvixPortalParams;
    type Output = ClerkSvixPortalOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkSvixPortalParams,
    ) -> Result<ClerkSvixPortalOutput, ActionError> {
        let request = backend("POST", "/webhooks/svix_url", params.timeout);
        let (key, limit) = (cx.secret(&params.secret)?, limit(cx, &params.secret)?);
        let url = request.url.clone();
        let told: Told = typed(cx.call(request.bearer(&key).limited(limit)).await?, &url)?;
        cx.deliver(Secret::new(told.svix_url.clone()));
        let decoded = decoded(&told.svix_url);
        if let Some((_, key)) = told.svix_url.split_once("#key=") {
            cx.learn(key);
        }
        // The token in it opens the same door.
        let is_token = |name: &str| name.to_lowercase().contains("token");
        decoded.as_ref().and_then(Value::as_object).into_iter().flatten().for_each(|(name, value)| {
            value.as_str().filter(|_| is_token(name)).into_iter().for_each(|token| cx.learn(token));
        });
        // A hidden file is in no export of the run.
        let step = cx.target().step.as_str().replace('/', "-");
        let path = cx.artifacts().join(format!(".{step}.svix-portal"));
        write_for_owner(&path, &told.svix_url).map_err(|error| {
            ActionError::new(ErrorKind::Failed, format!("the link cannot be kept in {}: {error}", path.display()))
        })?;
        let text = |name: &str| decoded.as_ref()?.get(name)?.as_str().map(str::to_owned);
        Ok(ClerkSvixPortalOutput { link_file: path.display().to_string(), app: text("appId"), region: text("region") })
    }

    async fn recall(
        &self,
        _cx: &ActionContext,
        _params: ClerkSvixPortalParams,
        output: ClerkSvixPortalOutput,
    ) -> Result<Secret, ActionError> {
        std::fs::read_to_string(&output.link_file).map(Secret::new).map_err(|error| {
            ActionError::new(ErrorKind::Secret, format!("the link cannot be read from {}: {error}", output.link_file))
        })
    }

    fn describe(&self, params: &ClerkSvixPortalParams) -> Vec<Intent> {
        vec![
            Intent::from(&backend("POST", "/webhooks/svix_url", params.timeout)),
            Intent::note("keeps the link in a file of the run's folder that only its owner can read"),
        ]
    }

    fn needs(&self, params: &ClerkSvixPortalParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn params(params: Value) -> ClerkSvixPortalParams {
        serde_json::from_value(params).unwrap()
    }

    fn link() -> String {
        let told = json!({ "appId": "app_1", "oneTimeToken": "ott_0123456789", "region": "eu" });
        format!("https://app.svix.com/login#key={}", STANDARD_NO_PAD.encode(told.to_string()))
    }

    async fn bench(link: String) -> Bench {
        Bench::with(move |_| Answer::json(200, &json!({ "svix_url": link }))).await
    }

    #[tokio::test]
    async fn the_link_is_in_a_file_and_in_no_output() {
        let bench = bench(link()).await;
        let cx = bench.cx();
        let output = SvixPortal.run(&cx, params(json!({}))).await.unwrap();
        assert_eq!((output.app.as_deref(), output.region.as_deref()), (Some("app_1"), Some("eu")));
        assert!(!json!(output).to_string().contains("svix.com"));
        assert_eq!(std::fs::read_to_string(&output.link_file).unwrap(), link());
        assert_eq!(std::fs::metadata(&output.link_file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(cx.delivered().unwrap().expose(), link());
        assert!(output.link_file.ends_with("/.the_step.svix-portal"), "{}", output.link_file);
        let key = link().split_once("#key=").unwrap().1.to_owned();
        assert_eq!(bench.mask(&format!("{} {key} ott_0123456789", link())), "*** *** ***");
        assert_eq!(bench.lines(), ["POST /v1/webhooks/svix_url"]);
        // Another try overwrites it, and a later process reads it again.
        let again = SvixPortal.run(&bench.again(), params(json!({}))).await.unwrap();
        let recalled = SvixPortal.recall(&bench.cx(), params(json!({})), again.clone()).await.unwrap();
        assert_eq!(recalled.expose(), link());
        std::fs::remove_file(&again.link_file).unwrap();
        let error = SvixPortal.recall(&bench.cx(), params(json!({})), again).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Secret);
    }

    #[tokio::test]
    async fn a_link_of_another_form_is_a_link_all_the_same() {
        for odd in
            ["https://app.svix.com/login", "https://app.svix.com/login#key=%%%", "https://app.svix.com/login#key=e30"]
        {
            let output = SvixPortal.run(&bench(odd.to_owned()).await.cx(), params(json!({}))).await.unwrap();
            assert_eq!((output.app, output.region), (None, None), "{odd}");
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = SvixPortal.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let no_app = json!({ "errors": [{ "message": "no Svix app", "code": "svix_app_missing" }] });
        let bench = Bench::with(move |_| Answer::json(400, &no_app)).await;
        let error = SvixPortal.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Rejected, Some("svix_app_missing")));
        let bench = Bench::hanging_up().await;
        assert_eq!(SvixPortal.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
    }
}
