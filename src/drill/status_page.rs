//! A status page, in the two families that vendors use.

use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::scenario::{Family, PageState, StandIn};
use super::state::WorldState;

const COMPONENTS: [(&str, &str); 4] = [
    ("cmp_sign_in", "User and authentication"),
    ("cmp_sessions", "Session management"),
    ("cmp_webhooks", "Webhooks"),
    ("cmp_dashboard", "Dashboard"),
];
/// How many of the components an incident touches, from the first.
const TOUCHED: usize = 2;

/// Answers a request. Nobody has to say who they are.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let family = world.scenario.world.status_page.family;
    let segments = ask.segments();
    match (ask.method.as_str(), segments.as_slice(), family) {
        ("GET", ["api", "v2", file], Family::Statuspage | Family::IncidentIo) => match *file {
            "status.json" => Answer::json(200, &head(world)),
            "summary.json" => Answer::json(200, &summary(world)),
            // This family's pages keep no such list.
            _ => Answer::page(404, "Not found"),
        },
        ("GET", ["api", "v2", "incidents", "unresolved.json"], Family::Statuspage) => {
            Answer::json(200, &json!({ "page": page(world), "incidents": incidents(world) }))
        }
        ("GET", ["api", "v1", "summary"], Family::IncidentIoWidget) => Answer::json(200, &widget(world)),
        _ => Answer::page(404, "Not found"),
    }
}

fn address(world: &WorldState) -> String {
    format!("https://{}", world.scenario.host_of(StandIn::StatusPage).unwrap_or("status.example.com"))
}

fn page(world: &WorldState) -> Value {
    json!({
        "id": "page_drill",
        "name": "Clerk",
        "url": address(world),
        "time_zone": "Etc/UTC",
        "updated_at": world.page.since.to_string(),
    })
}

fn head(world: &WorldState) -> Value {
    let (indicator, description) = match world.page.state {
        PageState::Ok => ("none", "All systems operational"),
        PageState::Degraded => ("minor", "Partially degraded service"),
        PageState::Outage => ("critical", "Major outage"),
        PageState::Maintenance => ("maintenance", "Service under maintenance"),
    };
    json!({ "page": page(world), "status": { "indicator": indicator, "description": description } })
}

fn components(world: &WorldState) -> Vec<Value> {
    let touched = match world.page.state {
        PageState::Ok => "operational",
        PageState::Degraded => "degraded_performance",
        PageState::Outage => "major_outage",
        PageState::Maintenance => "under_maintenance",
    };
    let row = |(index, (id, name)): (usize, &(&str, &str))| {
        let status = if index < TOUCHED { touched } else { "operational" };
        json!({ "id": id, "name": name, "status": status, "group": false, "group_id": null })
    };
    COMPONENTS.iter().enumerate().map(row).collect()
}

/// An incident can be shown while everything is said to be operational; real pages do that too.
fn incidents(world: &WorldState) -> Vec<Value> {
    let impact = match world.page.state {
        PageState::Ok => "none",
        PageState::Degraded => "minor",
        PageState::Outage => "critical",
        PageState::Maintenance => return Vec::new(),
    };
    let since = world.page.since.to_string();
    let incident = world.page.incident.as_ref().map(|name| {
        json!({
            "id": "inc_drill",
            "name": name,
            "status": "investigating",
            "impact": impact,
            "created_at": since,
            "updated_at": since,
            "resolved_at": null,
            "shortlink": format!("{}/incidents/inc_drill", address(world)),
            "incident_updates": [],
            "components": [],
        })
    });
    incident.into_iter().collect()
}

fn maintenances(world: &WorldState) -> Vec<Value> {
    if world.page.state != PageState::Maintenance {
        return Vec::new();
    }
    let status = match world.scenario.world.status_page.family {
        Family::Statuspage => "in_progress",
        Family::IncidentIo | Family::IncidentIoWidget => "maintenance_in_progress",
    };
    let name = world.page.incident.as_deref().unwrap_or("Planned maintenance");
    vec![json!({ "id": "mnt_drill", "name": name, "status": status, "impact": "maintenance" })]
}

fn summary(world: &WorldState) -> Value {
    let mut summary = head(world);
    summary["components"] = components(world).into();
    summary["incidents"] = incidents(world).into();
    summary["scheduled_maintenances"] = maintenances(world).into();
    summary
}

fn widget(world: &WorldState) -> Value {
    let word = match world.page.state {
        PageState::Ok | PageState::Maintenance => "operational",
        PageState::Degraded => "degraded_performance",
        PageState::Outage => "full_outage",
    };
    let troubled = matches!(world.page.state, PageState::Degraded | PageState::Outage) || world.page.incident.is_some();
    let mut ongoing = Vec::new();
    if troubled && world.page.state != PageState::Maintenance {
        let affected: Vec<Value> = COMPONENTS[..TOUCHED]
            .iter()
            .map(|(id, name)| json!({ "id": id, "name": name, "current_status": word }))
            .collect();
        ongoing.push(json!({
            "id": "inc_drill",
            "name": world.page.incident.as_deref().unwrap_or("Elevated errors"),
            "status": "investigating",
            "url": format!("{}/incidents/inc_drill", address(world)),
            "last_update_at": world.page.since.to_string(),
            "last_update_message": "We are looking into it.",
            "current_worst_impact": if word == "operational" { "degraded_performance" } else { word },
            "affected_components": affected,
        }));
    }
    json!({
        "page_title": "Clerk",
        "page_url": address(world),
        "ongoing_incidents": ongoing,
        "in_progress_maintenances": maintenances(world),
        "scheduled_maintenances": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use std::sync::Arc;

    fn world(family: &str, page: &str) -> WorldState {
        WorldState::new(Arc::new(scenario(&format!(
            "world: {{ vercel: {{ project: shop }}, status_page: {{ family: {family} }} }}
timeline: [{{ at: 0s, status_page: {page} }}]
"
        ))))
    }

    fn get(world: &WorldState, path: &str) -> (u16, Value) {
        let answer = answer(&Ask { method: "GET".into(), path: path.into(), ..Ask::default() }, world);
        (answer.status, serde_json::from_str(&answer.content).unwrap_or_default())
    }

    #[test]
    fn each_family_answers_only_at_its_own_places() {
        for (family, expected) in [
            ("statuspage", [200, 200, 200, 404]),
            ("incident_io", [200, 200, 404, 404]),
            ("incident_io_widget", [404, 404, 404, 200]),
        ] {
            let world = world(family, "ok");
            let paths =
                ["/api/v2/status.json", "/api/v2/summary.json", "/api/v2/incidents/unresolved.json", "/api/v1/summary"];
            assert_eq!(paths.map(|path| get(&world, path).0), expected, "{family}");
        }
    }

    #[test]
    fn an_incident_can_be_live_while_all_is_said_to_be_well() {
        let world = world("statuspage", "{ state: ok, incident: Sign-in is slow }");
        let (_, summary) = get(&world, "/api/v2/summary.json");
        assert_eq!(summary["status"]["indicator"], "none");
        assert_eq!(summary["components"][0]["status"], "operational");
        assert_eq!(summary["incidents"][0]["name"], "Sign-in is slow");
    }

    #[test]
    fn the_words_are_those_of_the_family() {
        let degraded = "{ state: degraded, incident: Elevated errors }";
        let (_, summary) = get(&world("incident_io", degraded), "/api/v2/summary.json");
        assert_eq!(summary["status"]["indicator"], "minor");
        assert_eq!(summary["components"][0]["status"], "degraded_performance");
        assert_eq!(summary["components"][3]["status"], "operational");
        let (_, widget) = get(&world("incident_io_widget", "outage"), "/api/v1/summary");
        assert_eq!(widget["ongoing_incidents"][0]["current_worst_impact"], "full_outage");
        let (_, widget) = get(&world("incident_io_widget", "ok"), "/api/v1/summary");
        assert_eq!(widget["ongoing_incidents"], json!([]));
    }
}
