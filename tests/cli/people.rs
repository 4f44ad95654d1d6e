//! People at a real terminal: a pseudo-terminal whose other end types.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Place, until};

/// A terminal with a run in it.
pub(crate) struct Screen {
    keyboard: File,
    shown: Arc<Mutex<String>>,
    child: std::process::Child,
}

impl Screen {
    pub(crate) fn of(place: &Place, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = place.command(arguments);
        command.env("TERM", "xterm").stdin(Stdio::from(terminal())).stderr(Stdio::from(terminal()));
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let shown: Arc<Mutex<String>> = Arc::default();
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Self { keyboard, shown, child }
    }

    pub(crate) fn waits_for(&self, words: &str) {
        let shown = || self.shown.lock().unwrap();
        let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(words, || shown().contains(words))));
        assert!(came.is_ok(), "{words:?} never came: {}", shown());
    }

    pub(crate) fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// How often these words were shown.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.shown.lock().unwrap().matches(words).count()
    }

    /// Does the terminal show what is typed?
    pub(crate) fn echoes(&self) -> bool {
        rustix::termios::tcgetattr(&self.keyboard).unwrap().local_modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// The process that runs in it.
    pub(crate) fn child(&mut self) -> &mut std::process::Child {
        &mut self.child
    }

    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        let mut code = None;
        until("the run ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        (code.unwrap().code(), self.shown.lock().unwrap().clone())
    }
}

const GATED: &str = "runbook: g\nsteps:\n  act:\n    approval: { prompt: 'Really act?', ask: { reason: { type: string, required: true } } }\n    argv: [sh, -c, 'echo \"act $0\" >> world', '{{ inputs.x }}']\n  after: { needs: [act], run: 'echo \"$WHY\" >> world', env: { WHY: '{{ act.approval.reason }}' } }\ninputs: { x: { type: string, default: here } }\n";

#[test]
fn a_gate_shows_the_exact_effect_and_takes_only_the_whole_word() {
    let place = Place::new();
    place.write("g.yaml", GATED);
    let mut screen = Screen::of(&place, &["run", "g", "--yes"]);
    screen.waits_for("Type `yes` or `no`");
    assert_eq!(place.read("world"), "", "nothing happens before the answer");
    screen.types("y");
    screen.waits_for("Only the whole word counts");
    screen.types("yes");
    screen.waits_for("reason");
    screen.types("");
    screen.waits_for("An answer is required");
    screen.types("because of the test");
    let (code, shown) = screen.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Really act?") && shown.contains("sh -c 'echo \"act $0\" >> world' here"), "{shown}");
    assert_eq!(place.read("world"), "act here\nbecause of the test\n");
}

#[test]
fn a_no_at_the_terminal_rejects() {
    let place = Place::new();
    place.write(
        "g.yaml",
        "runbook: g\nsteps:\n  act: { approval: { prompt: '?' }, argv: [sh, -c, 'echo act >> world'] }\n",
    );
    let mut screen = Screen::of(&place, &["run", "g", "--yes"]);
    screen.waits_for("Type `yes` or `no`");
    screen.types("no");
    assert_eq!(screen.ends().0, Some(8));
    assert_eq!(place.read("world"), "");
}

#[test]
fn a_gate_lapses_while_somebody_is_still_thinking() {
    let place = Place::new();
    place.write("g.yaml", "runbook: g\nsteps:\n  act: { approval: { prompt: '?', within: 300ms }, argv: [sh, -c, 'echo act >> world'] }\n");
    let screen = Screen::of(&place, &["run", "g", "--yes"]);
    assert_eq!(screen.ends().0, Some(8));
    assert_eq!(place.read("world"), "");
}

#[test]
fn writes_without_a_gate_are_confirmed_once() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  act: { argv: [sh, -c, 'echo act >> world'] }\n");
    let mut screen = Screen::of(&place, &["run", "a"]);
    screen.waits_for("Run it? [y/N]");
    screen.types("");
    assert_eq!(screen.ends().0, Some(2));
    assert!(!place.state().exists(), "nothing was started");
    let mut screen = Screen::of(&place, &["run", "a"]);
    screen.waits_for("Run it? [y/N]");
    screen.types("y");
    assert_eq!(screen.ends().0, Some(0));
    assert_eq!(place.read("world"), "act\n");
}

#[test]
fn an_undo_shows_what_it_would_do_and_asks() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  act: { argv: ['true'], undo: { argv: [sh, -c, 'echo undone >> world'] } }\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    for (typed, code, world) in [("", Some(2), ""), ("y", Some(0), "undone\n")] {
        let mut screen = Screen::of(&place, &["undo", "last"]);
        screen.waits_for("echo undone >> world");
        screen.waits_for("Undo this? [y/N]");
        screen.types(typed);
        let (ended, shown) = screen.ends();
        assert_eq!((ended, place.read("world").as_str()), (code, world), "{shown}");
    }
}

#[test]
fn a_run_that_is_undone_asks_nothing_more_of_what_it_had_asked() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  act: { argv: ['true'], undo: { run: 'sleep 0.1; echo undone >> world' } }\n  ask: { needs: [act], approval: { prompt: '?' } }\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    assert_eq!(place.run(&["cancel", "last"]).code, Some(0));
    let (code, shown) = Screen::of(&place, &["undo", "last", "--yes"]).ends();
    assert_eq!((code, place.read("world").as_str()), (Some(0), "undone\n"), "{shown}");
    assert!(!shown.contains("wants a yes"), "{shown}");
}

/// Somebody else answers while this terminal asks: the question is taken back, and the run goes on.
#[test]
fn an_answer_from_elsewhere_ends_the_question_here() {
    let place = Place::new();
    place.write("g.yaml", GATED);
    let mut screen = Screen::of(&place, &["run", "g", "--yes"]);
    screen.waits_for("Type `yes` or `no`");
    let said = place.run(&["approve", "last", "act", "--answer", "reason=elsewhere"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    screen.types("no");
    let (code, shown) = screen.ends();
    assert_eq!((code, place.read("world").as_str()), (Some(0), "act here\nelsewhere\n"), "{shown}");
}

#[test]
fn a_manual_step_takes_its_evidence() {
    let place = Place::new();
    place.write(
        "m.yaml",
        "runbook: m\nsteps:\n  post: { manual: { text: 'Post the statement.', evidence: { link: { type: url, required: true } } } }\n  after: { needs: [post], argv: [sh, -c, 'echo $0 > world', '{{ post.outputs.link }} {{ post.outputs.by }}'] }\n",
    );
    let mut screen = Screen::of(&place, &["run", "m", "--yes"]);
    screen.waits_for("Type `done`, `failed` or `skip`");
    screen.types("done");
    screen.waits_for("link");
    screen.types("not a link");
    screen.waits_for("is expected");
    screen.types("https://example.com/1");
    let (code, shown) = screen.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(place.read("world"), "https://example.com/1 user:tester\n");
}
