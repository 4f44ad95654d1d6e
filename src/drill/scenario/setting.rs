//! How the stand-ins are set up at the start: `world` in a scenario.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_yaml::Spanned;

use crate::base::HumanDuration;
use crate::drill::clerk::ClerkSetting;
use crate::drill::database::DatabaseSetting;
use crate::drill::svix::SvixSetting;

/// How the stand-ins are set up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The status page.
    #[serde(default)]
    pub status_page: PageSetting,
    /// The project on Vercel.
    pub vercel: Option<VercelSetting>,
    /// The customer's app.
    pub app: Option<AppSetting>,
    /// The instance at Clerk.
    #[serde(default)]
    pub clerk: ClerkSetting,
    /// How its webhooks fare.
    #[serde(default)]
    pub svix: SvixSetting,
    /// The customer's database; none, when it is left out.
    pub database: Option<DatabaseSetting>,
}

/// Which family of status page is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Atlassian Statuspage.
    #[default]
    Statuspage,
    /// incident.io, with the Statuspage-like answers its pages give.
    IncidentIo,
    /// incident.io, with nothing but its widget's own answer.
    IncidentIoWidget,
}

/// The status page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageSetting {
    /// Its family.
    #[serde(default)]
    pub family: Family,
}

/// The project on Vercel at the start: one deployment that serves, and its environment.
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
    /// The production environment.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Does a new production deployment get the domain by itself?
    #[serde(default = "yes")]
    pub auto_alias: bool,
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

/// The customer's app.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSetting {
    /// The project whose serving deployment it is.
    pub project: Spanned<String>,
}
