//! How the project at Vercel is set up when a drill begins.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::state::{EnvKind, Target};
use crate::base::HumanDuration;
use crate::drill::scenario::Ends;

/// The project on Vercel at the start: the deployment that serves, those before it, and its environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VercelSetting {
    /// The project's name; its id is `prj_drill_` and the name.
    pub project: String,
    /// The team it belongs to: id or slug. Requests must then say which team they mean.
    pub team: Option<String>,
    /// How long a deployment waits before it is built.
    #[serde(default = "default_queue_time")]
    pub queue_time: HumanDuration,
    /// How long a build takes.
    #[serde(default = "default_build_time")]
    pub build_time: HumanDuration,
    /// How long it takes to point the domain at a deployment.
    #[serde(default = "default_alias_time")]
    pub alias_time: HumanDuration,
    /// The production environment: variables that are kept encrypted.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Variables that are kept in another way, for other environments, or by somebody else.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Does the team keep every new variable as `sensitive`, whatever was asked for?
    #[serde(default)]
    pub force_sensitive: bool,
    /// In which shape the variables are listed.
    #[serde(default)]
    pub env_list: ListShape,
    /// Does a new production deployment get the domain by itself?
    #[serde(default = "yes")]
    pub auto_alias: bool,
    /// Is a new production deployment given to a share of the customers first?
    #[serde(default)]
    pub rolling_release: bool,
    /// Does a redeploy take the environment of its source instead of the present one?
    #[serde(default)]
    pub redeploy_inherits_env: bool,
    /// What is paid for: on `hobby`, only the deployment just before can be rolled back to.
    #[serde(default)]
    pub plan: Plan,
    /// The deployments before the drill, oldest first; one that serves, unless said otherwise.
    #[serde(default = "one_deployment")]
    pub history: Vec<Past>,
    /// The project's Edge Config.
    pub edge_config: Option<EdgeConfig>,
    /// How often an endpoint may be asked.
    #[serde(default)]
    pub limits: Vec<EndpointLimit>,
}

/// A variable that is not an ordinary one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value, which nobody reads when it is `sensitive`.
    pub value: String,
    /// `encrypted`, `sensitive` or `plain`.
    #[serde(default = "encrypted", rename = "type")]
    pub(super) kind: EnvKind,
    /// The environments it is for.
    #[serde(default = "production")]
    pub(super) target: Vec<Target>,
    /// The branch it is for, in `preview`.
    pub branch: Option<String>,
    /// A comment on it.
    pub comment: Option<String>,
    /// The integration that writes it, such as `icfg_clerk`; Vercel refuses to change it for anybody else.
    pub integration: Option<String>,
}

/// The shape in which Vercel lists variables. It promises any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListShape {
    /// A list that says where the next page begins.
    #[default]
    Pages,
    /// A list.
    List,
    /// The variable itself, where there is just one; a list otherwise.
    Single,
}

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// For companies.
    #[default]
    Pro,
    /// For nothing.
    Hobby,
}

/// A production deployment from before the drill.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// How long before the start it was made.
    #[serde(default)]
    pub ago: HumanDuration,
    /// What the application is when it serves.
    #[serde(default)]
    pub serves: Serves,
    /// How its build ended.
    #[serde(default)]
    pub ends: Ends,
    /// The project was rolled back to it, and stays there.
    #[serde(default)]
    pub pinned: bool,
    /// Lines of its build log besides the usual ones.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What the application is when a deployment serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serves {
    /// It works.
    #[default]
    Works,
    /// It answers 500 on every route.
    Broken,
}

/// An Edge Config: values that a running deployment reads, without a build.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Its id, `ecfg_…`.
    pub id: String,
    /// Its items.
    #[serde(default)]
    pub items: IndexMap<String, serde_json::Value>,
}

/// How often an endpoint may be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointLimit {
    /// Method and path, `*` for any one segment.
    pub request: String,
    /// How many requests.
    pub requests: u32,
    /// In which time.
    pub within: HumanDuration,
}

impl VercelSetting {
    /// Which of the deployments before the drill serves, and is the project pinned to it?
    pub(super) fn serving(&self) -> Option<(usize, bool)> {
        let ready = |past: &Past| past.ends == Ends::Ready;
        let pinned = self.history.iter().rposition(|past| past.pinned && ready(past));
        pinned.map(|at| (at, true)).or_else(|| self.history.iter().rposition(ready).map(|at| (at, false)))
    }
}

fn default_queue_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(2))
}

fn default_build_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(40))
}

fn default_alias_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(5))
}

fn yes() -> bool {
    true
}

fn encrypted() -> EnvKind {
    EnvKind::Encrypted
}

fn production() -> Vec<Target> {
    vec![Target::Production]
}

fn one_deployment() -> Vec<Past> {
    vec![Past::default()]
}
