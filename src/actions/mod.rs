//! The built-in actions: one file each; a vendor is a folder with one client.

pub mod clerk;
pub mod http;
pub mod pagerduty;
pub mod report;
mod sampling;
mod scalar;
#[cfg(test)]
mod sending;
pub mod shell;
pub mod slack;
pub mod status;
#[cfg(test)]
mod testing;
pub mod vercel;

use crate::action::Registry;

/// Every action that comes with `runbook`.
pub fn builtin() -> Registry {
    Registry::default()
        .with(shell::Shell)
        .with(http::HttpGet)
        .with(http::HttpProbe)
        .with(http::HttpRequest)
        .with(status::Check)
        .with(status::Wait)
        .with(clerk::Ping)
        .with(clerk::FrontendHealth)
        .with(clerk::SessionRefresh)
        .with(clerk::Instance)
        .with(vercel::EnvSet)
        .with(vercel::EnvRemove)
        .with(vercel::Redeploy)
        .with(slack::Post)
        .with(pagerduty::Trigger)
        .with(pagerduty::Acknowledge)
        .with(pagerduty::Resolve)
        .with(pagerduty::Change)
        .with(report::Render)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_documented_down_to_its_fields() {
        let mut generator = schemars::SchemaGenerator::default();
        for action in builtin().iter() {
            let name = action.contract().name;
            for schema in [action.params_schema(&mut generator), action.output_schema(&mut generator)] {
                let pointer = schema.get("$ref").and_then(|r| r.as_str()).unwrap_or_default().to_owned();
                let key = pointer.trim_start_matches("#/$defs/");
                let schema = &generator.definitions()[key];
                let fields = schema["properties"].as_object().cloned().unwrap_or_default();
                for (field, described) in fields {
                    let text = described.get("description").and_then(|text| text.as_str());
                    assert!(text.is_some_and(|text| !text.is_empty()), "{name}: `{field}` in {key}: {described}");
                }
            }
        }
    }

    #[test]
    fn the_names_are_these() {
        let names: Vec<_> = builtin().names().collect();
        let expected = [
            "clerk.frontend_health",
            "clerk.instance",
            "clerk.ping",
            "clerk.session_refresh",
            "http.get",
            "http.probe",
            "http.request",
            "pagerduty.acknowledge",
            "pagerduty.change",
            "pagerduty.resolve",
            "pagerduty.trigger",
            "report.render",
            "shell",
            "slack.post",
            "status.check",
            "status.wait",
            "vercel.env.remove",
            "vercel.env.set",
            "vercel.redeploy",
        ];
        assert_eq!(names, expected);
    }
}
