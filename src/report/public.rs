//! What may be told to the public of a run: an allow-list, and not the rest with things left out.
//!
//! Nothing in here is text from a log, a runbook or a person. There are moments, numbers, and words of this file; whatever a
//! run says otherwise has no way in.

use serde::Serialize;

use super::summary::{MeasureRow, StepRow, Summary};
use crate::base::{HumanDuration, Timestamp, clock};
use crate::run::Outcome;

/// What may be told to the public.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublicView {
    /// Was it a rehearsal?
    pub drill: bool,
    /// What sort of incident: `sign_in_outage`, `sign_in_degraded`, `sign_in_maintenance`, `credentials`,
    /// `application_errors`, `signed_out`, `late_updates`, `nothing`, `other`.
    pub kind: &'static str,
    /// Where it stands: `under_way`, `mitigated`, `resolved`.
    pub state: &'static str,
    /// When it was noticed, as far as is known.
    pub started: Timestamp,
    /// When people could go on.
    pub mitigated: Option<Timestamp>,
    /// When it was over.
    pub resolved: Option<Timestamp>,
    /// From the one to the other.
    pub duration: Option<HumanDuration>,
    /// As of when this is told.
    pub as_of: Timestamp,
    /// How many users it concerned, to two digits; only when somebody said so.
    pub users_affected: Option<u64>,
    /// Did somebody say that nothing was lost?
    pub nothing_lost: bool,
    /// What was done, in order, each sort of thing once.
    pub done: Vec<PublicDeed>,
}

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PublicDeed {
    /// What: `temporary_access`, `earlier_version`, `deployed`, `credentials`, `signed_out`, `sent_again`.
    pub what: &'static str,
    /// When it was first done.
    pub time: Timestamp,
    /// When it was over again; only for `temporary_access`.
    pub until: Option<Timestamp>,
}

/// What each category is called in public. Another one is told as `other`.
const KINDS: [(&str, &str); 18] = [
    ("clerk-outage", "sign_in_outage"),
    ("clerk-maintenance", "sign_in_maintenance"),
    ("clerk-backend-degraded", "sign_in_degraded"),
    ("clerk-sign-in-down", "sign_in_degraded"),
    ("sign-in-only", "sign_in_degraded"),
    ("vendor-reports-trouble", "sign_in_degraded"),
    ("key-problem", "credentials"),
    ("key-compromise", "credentials"),
    ("middleware-failure", "application_errors"),
    ("session-issues", "signed_out"),
    ("sessions-ended", "signed_out"),
    ("mass-logout", "signed_out"),
    ("origins", "signed_out"),
    ("wrong-instance", "credentials"),
    ("webhook-backlog", "late_updates"),
    ("endpoint-disabled", "late_updates"),
    ("no-svix-access", "late_updates"),
    ("none", NOTHING),
];
/// What a false alarm is called.
const NOTHING: &str = "nothing";

/// What an action is called in public, by the beginning of its name. Another one is not told.
const DEEDS: [(&str, &str); 13] = [
    ("vercel.rollback", "earlier_version"),
    ("vercel.promote", "earlier_version"),
    ("vercel.redeploy", "deployed"),
    ("clerk.platform.rotate_secret_key", "credentials"),
    ("clerk.sessions.revoke", "signed_out"),
    ("clerk.users.ban", "signed_out"),
    ("svix.recover", "sent_again"),
    ("svix.replay_missing", "sent_again"),
    ("svix.resend", "sent_again"),
    ("vercel.env.set", "deployed"),
    ("vercel.env.remove", "deployed"),
    ("vercel.edge_config.set", "deployed"),
    ("vercel.deploy", "deployed"),
];

impl PublicView {
    /// What may be told of a run.
    pub fn of(summary: &Summary) -> Self {
        let in_force = summary.in_force().next().is_some();
        let went_well = summary.outcome == Some(Outcome::Succeeded) && summary.in_doubt.is_empty();
        let kind = kind(summary.category.as_deref());
        // That a run ended well says that something is over only where it put something right, or found nothing.
        let over = summary.times.restored.or_else(|| (kind == NOTHING).then(|| summary.ended.unwrap_or(summary.as_of)));
        let resolved = over.filter(|_| went_well && !in_force);
        let started = summary.times.detected;
        Self {
            drill: summary.drill.is_some(),
            kind,
            state: match (resolved, summary.times.mitigated) {
                (Some(_), _) => "resolved",
                (None, Some(_)) if in_force || went_well => "mitigated",
                (None, _) => "under_way",
            },
            started,
            mitigated: summary.times.mitigated,
            resolved,
            duration: resolved.map(|at| HumanDuration(clock::until(started, at))),
            as_of: summary.as_of,
            users_affected: summary
                .incident
                .users_affected
                .as_ref()
                .filter(|users| !users.at_least)
                .map(|users| rounded(users.count)),
            nothing_lost: summary.incident.data_loss.as_ref().is_some_and(|said| is_none(&said.what)),
            done: done(summary),
        }
    }
}

/// Is a template of this name given the public view and nothing else? It goes by the name of the file.
pub(super) fn is_public(template: &str) -> bool {
    let file = template.rsplit(['/', '\\']).next().unwrap_or(template);
    file.starts_with("public-")
}

fn kind(category: Option<&str>) -> &'static str {
    let known = KINDS.iter().find(|(known, _)| Some(*known) == category);
    known.map_or("other", |(_, kind)| kind)
}

fn is_none(said: &str) -> bool {
    matches!(said.trim().trim_end_matches('.').to_ascii_lowercase().as_str(), "none" | "no" | "nothing")
}

/// To two digits: whoever reads it should not be able to tell who is among them.
fn rounded(count: u64) -> u64 {
    let mut unit = 1;
    while count / unit >= 100 {
        unit *= 10;
    }
    count.div_ceil(unit).saturating_mul(unit)
}

fn done(summary: &Summary) -> Vec<PublicDeed> {
    let mut done: Vec<PublicDeed> = summary.measures.iter().map(temporary).collect();
    let is_temporary = !done.is_empty();
    let undone = |step: &StepRow| summary.undone.iter().any(|row| row.step == step.id);
    let mut steps: Vec<(Timestamp, &'static str)> = summary
        .steps
        .iter()
        .filter(|step| step.result == "succeeded" && !step.is_final && !undone(step))
        .filter_map(|step| Some((step.finished?, deed(&step.kind)?)))
        // To open and to close a temporary way is to deploy and to go back; it is told as that.
        .filter(|(_, what)| !(is_temporary && matches!(*what, "deployed" | "earlier_version")))
        .collect();
    steps.sort_unstable();
    for (time, what) in steps {
        if !done.iter().any(|known| known.what == what) {
            done.push(PublicDeed { what, time, until: None });
        }
    }
    done.sort_by_key(|deed| deed.time);
    done
}

fn temporary(measure: &MeasureRow) -> PublicDeed {
    PublicDeed { what: "temporary_access", time: measure.since, until: measure.closed }
}

fn deed(action: &str) -> Option<&'static str> {
    DEEDS.iter().find(|(beginning, _)| action.starts_with(beginning)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_rounded_up_to_two_digits() {
        let told = [0, 7, 99, 100, 101, 4123, 129_999, u64::MAX].map(rounded);
        assert_eq!(told[..7], [0, 7, 99, 100, 110, 4200, 130_000]);
        assert_eq!(told[7], u64::MAX);
    }

    #[test]
    fn what_is_not_known_is_other_or_is_not_told() {
        assert_eq!(kind(Some("clerk-outage")), "sign_in_outage");
        assert_eq!(kind(Some("project-x-leaked")), "other");
        assert_eq!(deed("clerk.sessions.revoke_all"), Some("signed_out"));
        assert_eq!(deed("shell"), None);
    }

    #[test]
    fn the_name_of_the_file_decides_what_a_template_sees() {
        assert!(is_public("public-statement.md.j2") && is_public("../templates/public-page.html"));
        assert!(!is_public("post-incident.md.j2") && !is_public("public-things/report.md"));
    }
}
