//! Lists of deployments, page by page.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::{Scope, Vercel, id_segment, typed};
use super::progress::is_true;
use crate::action::ActionError;
use crate::http::Request;

/// How many deployments Vercel lists at once.
const PAGE: usize = 100;
/// How many pages to read before something must be wrong.
const MOST_PAGES: usize = 50;

/// What a list is narrowed down to.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Filter<'f> {
    /// `production` or `preview`.
    Target(&'f str),
    /// States, with commas between.
    States(&'f str),
    /// Not before this, in milliseconds or as a placeholder in a plan.
    Since(&'f str),
    /// Before this.
    Until(&'f str),
    /// Only what can be rolled back to.
    RollbackCandidate,
}

/// A deployment as a list shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Listed {
    pub(in super::super) uid: String,
    #[serde(default)]
    pub(super) url: Option<String>,
    /// Vercel says the same under `createdAt`.
    #[serde(default)]
    pub(in super::super) created: i64,
    #[serde(default)]
    pub(super) target: Option<String>,
    #[serde(default)]
    pub(super) ready_state: Option<String>,
    #[serde(default)]
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) ready_substate: Option<String>,
    #[serde(default)]
    pub(super) alias_assigned: Value,
    #[serde(default)]
    pub(super) is_rollback_candidate: Option<bool>,
    #[serde(default)]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
    #[serde(default)]
    pub(super) error_code: Option<String>,
    #[serde(default)]
    pub(super) inspector_url: Option<String>,
    #[serde(default)]
    pub(super) meta: BTreeMap<String, Value>,
}

impl Listed {
    /// When it first got its domain, as far as Vercel tells; when it was made otherwise.
    pub(in super::super) fn served_from(&self) -> i64 {
        self.alias_assigned.as_f64().map_or(self.created, |at| at as i64)
    }

    pub(super) fn state(&self) -> &str {
        self.ready_state.as_deref().or(self.state.as_deref()).unwrap_or("UNKNOWN")
    }

    pub(super) fn is_aliased(&self) -> bool {
        is_true(&self.alias_assigned)
    }

    /// A text of its `meta`.
    pub(super) fn meta(&self, key: &str) -> Option<&str> {
        self.meta.get(key).and_then(Value::as_str)
    }
}

impl Scope<'_> {
    pub(in super::super) fn list_deployments(&self, project: &str, filters: &[Filter<'_>]) -> Request {
        let request = self.request("GET", "/v7/deployments").query("projectId", project);
        let request = filters.iter().fold(request, |request, filter| match filter {
            Filter::Target(target) => request.query("target", *target),
            Filter::States(states) => request.query("state", *states),
            Filter::Since(since) => request.query("since", *since),
            Filter::Until(until) => request.query("until", *until),
            Filter::RollbackCandidate => request.query("rollbackCandidate", "true"),
        });
        request.query("limit", PAGE.to_string())
    }
}

impl Vercel<'_> {
    /// Deployments, newest first, `most` at the most; and whether there are more.
    pub(in super::super) async fn deployments(
        &self,
        project: &str,
        filters: &[Filter<'_>],
        most: usize,
    ) -> Result<(Vec<Listed>, bool), ActionError> {
        let mut rows: Vec<Listed> = Vec::new();
        let mut until: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut filters: Vec<Filter<'_>> = filters.to_vec();
            if let Some(until) = &until {
                filters.retain(|filter| !matches!(filter, Filter::Until(_)));
                filters.push(Filter::Until(until));
            }
            let (page, next) = self.page_of_deployments(project, &filters).await?;
            let before = rows.len();
            for row in page {
                if !rows.iter().any(|known| known.uid == row.uid) {
                    rows.push(row);
                }
            }
            if rows.len() > most || (rows.len() == most && next.is_some()) {
                rows.truncate(most);
                return Ok((rows, true));
            }
            // A page that brings nothing new would be asked for for ever.
            if next.is_none() || rows.len() == before {
                return Ok((rows, false));
            }
            until = next;
        }
        Ok((rows, true))
    }

    /// One page, and where the next begins.
    pub(super) async fn page_of_deployments(
        &self,
        project: &str,
        filters: &[Filter<'_>],
    ) -> Result<(Vec<Listed>, Option<String>), ActionError> {
        let request = self.scope.list_deployments(project, filters);
        let url = request.url.clone();
        let mut answer = self.call(request).await?;
        let Some(rows) = answer.get_mut("deployments").filter(|rows| rows.is_array()).map(Value::take) else {
            return Err(ActionError::invalid_response(format!("{url} answered without `deployments`")));
        };
        let next = answer.pointer("/pagination/next").and_then(Value::as_f64).map(|next| format!("{next:.0}"));
        Ok((typed(rows, &url)?, next))
    }

    /// When a deployment was made, in milliseconds.
    pub(in super::super) async fn created(&self, id: &str) -> Result<Option<i64>, ActionError> {
        let deployment = self.call(self.scope.get_deployment(&id_segment(id)?)).await?;
        Ok(deployment.get("createdAt").or_else(|| deployment.get("created")).and_then(Value::as_i64))
    }
}
