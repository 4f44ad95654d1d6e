//! How a run is told: summed up, on a console, as a report. Reads plans and logs; decides nothing.
//!
//! `docs/report.md` lists what a report's template can name.

mod console;
mod markdown;
mod past;
mod reporter;
mod summary;
mod words;

pub use console::{Console, Mode};
pub use markdown::{BUILT_IN, POST_INCIDENT, ReportError, built_in, render};
pub use past::past;
pub use reporter::{LogReporter, ReadError, check_template, render_with, summary, summary_by, summary_of};
pub use summary::{
    Evidence, FollowUp, GateAnswer, GateRow, KeyTimes, MeasureRow, Standing, StepRow, Summary, SummaryError, UndoneRow,
};
pub use words::{Kind, Line, lines_of};
