//! How the stand-ins are set up at the start: `world` in a scenario.

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::drill::clerk::ClerkSetting;
use crate::drill::database::DatabaseSetting;
use crate::drill::svix::SvixSetting;
use crate::drill::vercel::VercelSetting;

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

/// The customer's app.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSetting {
    /// The project whose serving deployment it is.
    pub project: Spanned<String>,
}
