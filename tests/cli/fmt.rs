//! `fmt`: files are laid out evenly, and nothing else about them changes.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::support::{Place, Said, repository};

const UNEVEN: &str = "runbook:   a\nsteps:\n    one:\n        run: |\n            echo hi\n        \
                      needs: {b:  finished}   # why\n    b: {run: x}\n";
const EVEN: &str =
    "runbook: a\nsteps:\n  one:\n    run: |\n      echo hi\n    needs: { b: finished }   # why\n  b: { run: x }\n";

fn fed(place: &Place, arguments: &[&str], text: &[u8]) -> Said {
    let mut child = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn files_are_laid_out_and_keep_their_permissions() {
    let place = Place::new();
    place.write("runbooks/a.yaml", UNEVEN).write("runbooks/deep/b.yml", EVEN).write("runbooks/notes.txt", UNEVEN);
    let file = place.path("runbooks/a.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let said = place.run(&["fmt"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", "runbooks/a.yaml formatted\n"));
    assert_eq!(place.read("runbooks/a.yaml"), EVEN);
    assert_eq!(place.read("runbooks/notes.txt"), UNEVEN);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o604);
    let left: Vec<_> =
        std::fs::read_dir(place.path("runbooks")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let said = place.run(&["fmt", "runbooks"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), "2 files, nothing to change\n"));
}

#[test]
fn a_link_stays_a_link() {
    let place = Place::new();
    place.write("there/a.yaml", UNEVEN);
    std::os::unix::fs::symlink("there/a.yaml", place.path("a.yaml")).unwrap();
    assert_eq!(place.run(&["fmt", "a.yaml"]).code, Some(0));
    assert_eq!(place.read("there/a.yaml"), EVEN);
    assert!(std::fs::symlink_metadata(place.path("a.yaml")).unwrap().is_symlink());
}

#[test]
fn a_check_shows_what_would_change_and_writes_nothing() {
    let place = Place::new();
    let said = place.write("a.yaml", UNEVEN).write("b.yaml", EVEN).run(&["fmt", "--check", "a.yaml", "b.yaml"]);
    let expected = "--- a.yaml\n+++ a.yaml\n@@ -1,7 +1,7 @@\n-runbook:   a\n+runbook: a\n steps:\n-    one:\n-        run: |\n\
                    -            echo hi\n-        needs: {b:  finished}   # why\n-    b: {run: x}\n+  one:\n+    run: |\n\
                    +      echo hi\n+    needs: { b: finished }   # why\n+  b: { run: x }\n";
    assert_eq!(said.stdout, expected, "{}", said.stdout);
    assert_eq!(
        said.stderr,
        "error: 1 file is not formatted\n  help: `runbook fmt` with the same files formats them; nothing was changed\n"
    );
    assert_eq!((said.code, place.read("a.yaml").as_str()), (Some(1), UNEVEN));
    let said = place.run(&["fmt", "--check", "b.yaml"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn standard_input_is_printed_as_it_should_be() {
    let place = Place::new();
    let said = fed(&place, &["fmt", "-"], UNEVEN.as_bytes());
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), EVEN, ""));
    assert_eq!(fed(&place, &["fmt", "--check", "-"], UNEVEN.as_bytes()).code, Some(1));
    assert_eq!(fed(&place, &["fmt", "--check", "-"], EVEN.as_bytes()).code, Some(0));
    let said = fed(&place, &["fmt", "-"], b"a: \xff\n");
    assert!(said.stderr.contains("not valid UTF-8") && said.stdout.is_empty(), "{}", said.stderr);
    assert_eq!(said.code, Some(3));
}

#[test]
fn with_one_file_that_cannot_be_read_no_file_is_written() {
    let place = Place::new();
    place.write("a.yaml", UNEVEN).write("b.yaml", "a: [1\n").write("c.yaml", "? a\n: 1\n");
    let said = place.run(&["fmt", "."]);
    assert!(said.stderr.contains("error[yaml]: this `[` is never closed"), "{}", said.stderr);
    assert!(said.stderr.contains("a key written with `?` is not formatted"), "{}", said.stderr);
    assert_eq!((said.code, place.read("a.yaml").as_str()), (Some(3), UNEVEN));
    let said = place.run(&["fmt", "nowhere"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), "error: there is no file `nowhere`\n"));
}

#[test]
fn what_is_shipped_is_laid_out_so_already() {
    let place = Place::new();
    let said = place.run(&["fmt", "--check", repository("runbooks").to_str().unwrap()]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{}", said.stderr);
}
