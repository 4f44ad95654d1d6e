//! Every input that fuzzing keeps, once more and without a fuzzer: the corpus, and whatever once broke something.

#[path = "../fuzz/exercise.rs"]
mod exercise;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn check_takes_every_input_that_is_kept() {
    assert!(replayed("check", exercise::check) >= 20);
}

#[test]
fn templates_take_every_input_that_is_kept() {
    assert!(replayed("template", exercise::template) >= 20);
}

#[test]
fn a_plan_takes_every_input_that_is_kept() {
    assert!(replayed("plan", exercise::plan) >= 20);
}

/// The target `plan` is worth nothing when its own runbook is refused.
#[test]
fn the_skeleton_is_a_runbook_that_can_be_planned() {
    assert!(exercise::plan_of(b"").is_some());
    assert!(exercise::plan_of(b"title\n1\n{{ nope }}").is_none());
}

/// Does with every kept input what its target does with it, and counts them.
fn replayed(target: &str, exercise: impl Fn(&[u8])) -> usize {
    let folder = |kind| Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let mut inputs: Vec<PathBuf> =
        ["corpus", "regressions"].into_iter().flat_map(|kind| files(&folder(kind))).collect();
    inputs.sort();
    for input in &inputs {
        // The last line before a failure names the input.
        println!("{}", input.display());
        exercise(&fs::read(input).unwrap());
    }
    inputs.len()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
