//! `runbook`: a declarative runbook executor.
//!
//! The modules are floors; each names only lower ones. `docs/architecture.md` draws the house.

#![forbid(unsafe_code)]

pub mod action;
pub mod actions;
pub mod base;
pub mod cli;
pub mod database;
pub mod drill;
pub mod engine;
pub mod http;
pub mod plan;
pub mod preflight;
pub mod process;
pub mod report;
pub mod run;
pub mod runbook;
pub mod runlog;
pub mod testing;
