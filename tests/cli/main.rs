//! The binary as people use it: every test here runs it and looks at what it says, does and leaves behind.

mod check;
#[cfg(unix)]
mod ci;
mod diffs;
mod docs;
mod drills;
mod explanations;
mod flow;
mod fmt;
mod front_door;
mod game_day;
mod gates;
mod hostile;
mod language;
mod lint;
mod locks;
mod measures;
mod mistakes;
mod others;
mod output;
mod people;
mod plan;
mod preflight;
#[cfg(target_os = "linux")]
mod processes;
mod proxy;
mod reconciliation;
mod records;
mod reference;
mod runs;
mod schema;
mod secrets;
mod stale;
mod stand_ins;
mod support;
mod testing;
mod undo;
