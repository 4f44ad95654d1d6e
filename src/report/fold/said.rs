//! What was said of the incident itself, by well-known names.

use serde_json::Value;

use crate::base::Timestamp;
use crate::report::summary::{Incident, Said, Users};
use crate::report::words;

/// Who speaks when an input was given.
pub(super) const INPUTS: &str = "the inputs";

/// Takes a value under a name, if the name is well known and the value makes sense under it. What was said last counts.
pub(super) fn take(incident: &mut Incident, name: &str, value: &Value, by: &str) {
    let said = || {
        let what = words::brief(value);
        let is_text = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        (is_text && !what.trim().is_empty()).then(|| Said { what, by: by.to_owned() })
    };
    match name {
        "detected_by" => replace(&mut incident.detected_by, said()),
        "data_loss" => replace(&mut incident.data_loss, said()),
        "root_cause" => replace(&mut incident.root_cause, said()),
        "detected_at" => replace(&mut incident.detected_at, value.as_str().and_then(moment)),
        "users_affected" => {
            let count = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
            let users = count.map(|count| Users { count, by: by.to_owned(), at_least: false });
            replace(&mut incident.users_affected, users);
        }
        _ => {}
    }
}

fn replace<T>(place: &mut Option<T>, said: Option<T>) {
    if said.is_some() {
        *place = said;
    }
}

/// A moment as people write it: RFC 3339, or `2026-02-19 16:11` in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_end_matches("UTC").trim_end();
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_said_last_counts_and_nonsense_does_not() {
        let mut incident = Incident::default();
        for (name, value) in [
            ("users_affected", json!("about forty")),
            ("users_affected", json!("40")),
            ("users_affected", json!(41)),
            ("users_affected", json!(-1)),
            ("users_affected", json!(null)),
            ("detected_by", json!("monitoring")),
            ("detected_by", json!(" ")),
            ("detected_by", json!({ "by": "a map" })),
            ("detected_at", json!("soon")),
            ("something", json!("else")),
        ] {
            take(&mut incident, name, &value, "user:alice");
        }
        let by = || "user:alice".to_owned();
        assert_eq!(incident.users_affected, Some(Users { count: 41, by: by(), at_least: false }));
        assert_eq!(incident.detected_by, Some(Said { what: "monitoring".to_owned(), by: by() }));
        assert_eq!(incident.detected_at, None);
    }

    #[test]
    fn every_name_that_check_takes_for_told_is_told() {
        for name in crate::runbook::OF_THE_INCIDENT {
            let mut incident = Incident::default();
            let values = [json!("word"), json!("2026-02-19T16:11:00Z"), json!(1)];
            values.iter().for_each(|value| take(&mut incident, name, value, INPUTS));
            assert_ne!(incident, Incident::default(), "{name}");
        }
    }

    #[test]
    fn a_moment_may_be_written_as_people_do() {
        let at: Timestamp = "2026-02-19T16:11:00Z".parse().unwrap();
        for text in ["2026-02-19T16:11:00Z", "2026-02-19 16:11 UTC", "2026-02-19 16:11", "2026-02-19T17:11+01:00"] {
            assert_eq!(moment(text), Some(at), "{text}");
        }
        assert_eq!(moment("16:11"), None);
    }
}
