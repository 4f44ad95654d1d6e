//! `vercel.env.get`: what is known of one environment variable, and its value only where it is no secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::scalar::Scalar;
use super::super::{Scope, Vercel, default_secret};
use super::check_names;
use super::list::ListedVariable;
use super::rows::Row;
use super::targets::EnvTarget;
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::base::{Digest, secret};

/// Reads one environment variable. The value of a `plain` one comes out; of an encrypted one only a fingerprint, and
/// whether it is the expected one. A `sensitive` one cannot be read by anybody.
#[derive(Debug)]
pub struct EnvGet;

/// Which variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelEnvGetParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// The variable's name.
    pub name: String,
    /// The environment it is for.
    #[serde(default)]
    pub target: EnvTarget,
    /// The branch it is for; without one, the row that serves every branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What it should hold, to be told by `matches`. May be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Scalar>,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelEnvGetOutput {
    /// Is there such a variable?
    pub exists: bool,
    /// The row; nothing where there is none.
    pub variable: Option<ListedVariable>,
    /// The value, of a `plain` variable only.
    pub value: Option<String>,
    /// The beginning of the SHA-256 of the value, to tell one key from another.
    pub fingerprint: Option<String>,
    /// Does it hold what `expect` says? Nothing without `expect`.
    pub matches: Option<bool>,
}

impl VercelEnvGetParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }

    fn is_meant(&self, row: &Row) -> bool {
        row.key == self.name
            && row.git_branch == self.branch
            && row.targets().iter().any(|served| served == self.target.as_str())
    }
}

impl Action for EnvGet {
    const NAME: &'static str = "vercel.env.get";
    const SUMMARY: &'static str = "Reads what is known of one environment variable of a Vercel project.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelEnvGetParams;
    type Output = VercelEnvGetOutput;

    async fn run(&self, cx: &ActionContext, params: VercelEnvGetParams) -> Result<VercelEnvGetOutput, ActionError> {
        check_names([&params.name])?;
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let rows = vercel.env_rows().await?;
        let Some(row) = rows.iter().find(|row| params.is_meant(row)) else {
            let matches = params.expect.is_some().then_some(false);
            return Ok(VercelEnvGetOutput { exists: false, variable: None, value: None, fingerprint: None, matches });
        };
        let variable = Some(ListedVariable::from(row));
        let Some(value) = vercel.env_value(row).await? else {
            let reason = format!(
                "{} is kept as `{}`: Vercel shows its value to nobody. Whether it is right only the application can tell; \
                 `updated_at` tells when it was written",
                params.name, row.kind
            );
            let known = VercelEnvGetOutput { exists: true, variable, value: None, fingerprint: None, matches: None };
            return Err(ActionError::new(ErrorKind::Rejected, reason).with_outputs(&known));
        };
        let expected = params.expect.as_ref().map(ToString::to_string);
        let matches = expected.map(|expected| cx.is_expected(&value, &expected)).transpose()?;
        let fingerprint = Some(Digest::of(value.as_bytes()).short().to_owned());
        let value = (row.kind == "plain").then(|| secret::shown(&cx.conceal(&value)));
        Ok(VercelEnvGetOutput { exists: true, variable, value, fingerprint, matches })
    }

    fn describe(&self, params: &VercelEnvGetParams) -> Vec<Intent> {
        let scope = params.scope();
        vec![
            Intent::from(&scope.env_list()),
            Intent::note(format!("and, where {} exists and is not `sensitive`:", params.name)),
            Intent::from(&scope.env_get(":id")),
        ]
    }

    fn needs(&self, params: &VercelEnvGetParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.env_is_seen(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Bench, faults};
    use super::super::tests::{World, row};
    use super::*;
    use serde_json::{Value, json};

    fn params(more: Value) -> VercelEnvGetParams {
        let mut params = json!({ "project": "shop", "name": "KEY" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn kept(kind: &str) -> Value {
        let mut row = row("a", "KEY", "sk_test_0123456789", &["production"]);
        row["type"] = json!(kind);
        row
    }

    #[tokio::test]
    async fn an_encrypted_value_is_compared_and_not_shown() {
        let bench = World::of(vec![kept("encrypted")]).bench().await;
        let right = crate::base::secret::reference("clerk");
        for (expected, matches) in [(json!(right), true), (json!("sk_test_0123456789"), true), (json!("other"), false)]
        {
            let output = EnvGet.run(&bench.cx(), params(json!({ "expect": expected }))).await.unwrap();
            assert_eq!((output.matches, output.value.clone()), (Some(matches), None));
            assert_eq!(output.fingerprint.as_deref().map(str::len), Some(12));
            assert!(!serde_json::to_string(&output).unwrap().contains("sk_test_0123456789"));
        }
        assert_eq!(bench.lines()[..2], ["GET /v10/projects/shop/env", "GET /v1/projects/shop/env/a"]);
    }

    #[tokio::test]
    async fn a_plain_value_comes_out() {
        let mut flag = row("a", "KEY", "checkout", &["production"]);
        flag["type"] = json!("plain");
        let output = EnvGet.run(&World::of(vec![flag]).bench().await.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.value.as_deref(), output.matches), (Some("checkout"), None));
    }

    #[tokio::test]
    async fn a_sensitive_value_is_refused_with_what_is_known() {
        let bench = World::of(vec![kept("sensitive")]).bench().await;
        let error = EnvGet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert!(error.kind == ErrorKind::Rejected && error.message.contains("shows its value to nobody"), "{error}");
        assert_eq!(error.outputs.unwrap()["variable"]["type"], "sensitive");
        assert_eq!(bench.lines(), ["GET /v10/projects/shop/env"]);
    }

    #[tokio::test]
    async fn what_is_not_there_is_no_failure() {
        for rows in [vec![], vec![row("a", "KEY", "1", &["preview"])]] {
            let bench = World::of(rows).bench().await;
            let output = EnvGet.run(&bench.cx(), params(json!({ "expect": "1" }))).await.unwrap();
            assert_eq!((output.exists, output.matches), (false, Some(false)));
        }
        let mut branch = row("a", "KEY", "1", &["preview"]);
        branch["gitBranch"] = json!("next");
        let bench = World::of(vec![branch]).bench().await;
        let preview = json!({ "target": "preview" });
        assert!(!EnvGet.run(&bench.cx(), params(preview)).await.unwrap().exists, "a branch's row is another one");
        let preview = json!({ "target": "preview", "branch": "next" });
        assert!(EnvGet.run(&bench.cx(), params(preview)).await.unwrap().exists);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = EnvGet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
    }
}
