//! What an action needs of the other side before it can work, as something that can be read and asked beforehand.

use serde_json::Value;

use super::ActionError;
use crate::http::Request;

/// One thing that must be so, and the reading request that tells. An action only states it: `runbook preflight` asks, each
/// distinct question once, and refuses to send anything but a `GET`.
#[derive(Debug, Clone)]
pub struct Need {
    /// What must be so: `Vercel takes the token`.
    pub what: String,
    /// The secret that is shown, by its name in the step's runbook.
    pub secret: String,
    /// The question, without the secret. A 2xx answer is a yes.
    pub question: Request,
    /// What a good answer tells besides, in a few words.
    pub told: fn(&Value) -> Option<String>,
    /// A way out for an answer that is none.
    pub help: fn(&ActionError) -> Option<&'static str>,
}
