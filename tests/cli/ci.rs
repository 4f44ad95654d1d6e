//! The recipes of `docs/ci.md`, run as the shell commands they are: in a repository with a main branch and a branch to merge.
//!
//! Only what needs the network has a stand-in on the PATH: installing the program, and writing the comment.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use runbook::base::Source;
use runbook::runbook::node::{self, Content, Node};

use crate::support::{Place, Said, repository, said, shipped};

/// A job of the page: the shells it starts one after the other, each with its whole script.
struct Job {
    file: String,
    name: String,
    shells: Vec<String>,
}

/// Keys at the top of a GitLab file that are no job.
const NO_JOB: [&str; 4] = ["stages", "variables", "default", "workflow"];

/// Every job of every YAML block of the page.
fn jobs() -> Vec<Job> {
    let page = std::fs::read_to_string(repository("docs/ci.md")).unwrap();
    let mut jobs = Vec::new();
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let file = text.lines().next().unwrap().trim_start_matches("# ").to_owned();
        let tree = node::parse(&Source::new(file.clone(), text)).unwrap_or_else(|p| panic!("{}", p.render(false)));
        if file.starts_with(".github/") {
            for (name, job) in entries(tree.child("jobs").unwrap()) {
                // Every `run` is a shell of its own.
                let shells =
                    items(job.child("steps").unwrap()).iter().filter_map(|step| Some(text_of(step.child("run")?)));
                jobs.push(Job { file: file.clone(), name, shells: shells.collect() });
            }
        } else {
            for (name, job) in entries(&tree).into_iter().filter(|(name, _)| !NO_JOB.contains(&name.as_str())) {
                // `before_script` and `script` are one shell.
                let lines = ["before_script", "script"].iter().filter_map(|part| job.child(part)).flat_map(items);
                let script = lines.map(text_of).collect::<Vec<_>>().join("\n");
                jobs.push(Job { file: file.clone(), name, shells: vec![script] });
            }
        }
    }
    jobs
}

fn entries(node: &Node) -> Vec<(String, &Node)> {
    match &node.content {
        Content::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node)).collect(),
        _ => Vec::new(),
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.content {
        Content::List(items) => items,
        _ => &[],
    }
}

fn text_of(node: &Node) -> String {
    match &node.content {
        Content::Text(text) => text.clone(),
        other => panic!("{other:?} is no script"),
    }
}

/// A repository as CI would have checked it out, with stand-ins for what needs the network.
struct Checkout {
    place: Place,
    base: String,
}

const POLICY: &str = "\
deny: [gate-weakened, gate-removed, write-uncovered, gate-without-names]
measure_at_most: 4h
";

impl Checkout {
    fn new() -> Self {
        let place = Place::new();
        shipped(&place);
        let of_two = |folder: &str| -> Vec<String> {
            let names = std::fs::read_dir(place.path(folder)).unwrap().map(|entry| entry.unwrap().file_name());
            let names = names.filter_map(|name| name.into_string().ok());
            names.filter(|name| ["clerk-outage", "clerk-triage"].iter().any(|of| name.starts_with(of))).collect()
        };
        // Two runbooks are enough, and two that CI has inputs for.
        for (folder, more) in [("runbooks/drills", &[][..]), ("runbooks", &["approvers.yaml", "templates", "drills"])] {
            let kept = of_two(folder);
            place.keep(folder, &kept.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>());
        }
        place.write("runbook-policy.yaml", POLICY);
        let hosts = "app_url: https://shop.example.com\nfrontend_host: clerk.shop.example.com\n";
        place.write("ci/inputs/clerk-triage.yaml", hosts);
        place.write("ci/inputs/clerk-outage.yaml", &format!("project: shop\n{hosts}"));
        let stand_ins = [
            ("cargo", "echo \"$@\" >> \"$SEEN/cargo\""),
            ("gh", "echo \"$@\" >> \"$SEEN/gh\"; cat comment.md > \"$SEEN/comment.md\""),
            ("curl", "echo \"$@\" >> \"$SEEN/curl\"; cat > \"$SEEN/config\"; cat comment.md > \"$SEEN/comment.md\""),
        ];
        std::fs::create_dir_all(place.state().join("seen")).unwrap();
        std::fs::create_dir_all(place.state().join("bin")).unwrap();
        for (name, script) in stand_ins {
            let path = place.state().join("bin").join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_runbook"), place.state().join("bin/runbook")).unwrap();
        let mut checkout = Self { place, base: String::new() };
        checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        checkout.commit("as shipped");
        checkout.git(&["update-ref", "refs/remotes/origin/main", "main"]);
        checkout.base = checkout.git(&["rev-parse", "main"]).trim().to_owned();
        checkout.git(&["switch", "--quiet", "--create", "change"]);
        checkout
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
        command.current_dir(self.place.folder()).env("HOME", self.place.state()).env("GIT_CONFIG_NOSYSTEM", "1");
        let said = said(&mut command);
        assert_eq!(said.code, Some(0), "git {arguments:?}: {}", said.stderr);
        said.stdout
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Changes a runbook on the branch.
    fn change(&self, file: &str, from: &str, to: &str) {
        let text = self.place.read(file);
        assert!(text.contains(from), "{file} has no `{from}`");
        self.place.write(file, &text.replace(from, to));
        self.commit("a change");
    }

    /// Runs a job as CI does: one shell after the other, until one fails.
    fn run(&self, job: &Job) -> Said {
        let mut last = Said { code: Some(0), stdout: String::new(), stderr: String::new() };
        for script in &job.shells {
            let path = std::env::var("PATH").unwrap_or_default();
            let mut command = Command::new("bash");
            command
                .args(["-euo", "pipefail", "-c", script])
                .current_dir(self.place.folder())
                .env_clear()
                .env("PATH", format!("{}:{path}", self.place.state().join("bin").display()))
                .env("HOME", self.place.state())
                .env("USER", "runner")
                .env("SEEN", self.place.state().join("seen"))
                .env("RUNBOOK_STATE", self.place.state().join("runs"))
                .env("GITHUB_BASE_REF", "main")
                .env("GH_TOKEN", "t0ken")
                .env("PULL_REQUEST", "7")
                .env("CI_MERGE_REQUEST_DIFF_BASE_SHA", &self.base)
                .env("CI_API_V4_URL", "https://gitlab.example.com/api/v4")
                .env("CI_PROJECT_ID", "42")
                .env("CI_MERGE_REQUEST_IID", "7")
                .env("RUNBOOK_BOT_TOKEN", "t0ken")
                .stdin(std::process::Stdio::null());
            last = said(&mut command);
            if last.code != Some(0) {
                break;
            }
        }
        last
    }

    fn seen(&self, name: &str) -> String {
        std::fs::read_to_string(self.place.state().join("seen").join(name)).unwrap_or_default()
    }
}

fn merge_jobs() -> Vec<Job> {
    let jobs: Vec<Job> = jobs().into_iter().filter(|job| job.name == "runbooks").collect();
    let files: Vec<&str> = jobs.iter().map(|job| job.file.as_str()).collect();
    assert_eq!(files, [".github/workflows/runbooks.yaml", ".gitlab-ci.yml"]);
    jobs
}

#[test]
fn a_harmless_change_passes_and_is_told_in_a_comment() {
    for job in merge_jobs() {
        let checkout = Checkout::new();
        checkout.change("runbooks/clerk-outage.yaml", "Deploy without the bypass", "Deploy as before");
        let said = checkout.run(&job);
        assert_eq!(said.code, Some(0), "{}\n{}\n{}", job.file, said.stdout, said.stderr);
        assert_eq!(checkout.seen("cargo"), "install runbook --locked\n");
        let comment = checkout.seen("comment.md");
        let headings: Vec<&str> = comment.lines().filter(|line| line.starts_with("####")).collect();
        assert_eq!(headings, ["#### clerk-outage: 1 neutral", "#### clerk-triage: no difference in meaning"]);
        let plan = checkout.place.read("plans/clerk-outage.txt");
        assert!(plan.starts_with("Plan for clerk-outage"), "{plan}");
    }
}

#[test]
fn a_weakened_gate_ends_with_9_after_the_comment_was_written() {
    for job in merge_jobs() {
        let checkout = Checkout::new();
        checkout.change("runbooks/clerk-outage.yaml", "within: 15m", "within: 45m");
        // A policy that the change brings along itself is not asked.
        checkout.change("runbook-policy.yaml", "gate-weakened, ", "");
        let said = checkout.run(&job);
        assert_eq!(said.code, Some(9), "{}\n{}\n{}", job.file, said.stdout, said.stderr);
        let comment = checkout.seen("comment.md");
        assert!(comment.contains("**The policy denies 1 finding.**"), "{comment}");
        match job.file.starts_with(".github/") {
            true => {
                assert_eq!(checkout.seen("gh"), "pr comment 7 --edit-last --create-if-none --body-file comment.md\n")
            }
            false => {
                let call = checkout.seen("curl");
                assert!(
                    call.ends_with("https://gitlab.example.com/api/v4/projects/42/merge_requests/7/notes\n"),
                    "{call}"
                );
                assert!(!call.contains("t0ken"), "the token is no argument: {call}");
                assert_eq!(checkout.seen("config"), "header = \"PRIVATE-TOKEN: t0ken\"\n");
            }
        }
    }
}

#[test]
fn a_plan_that_breaks_a_standing_rule_and_a_file_with_mistakes_stop_the_job() {
    for job in merge_jobs() {
        let checkout = Checkout::new();
        checkout.change("runbooks/clerk-outage.yaml", "      by: [\"group:oncall\"]\n", "");
        assert_eq!(checkout.run(&job).code, Some(9), "{}", job.file);
        let checkout = Checkout::new();
        checkout.change("runbooks/clerk-outage.yaml", "uses: vercel.redeploy", "uses: vercel.redeplay");
        assert_eq!(checkout.run(&job).code, Some(3), "{}", job.file);
    }
}

#[test]
fn the_tests_of_the_runbooks_are_run_and_one_that_fails_fails_the_job() {
    let jobs: Vec<Job> = jobs().into_iter().filter(|job| job.name == "tests").collect();
    assert_eq!(jobs.len(), 2, "one for each");
    for job in jobs {
        let checkout = Checkout::new();
        let said = checkout.run(&job);
        assert_eq!(said.code, Some(0), "{}\n{}\n{}", job.file, said.stdout, said.stderr);
        assert!(checkout.place.read("tests.xml").contains("failures=\"0\""));
        checkout.change("runbooks/clerk-outage.yaml", "== 'clerk-outage'", "== 'key-problem'");
        assert_eq!(checkout.run(&job).code, Some(1), "{}", job.file);
        assert!(checkout.place.read("tests.xml").contains("<failure"), "the report is written all the same");
        std::fs::remove_file(checkout.place.path("runbooks/clerk-triage.test.yaml")).unwrap();
        assert_eq!(checkout.run(&job).code, Some(1), "what has no tests is not covered");
    }
}

#[test]
fn every_drill_is_held_at_night_and_one_that_goes_wrong_fails_the_job() {
    let jobs: Vec<Job> = jobs().into_iter().filter(|job| job.name == "drills").collect();
    assert_eq!(jobs.len(), 2, "one for each");
    for job in jobs {
        let checkout = Checkout::new();
        // The long ones are rehearsed elsewhere; here it matters that each file is taken up and that its end counts.
        let kept = ["clerk-outage.false-alarm.yaml", "clerk-triage.page-only.yaml"];
        checkout.place.keep("runbooks/drills", &kept);
        let kept = ["clerk-outage.yaml", "clerk-triage.yaml", "approvers.yaml", "templates", "drills"];
        checkout.place.keep("runbooks", &kept);
        let said = checkout.run(&job);
        assert_eq!(said.code, Some(0), "{}\n{}\n{}", job.file, said.stdout, said.stderr);
        let runs = std::fs::read_dir(checkout.place.state().join("runs/runs")).unwrap().count();
        assert_eq!(runs, 2);
        checkout
            .place
            .write("runbooks/forgotten.yaml", "runbook: forgotten\nsteps: { look: { argv: [ls], effect: read } }\n");
        assert_eq!(checkout.run(&job).code, Some(1), "a runbook without a drill");
        std::fs::remove_file(checkout.place.path("runbooks/forgotten.yaml")).unwrap();
        let scenario = "runbooks/drills/clerk-triage.page-only.yaml";
        let text = checkout.place.read(scenario).replace("outcome: succeeded", "outcome: failed");
        checkout.place.write(scenario, &text);
        assert_eq!(checkout.run(&job).code, Some(1), "{}", job.file);
    }
}
