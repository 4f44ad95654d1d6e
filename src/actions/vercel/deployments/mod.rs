//! Deployments: listing and watching them, making, cancelling and reading about one.

mod build_log;
mod cancel;
mod list;
mod listing;
mod progress;
mod redeploy;
mod show;

pub use build_log::{BuildLog, LogLine, VercelBuildLogOutput, VercelBuildLogParams};
pub use cancel::{Cancel, VercelCancelOutput, VercelCancelParams};
pub use list::{Deployments, ListedDeployment, VercelDeploymentsOutput, VercelDeploymentsParams};
pub(super) use listing::{Filter, Listed};
pub use redeploy::{Redeploy, Rolling, VercelRedeployOutput, VercelRedeployParams};
pub use show::{DeploymentFacts, VercelDeploymentOutput, VercelDeploymentParams};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An environment that can be deployed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedeployTarget {
    /// What customers see.
    #[default]
    Production,
    /// An address of its own.
    Preview,
}

impl RedeployTarget {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
        }
    }
}
