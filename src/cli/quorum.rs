//! Gates that too few people could open, by the groups of `approvers.yaml`.

use crate::base::{Code, Diagnostic};
use crate::engine::Approvers;
use crate::runbook::{Approval, Loaded};

/// Gates that name fewer people than they want answers of.
pub(super) fn problems(loaded: &Loaded, approvers: &Approvers) -> Vec<Diagnostic> {
    let runbook = loaded.runbook.as_ref();
    let mut problems = Vec::new();
    for (section, steps) in [("steps", &runbook.steps), ("finally", &runbook.finally)] {
        for (id, step) in steps {
            let Some(approval) = step.approval.as_ref().filter(|approval| !approval.by.is_empty()) else { continue };
            // A group that nobody has written down is told by itself.
            if approvers.unknown_groups(&approval.by).is_empty() {
                let gate = [section, id.as_str(), "approval"];
                problems.extend(too_few(loaded, &gate, id.as_str(), approval, approvers));
            }
        }
    }
    problems
}

fn too_few(loaded: &Loaded, gate: &[&str], id: &str, approval: &Approval, approvers: &Approvers) -> Option<Diagnostic> {
    let members = approvers.members(approval);
    let there = members.len();
    let wanted = usize::try_from(approval.at_least).unwrap_or(usize::MAX);
    let at = |field: &str| {
        let path = [gate, &[field]].concat();
        loaded.has(&path).then(|| loaded.span(&path))
    };
    let by = at("by")?;
    if there < wanted {
        let who = match there {
            0 => "its groups are empty".to_owned(),
            1 => "it names one person".to_owned(),
            many => format!("it names {many} people"),
        };
        let message = format!("gate `{id}` can never open: it wants {}, and {who}", answers(wanted));
        let problem = Diagnostic::error(&loaded.source, at("at_least").unwrap_or(by), Code::Quorum, message);
        let problem = if at("at_least").is_some() { problem.related(by, "these may answer") } else { problem };
        return Some(problem.help(match there {
            0 => "write people into the group in `approvers.yaml`, or name somebody here",
            _ => "name more people, or lower `at_least`",
        }));
    }
    if approval.not_requester && there == wanted {
        let message = if there == 1 {
            format!("gate `{id}` names one person, who cannot open it when they have started the run")
        } else {
            format!(
                "gate `{id}` wants all {there} people that it names, and cannot open when one of them has started the run"
            )
        };
        let place = at("not_requester").unwrap_or(by);
        return Some(
            Diagnostic::warning(&loaded.source, place, Code::Quorum, message)
                .related(by, "these may answer")
                .help("name one more person, so that a run can be started by any of them"),
        );
    }
    None
}

fn answers(count: usize) -> String {
    if count == 1 { "one answer".to_owned() } else { format!("{count} answers") }
}
