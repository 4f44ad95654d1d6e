//! How a run is told: summed up, on a console, as a report. Reads plans and logs; decides nothing.
//!
//! `docs/report.md` lists what a report's template can name.

mod console;
mod fold;
mod markdown;
mod past;
mod public;
mod reporter;
mod summary;
mod words;

pub use console::{Console, Mode};
pub use markdown::{BUILT_IN, POST_INCIDENT, PUBLIC_STATEMENT, ReportError, built_in, render};
pub use past::past;
pub use public::{PublicDeed, PublicView};
pub use reporter::{LogReporter, ReadError, check_template, render_with, summary, summary_by, summary_of};
pub use summary::{
    CalledFile, Evidence, Extension, Figure, FollowUp, GateAnswer, GateRow, Incident, KeyTimes, MeasureRow, Said,
    Standing, StepRow, Summary, SummaryError, UndoneRow, Users,
};
pub use words::{Kind, Line, lines_of};
