//! A runbook that can be read, with any texts in its templates and expressions.

#![no_main]

#[path = "../exercise.rs"]
#[expect(dead_code, reason = "the other targets use the rest")]
mod exercise;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exercise::plan(data));
