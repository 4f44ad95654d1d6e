//! How Clerk's webhooks fare at the start of a drill.

use serde::Deserialize;

use crate::base::HumanDuration;

/// The application at Svix, and the one endpoint that takes Clerk's webhooks. Each of Clerk's users has one message,
/// `user.created`, sent when the user was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SvixSetting {
    /// The application's id.
    pub app: String,
    /// The endpoint's address.
    pub url: String,
    /// For how long before the drill the endpoint has been failing; what was sent since then did not arrive.
    pub failing_for: HumanDuration,
    /// How long before the drill Svix disabled the endpoint; what happened since then was never sent. Not at all, when it is
    /// left out.
    pub disabled_for: Option<HumanDuration>,
    /// When the receiver works again, in time since the beginning.
    pub works_from: HumanDuration,
    /// How many of the oldest messages that did not arrive are gone: no replay brings them.
    pub lost: u32,
    /// How many messages a task sends at once.
    pub batch: u32,
    /// How long a task takes for that.
    pub batch_time: HumanDuration,
    /// May the key look at background tasks? A key that belongs to one application may not.
    pub tasks_readable: bool,
    /// How many endpoints there are besides, all of them well.
    pub others: u32,
}

impl Default for SvixSetting {
    fn default() -> Self {
        let seconds = |seconds| HumanDuration(std::time::Duration::from_secs(seconds));
        Self {
            app: "app_drill0000000000000000000001".to_owned(),
            url: "https://shop.example.com/api/webhooks/clerk".to_owned(),
            failing_for: seconds(0),
            disabled_for: None,
            works_from: seconds(0),
            lost: 0,
            batch: 100,
            batch_time: seconds(5),
            tasks_readable: true,
            others: 0,
        }
    }
}
