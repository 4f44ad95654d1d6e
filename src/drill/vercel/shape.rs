//! What Vercel's answers hold besides what a runbook reads: clients that check whole answers want all of it, and want left
//! out what is not so. Source: the response schemas of the vendor's OpenAPI file.

use serde_json::{Map, Value, json};

/// Where everything is built.
const REGION: &str = "iad1";

/// A deployment as its own address shows it.
pub(super) fn deployment(mut shown: Value, owner: &str) -> Value {
    let assigned = shown["aliasAssigned"].is_number();
    let begun = [&shown["buildingAt"], &shown["createdAt"]].into_iter().find(|at| at.is_number()).cloned();
    add(
        &mut shown,
        json!({
            "aliasAssigned": assigned,
            "bootedAt": begun,
            "buildingAt": begun,
            "build": { "env": [] },
            "buildSkipped": false,
            "createdIn": REGION,
            "env": [],
            "isInConcurrentBuildsQueue": false,
            "isInSystemBuildsQueue": false,
            "ownerId": owner,
            "plan": "pro",
            "projectSettings": {},
            "public": false,
            "regions": [REGION],
            "routes": [],
            "version": 2,
        }),
    );
    if owner.starts_with("team_") {
        add(&mut shown, json!({ "team": team(owner) }));
    }
    without_nulls(shown, &["aliasError", "target", "inspectorUrl"])
}

/// A team, as short as wherever something belongs to it.
pub(super) fn team(id: &str) -> Value {
    let name = id.trim_start_matches("team_");
    json!({ "id": id, "slug": name, "name": name })
}

/// A deployment as a list shows it.
pub(super) fn listed(shown: Value) -> Value {
    without_nulls(shown, &["aliasError", "target", "inspectorUrl"])
}

/// A deployment as its project shows it.
pub(super) fn target(mut shown: Value, owner: &str) -> Value {
    let host = shown["url"].clone();
    add(
        &mut shown,
        json!({
            "createdIn": REGION,
            "creator": { "uid": "user_drill", "username": "drill", "email": "drill@example.com" },
            "deploymentHostname": host,
            "plan": "pro",
            "private": false,
            "userId": owner,
        }),
    );
    without_nulls(shown, &["aliasError", "target"])
}

/// A project.
pub(super) fn project(mut shown: Value) -> Value {
    let resources = json!({ "functionDefaultRegions": [REGION] });
    add(
        &mut shown,
        json!({
            "alias": [],
            "deploymentExpiration": {},
            "directoryListing": false,
            "nodeVersion": "22.x",
            "resourceConfig": resources,
            "defaultResourceConfig": resources,
        }),
    );
    shown
}

/// A variable.
pub(super) fn variable(mut shown: Value) -> Value {
    add(&mut shown, json!({ "securityIssues": [] }));
    without_nulls(shown, &["configurationId"])
}

/// Who a token belongs to.
pub(super) fn user() -> Value {
    json!({
        "id": "user_drill",
        "email": "drill@example.com",
        "username": "drill",
        "name": "Drill",
        "avatar": null,
        "defaultTeamId": null,
        "limited": true,
    })
}

/// Adds fields, over those that are there.
pub(super) fn add(shown: &mut Value, more: Value) {
    if let (Some(fields), Value::Object(more)) = (shown.as_object_mut(), more) {
        fields.extend(more);
    }
}

/// Leaves out what is not so, except fields that the vendor sends as `null`.
fn without_nulls(shown: Value, kept: &[&str]) -> Value {
    match shown {
        Value::Object(fields) => {
            let is_told = |(name, value): &(String, Value)| !value.is_null() || kept.contains(&name.as_str());
            fields.into_iter().filter(is_told).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}
