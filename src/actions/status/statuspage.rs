//! Atlassian Statuspage, <https://metastatuspage.com/api>, and the pages that speak its JSON.

use serde_json::Value;

use super::{
    PageFamily, ServiceState, StatusCheckOutput, StatusComponent, StatusIncident, list, state_of, state_of_incident,
    text,
};

/// Where the summary is.
pub(super) const PATH: &str = "/api/v2/summary.json";

/// Reads a summary; `None` when it is none.
///
/// The indicator alone is not enough: pages have shown `none`, and every component well, beside a live incident.
pub(super) fn read(body: &Value) -> Option<StatusCheckOutput> {
    let status = body.get("status")?;
    let indicator = text(status, "indicator")?;
    let mut state = state_of(&indicator);

    let mut components = Vec::new();
    // Rows with `group` are headings; their members stand for themselves.
    for row in list(body, "components").iter().filter(|row| row.get("group") != Some(&Value::Bool(true))) {
        let row_state = text(row, "status").map_or(ServiceState::Unknown, |word| state_of(&word));
        if row_state != ServiceState::Ok {
            components.push(StatusComponent { name: text(row, "name").unwrap_or_default(), state: row_state });
            state = state.max(row_state);
        }
    }

    let mut incidents = Vec::new();
    for row in list(body, "incidents").iter().filter(|row| is_live(row)) {
        let incident = incident(row);
        state = state.max(state_of_incident(incident.impact.as_deref()));
        incidents.push(incident);
    }
    for row in list(body, "scheduled_maintenances").iter().filter(|row| is_under_way(row)) {
        state = state.max(ServiceState::Maintenance);
        incidents.push(incident(row));
    }

    let reason = (state == ServiceState::Unknown).then(|| "the page uses a word that is not known here".to_owned());
    Some(StatusCheckOutput {
        state,
        description: text(status, "description"),
        indicator: Some(indicator),
        incidents,
        components,
        family: PageFamily::Statuspage,
        reason,
    })
}

fn is_live(row: &Value) -> bool {
    !matches!(
        row.get("status").and_then(Value::as_str),
        Some("resolved" | "postmortem" | "completed" | "scheduled" | "maintenance_scheduled" | "maintenance_complete")
    )
}

fn is_under_way(row: &Value) -> bool {
    matches!(row.get("status").and_then(Value::as_str), Some("in_progress" | "verifying" | "maintenance_in_progress"))
}

fn incident(row: &Value) -> StatusIncident {
    StatusIncident {
        name: text(row, "name").unwrap_or_default(),
        status: text(row, "status").unwrap_or_else(|| "unknown".to_owned()),
        impact: text(row, "impact"),
        url: text(row, "shortlink").or_else(|| text(row, "url")),
        updated_at: text(row, "updated_at").or_else(|| text(row, "created_at")),
    }
}
