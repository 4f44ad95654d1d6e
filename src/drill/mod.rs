//! Rehearsals: the vendors' stand-ins, the scenario that drives them, and what they saw.
//!
//! The stand-ins keep state, go by the drill's clock, and refuse what the vendors would refuse.

mod app;
mod ask;
mod clerk;
mod clerk_frontend;
mod database;
mod drip;
mod faults;
mod observed;
mod pagerduty;
mod people;
mod record;
mod scenario;
mod score;
mod slack;
mod state;
mod status_page;
mod svix;
mod transcript;
mod vercel;
mod world;

pub use clerk::{ClerkEnvironment, ClerkSetting, KeysByHand};
pub use database::{DatabaseSetting, UsersTable};
pub use observed::{Happening, LeftStanding, Observed, Refused, Said, Sessions, Why, Window, WriteKind};
pub use people::ScriptedPeople;
pub use scenario::{
    Aliased, AppSetting, Behaviour, Bypass, Decision, Ends, Expect, Family, Fault, FaultAnswer, Leftovers, Mode,
    Moment, PageChange, PageSetting, PageState, Scenario, Setting, StandIn, Verdict,
};
pub use score::{Gates, KeptScore, Score};
pub use svix::SvixSetting;
pub use transcript::{Answering, Asking, Exchange};
pub use vercel::{EdgeConfig, EndpointLimit, ListShape, Past, Plan, Serves, Variable, VercelSetting};
pub use world::{Setup, World};
