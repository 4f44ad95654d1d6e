//! `vercel.env.list`: which environment variables there are, and never what they hold.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Scope, Vercel, default_secret, moment};
use super::rows::Row;
use super::targets::EnvTarget;
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};

/// Lists a project's environment variables: names, environments and who keeps them. No value is read.
#[derive(Debug)]
pub struct EnvList;

/// Of which project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelEnvListParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// Only these names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// Only what is for this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EnvTarget>,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelEnvListOutput {
    /// The rows, by name. One name may have several: for other environments, or for a branch.
    pub variables: Vec<ListedVariable>,
    /// Names of `names` that have no row.
    pub absent: Vec<String>,
}

/// A row, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListedVariable {
    /// Its id.
    pub id: String,
    /// The variable's name.
    pub name: String,
    /// How Vercel keeps it: `encrypted`, `sensitive`, `plain` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The environments it is for.
    pub targets: Vec<String>,
    /// The branch it is for, where it is for one.
    pub branch: Option<String>,
    /// The comment on it.
    pub comment: Option<String>,
    /// Can its value be read with a token?
    pub readable: bool,
    /// The integration that writes it, by the id of its configuration. A change by hand is refused, or lost.
    pub integration: Option<String>,
    /// When it was last written, RFC 3339. Tells that a write arrived where the value cannot be read.
    pub updated_at: Option<String>,
}

impl From<&Row> for ListedVariable {
    fn from(row: &Row) -> Self {
        Self {
            id: row.id.clone(),
            name: row.key.clone(),
            kind: row.kind.clone(),
            targets: row.targets(),
            branch: row.git_branch.clone(),
            comment: row.comment.clone().filter(|comment| !comment.is_empty()),
            readable: !row.is_unreadable(),
            integration: row.configuration_id.clone(),
            updated_at: row.updated_at.and_then(moment),
        }
    }
}

impl VercelEnvListParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }
}

impl Action for EnvList {
    const NAME: &'static str = "vercel.env.list";
    const SUMMARY: &'static str = "Lists the environment variables of a Vercel project, without their values.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelEnvListParams;
    type Output = VercelEnvListOutput;

    async fn run(&self, cx: &ActionContext, params: VercelEnvListParams) -> Result<VercelEnvListOutput, ActionError> {
        let rows = Vercel::new(cx, params.scope(), &params.secret)?.env_rows().await?;
        let meant = |row: &&Row| {
            (params.names.is_empty() || params.names.contains(&row.key))
                && params.target.is_none_or(|target| row.targets().iter().any(|served| served == target.as_str()))
        };
        let mut variables: Vec<ListedVariable> = rows.iter().filter(meant).map(ListedVariable::from).collect();
        variables.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        let there = |name: &&String| variables.iter().any(|variable| variable.name == **name);
        let absent = params.names.iter().filter(|name| !there(name)).cloned().collect();
        Ok(VercelEnvListOutput { variables, absent })
    }

    fn describe(&self, params: &VercelEnvListParams) -> Vec<Intent> {
        vec![Intent::from(&params.scope().env_list())]
    }

    fn needs(&self, params: &VercelEnvListParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.env_is_seen(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(more: Value) -> VercelEnvListParams {
        let mut params = json!({ "project": "shop", "team": "acme" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn rows() -> Value {
        json!([
            { "id": "env_2", "key": "KEY", "value": "sk_live_1", "type": "sensitive", "target": ["production"],
              "configurationId": "icfg_1", "updatedAt": 1_700_000_000_000_i64 },
            { "id": "env_1", "key": "FLAG", "value": "on", "type": "plain", "target": "preview", "gitBranch": "next",
              "comment": "for the beta" },
        ])
    }

    #[tokio::test]
    async fn every_shape_is_read_and_no_value_comes_out() {
        let one = rows()[0].clone();
        for (body, names) in [
            (json!({ "envs": rows(), "pagination": { "next": null } }), vec!["FLAG", "KEY"]),
            (json!({ "envs": rows() }), vec!["FLAG", "KEY"]),
            (one, vec!["KEY"]),
        ] {
            let bench = Bench::with(move |_| Answer::json(200, &body)).await;
            let output = EnvList.run(&bench.cx(), params(json!({}))).await.unwrap();
            assert_eq!(output.variables.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), names);
            let key = output.variables.last().unwrap();
            assert_eq!((key.readable, key.integration.as_deref()), (false, Some("icfg_1")));
            assert_eq!(key.updated_at.as_deref(), Some("2023-11-14T22:13:20Z"));
            assert!(!serde_json::to_string(&output).unwrap().contains("sk_live_1"));
            let seen = bench.seen().remove(0);
            assert_eq!((seen.line().as_str(), seen.query.as_str()), ("GET /v10/projects/shop/env", "slug=acme"));
        }
    }

    #[tokio::test]
    async fn only_what_is_asked_for_is_listed() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "envs": rows() }))).await;
        let wanted = params(json!({ "names": ["FLAG", "OTHER"], "target": "preview" }));
        let output = EnvList.run(&bench.cx(), wanted).await.unwrap();
        let flag = &output.variables[0];
        assert_eq!((output.variables.len(), output.absent), (1, vec!["OTHER".to_owned()]));
        assert_eq!((flag.branch.as_deref(), flag.comment.as_deref()), (Some("next"), Some("for the beta")));
        assert_eq!((flag.targets.clone(), flag.readable), (vec!["preview".to_owned()], true));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = EnvList.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::hanging_up().await;
        let error = EnvList.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Network);
        assert_eq!(
            EnvList.describe(&params(json!({}))),
            [Intent::request("GET", "https://api.vercel.com/v10/projects/shop/env?slug=acme")]
        );
    }
}
