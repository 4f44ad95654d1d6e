//! incident.io's widget API; the page's owner must turn it on.

use serde_json::Value;

use super::{
    PageFamily, ServiceState, StatusCheckOutput, StatusComponent, StatusIncident, list, state_of, state_of_incident,
    text,
};

/// Where the summary is.
pub(super) const PATH: &str = "/api/v1/summary";

/// Reads a summary; `None` when it is none. It has no overall word: two empty lists mean that all is well.
pub(super) fn read(body: &Value) -> Option<StatusCheckOutput> {
    let ongoing = body.get("ongoing_incidents")?.as_array()?;
    let mut output = StatusCheckOutput {
        state: ServiceState::Ok,
        description: None,
        indicator: None,
        incidents: Vec::new(),
        components: Vec::new(),
        family: PageFamily::IncidentIo,
        reason: None,
    };
    for row in ongoing.iter().filter(|row| row.get("status").and_then(Value::as_str) != Some("resolved")) {
        let incident = incident(row);
        output.state = output.state.max(state_of_incident(incident.impact.as_deref()));
        output.incidents.push(incident);
        for row in list(row, "affected_components") {
            let state = text(row, "current_status").map_or(ServiceState::Unknown, |word| state_of(&word));
            if state != ServiceState::Ok {
                output.state = output.state.max(state);
                output.components.push(StatusComponent { name: text(row, "name").unwrap_or_default(), state });
            }
        }
    }
    for row in list(body, "in_progress_maintenances") {
        output.state = output.state.max(ServiceState::Maintenance);
        output.incidents.push(incident(row));
    }
    Some(output)
}

fn incident(row: &Value) -> StatusIncident {
    StatusIncident {
        name: text(row, "name").unwrap_or_default(),
        status: text(row, "status").unwrap_or_else(|| "unknown".to_owned()),
        impact: text(row, "current_worst_impact"),
        url: text(row, "url"),
        updated_at: text(row, "last_update_at"),
    }
}
