//! Any bytes as a runbook file.

#![no_main]

#[path = "../exercise.rs"]
#[expect(dead_code, reason = "the other targets use the rest")]
mod exercise;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exercise::check(data));
