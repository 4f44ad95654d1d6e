//! The program as people start it: `--version`, `check`, `plan`, a run of one step, a run of a thousand.
//!
//! Wall time is from spawn to exit. Processor time is the main thread's own for each round, and on the right the mean
//! over all rounds with every thread and every step's process in it, which the kernel counts in steps of 10 ms.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::runbooks::Shape;
use support::{Folder, Rounds, Table, memory, shown, sized};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runbook");

fn main() {
    let folder = Folder::new("startup");
    let mut table = Table::new(&[
        "command",
        "wall least",
        "median",
        "most",
        "main thread least",
        "median",
        "most",
        "processor mean",
        "peak memory",
    ]);
    let rounds = sized(50, 3);
    let one = write(folder.path(), Shape::Chain, 1);
    measure(&mut table, folder.path(), "--version", &["--version"], rounds);
    measure(&mut table, folder.path(), "check, 1 step", &["check", &one], rounds);
    measure(&mut table, folder.path(), "plan, 1 step", &["plan", &one], rounds);
    measure(&mut table, folder.path(), "run, 1 step", &["run", &one], rounds);
    for (count, rounds) in sized(vec![(1_000, 10), (10_000, 5), (100_000, 2)], vec![(1_000, 2)]) {
        let chain = write(folder.path(), Shape::Chain, count);
        measure(&mut table, folder.path(), &format!("check, {count} steps"), &["check", &chain], rounds);
        measure(&mut table, folder.path(), &format!("plan, {count} steps"), &["plan", &chain], rounds);
    }
    let count = sized(1_000, 100);
    for shape in [Shape::Chain, Shape::Parallel] {
        let file = write(folder.path(), shape, count);
        let title = format!("run, {}, {count} steps", shape.name());
        measure(&mut table, folder.path(), &title, &["run", &file], sized(3, 1));
    }
    table.print("the program itself; a run of one step is to take under 10 ms of processor time, of 1000 under 30 MiB");
}

fn write(folder: &Path, shape: Shape, count: usize) -> String {
    let path = folder.join(format!("{}-{count}.yaml", shape.name().replace(' ', "-")));
    std::fs::write(&path, shape.runbook(count)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.display().to_string()
}

fn measure(table: &mut Table, folder: &Path, title: &str, arguments: &[&str], rounds: usize) {
    let state = folder.join("state");
    let start = || {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("RUNBOOK_STATE", &state).env("NO_COLOR", "1").current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{PROGRAM}: {error}"))
    };
    // Once with what it says, to be sure that what is timed afterwards works at all.
    let output = Command::new(PROGRAM)
        .args(arguments)
        .env("RUNBOOK_STATE", &state)
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{PROGRAM}: {error}"));
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "`runbook {}` ended with {}:\n{said}", arguments.join(" "), output.status);
    assert!(!said.trim().is_empty(), "`runbook {}` said nothing", arguments.join(" "));

    let mut watched = start();
    let peak = memory::watch(&watched);
    assert!(watched.wait().is_ok_and(|status| status.success()), "it worked a moment ago");

    let (mut wall, mut main_thread) = (Rounds::default(), Rounds::default());
    let before = memory::of_children();
    for _ in 0..rounds {
        let mut child = wall.time(|| {
            let child = start();
            // Its clock is read while it lies ended but not yet waited for.
            memory::until_ended(&child);
            child
        });
        main_thread.push(memory::main_thread_of(&child).unwrap_or_default());
        assert!(child.wait().is_ok_and(|status| status.success()), "`runbook {}` failed", arguments.join(" "));
    }
    let mean =
        memory::of_children().zip(before).map(|(after, before)| (after - before).div_f64(support::as_f64(rounds)));
    let mut cells = vec![title.to_owned()];
    cells.extend(wall.cells());
    cells.extend(main_thread.cells());
    cells.push(mean.map_or_else(|| "–".to_owned(), shown));
    cells.push(memory::mebibytes(peak));
    table.row(cells);
}
