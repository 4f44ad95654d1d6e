//! The `runbook` binary.

fn main() {}
