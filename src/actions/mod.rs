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
pub mod sql;
pub mod status;
pub mod svix;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vendor_faults;
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
        .with(clerk::sessions::Count)
        .with(clerk::sessions::RevokeUser)
        .with(clerk::sessions::RevokeAll)
        .with(clerk::users::Count)
        .with(clerk::users::List)
        .with(clerk::users::Ban::new())
        .with(clerk::users::Unban::new())
        .with(clerk::users::Lock::new())
        .with(clerk::users::Unlock::new())
        .with(clerk::JwtTemplates)
        .with(clerk::SvixPortal)
        .with(clerk::Application)
        .with(clerk::RotateSecretKey)
        .with(vercel::EnvList)
        .with(vercel::EnvGet)
        .with(vercel::EnvSet)
        .with(vercel::EnvRemove)
        .with(vercel::ProjectFacts)
        .with(vercel::Deployments)
        .with(vercel::DeploymentFacts)
        .with(vercel::Redeploy)
        .with(vercel::Promote)
        .with(vercel::Rollback)
        .with(vercel::Cancel)
        .with(vercel::BuildLog)
        .with(vercel::EdgeConfigSet)
        .with(slack::Post)
        .with(pagerduty::Trigger)
        .with(pagerduty::Acknowledge)
        .with(pagerduty::Resolve)
        .with(pagerduty::Change)
        .with(svix::Endpoints)
        .with(svix::EndpointEnable)
        .with(svix::Stats)
        .with(svix::Attempts)
        .with(svix::Resend)
        .with(svix::Recover)
        .with(svix::ReplayMissing)
        .with(sql::Query)
        .with(sql::Execute)
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
            "clerk.jwt_templates",
            "clerk.ping",
            "clerk.platform.application",
            "clerk.platform.rotate_secret_key",
            "clerk.session_refresh",
            "clerk.sessions.count",
            "clerk.sessions.revoke_all",
            "clerk.sessions.revoke_user",
            "clerk.svix_portal",
            "clerk.users.ban",
            "clerk.users.count",
            "clerk.users.list",
            "clerk.users.lock",
            "clerk.users.unban",
            "clerk.users.unlock",
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
            "sql.execute",
            "sql.query",
            "status.check",
            "status.wait",
            "svix.attempts",
            "svix.endpoint.enable",
            "svix.endpoints",
            "svix.recover",
            "svix.replay_missing",
            "svix.resend",
            "svix.stats",
            "vercel.build_log",
            "vercel.cancel",
            "vercel.deployment",
            "vercel.deployments",
            "vercel.edge_config.set",
            "vercel.env.get",
            "vercel.env.list",
            "vercel.env.remove",
            "vercel.env.set",
            "vercel.project",
            "vercel.promote",
            "vercel.redeploy",
            "vercel.rollback",
        ];
        assert_eq!(names, expected);
    }
}
