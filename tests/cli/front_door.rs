//! The front door: a run that calls other runbooks is told as one, and the public is told of it in plain words.

use runbook::base::Digest;

use crate::support::{Place, repository, shipped};

#[test]
fn a_run_over_several_runbooks_is_told_as_one() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-incident", "-q"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    let report = place.run(&["report", "last"]).stdout;
    let lines: Vec<&str> = report.lines().collect();
    for line in [
        "| **Category** | clerk-outage |",
        "| Incident detected | 16:09 | monitoring alert (says the inputs) |",
        "### Emergency measures",
        "### Approvals",
    ] {
        assert!(lines.contains(&line), "{line}\n{report}");
    }
    // A measure and a gate inside a call are told with who, when and why.
    let row = |begins: &str| lines.iter().find(|line| line.starts_with(begins)).copied().unwrap_or_default();
    let measure = row("| `outage/open_bypass` | 16:");
    assert!(measure.contains("| lead |") && measure.ends_with("| `outage/bypass_closed` |"), "{measure}");
    let gate = row("| `outage/open_bypass` | Let people go on");
    assert!(gate.contains("| approved | lead 16:") && gate.contains("reason: sign-in is down, rehearsal"), "{gate}");
    // What was done in a call follows it; what only looked was not done.
    let steps: Vec<&str> = lines.iter().skip_while(|line| **line != "### Steps").copied().collect();
    let place_of = |id: &str| steps.iter().position(|line| line.starts_with(&format!("| `{id}` |"))).unwrap();
    assert!(place_of("outage") < place_of("outage/open_bypass") && place_of("outage/report") < place_of("keys"));
    assert!(!report.contains("- 16:11 `triage/status`"), "{report}");
    for file in ["clerk-outage.yaml", "clerk-triage.yaml"] {
        let digest = Digest::of(&std::fs::read(repository(&format!("runbooks/{file}"))).unwrap());
        let line = format!("| SHA-256 of `{file}`, which it calls | `{digest}` |");
        assert!(lines.contains(&line.as_str()), "{line}\n{report}");
    }
}

#[test]
fn the_public_is_told_nothing_of_ours() {
    let place = Place::new();
    shipped(&place);
    assert_eq!(place.run(&["drill", "clerk-incident", "-q"]).code, Some(0));
    let written = place.log_path().unwrap().with_file_name("public-statement.md");
    let statement = std::fs::read_to_string(written).unwrap();
    assert!(statement.starts_with("# DRILL: Sign-in was unavailable, 2026-02-19\n"), "{statement}");
    assert!(statement.contains("\n**Resolved.**") && statement.contains("we let people who were signed in go on"));
    let lower = statement.to_lowercase();
    for word in ["clerk", "vercel", "shop", "example.com", "lead", "tester", "dpl_", "bypass", "rehearsal", "20260219"]
    {
        assert!(!lower.contains(word), "{word}\n{statement}");
    }
    // The same from the log, whenever it is wanted.
    let again = place.run(&["report", "last", "--template", "public-statement.md.j2"]);
    assert!(again.stdout.starts_with("# DRILL: Sign-in was unavailable"), "{}", again.stdout);
}
