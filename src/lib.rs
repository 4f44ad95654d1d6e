//! `runbook`: a declarative runbook executor.
//!
//! The modules are floors; each names only lower ones. `docs/architecture.md` draws the house.

#![forbid(unsafe_code)]

pub mod action;
pub mod base;
pub mod drill;
pub mod http;
pub mod process;
