//! The ground floor: names, time, secrets, digests and diagnostics. Knows nothing of the floors above.

pub mod clock;
pub mod code;
pub mod diagnostic;
pub mod digest;
pub mod duration;
pub mod explanation;
pub mod id;
pub mod path;
pub mod redact;
pub mod secret;

pub use clock::{Clock, Timestamp};
pub use code::Code;
pub use diagnostic::{Diagnostic, Elsewhere, Fix, Severity, Source, Span};
pub use digest::Digest;
pub use duration::HumanDuration;
pub use explanation::Explanation;
pub use id::{Attempt, RunId, RunbookName, StepId};
pub use path::StepPath;
pub use redact::Redactor;
pub use secret::{Late, Secret, SecretSource, SecretStore};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
