//! `clerk.users.list`: which users are there? Ids and times; names and addresses only when asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::client::Client;
use super::super::percent::Share;
use super::super::rows::{PAGE, UserRow, given_id};
use super::super::{backend, default_secret, default_timeout, key_is_taken};
use super::{milliseconds, shown};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::HumanDuration;

/// More would not fit into a run log that people read.
const MOST: u32 = 5000;
/// More ids than these Clerk does not take at once.
const MOST_IDS: usize = 100;

/// Lists users, page by page. Names and addresses are left out unless they are asked for: what a step puts out stays in the
/// run log.
#[derive(Debug)]
pub struct List;

/// Which users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkUsersListParams {
    /// How many at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 5000))]
    pub limit: u32,
    /// Which come first.
    #[serde(default)]
    pub order: Order,
    /// Go on after this user: `next` of an earlier step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only these, by id; a hundred at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Only those who are banned, or only those who are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banned: Option<bool>,
    /// Only those who signed in after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in_after: Option<String>,
    /// Only those who were made after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<String>,
    /// Put out names and addresses, too. They then stay in the run log.
    #[serde(default)]
    pub with_personal_data: bool,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// Which come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The newest.
    #[default]
    Newest,
    /// The oldest; users made meanwhile come last and are not missed.
    Oldest,
}

/// The users found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkUsersListOutput {
    /// The users, in order.
    pub users: Vec<ClerkUser>,
    /// How many these are.
    pub count: u64,
    /// What to give as `after` for the following ones; `null` when there are no more.
    pub next: Option<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkUser {
    /// The id, `user_…`.
    pub id: String,
    /// Is the user banned?
    pub banned: bool,
    /// Is the user locked?
    pub locked: bool,
    /// When the user was made.
    pub created_at: String,
    /// When the user last signed in; `null` for never.
    pub last_sign_in_at: Option<String>,
    /// On which day a session of the user was last active; `null` for never.
    pub last_active_at: Option<String>,
    /// Name and addresses; only when they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<ClerkUserPerson>,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkUserPerson {
    /// The user name, if there is one.
    pub username: Option<String>,
    /// First and last name, if there are any.
    pub name: Option<String>,
    /// Email addresses.
    pub emails: Vec<String>,
}

fn default_limit() -> u32 {
    100
}

/// A row, with as much of it as is wanted.
#[derive(Deserialize)]
struct FullRow {
    #[serde(flatten)]
    row: UserRow,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    first_name: Option<String>,
    #[serde(default)]
    last_name: Option<String>,
    #[serde(default)]
    email_addresses: Vec<Value>,
}

impl FullRow {
    fn person(&self) -> ClerkUserPerson {
        let names: Vec<&str> = [&self.first_name, &self.last_name].into_iter().flatten().map(String::as_str).collect();
        let email = |address: &Value| address.get("email_address").and_then(Value::as_str).map(str::to_owned);
        ClerkUserPerson {
            username: self.username.clone(),
            name: (!names.is_empty()).then(|| names.join(" ")),
            emails: self.email_addresses.iter().filter_map(email).collect(),
        }
    }
}

impl ClerkUsersListParams {
    /// The query, but for the place in the list.
    fn query(&self) -> Result<Vec<(&'static str, String)>, ActionError> {
        if self.limit == 0 || self.limit > MOST || self.ids.len() > MOST_IDS {
            let message = format!("`limit` takes from 1 to {MOST}, and `ids` {MOST_IDS} at most");
            return Err(ActionError::invalid_params(message));
        }
        let order = match self.order {
            Order::Newest => "-created_at",
            Order::Oldest => "+created_at",
        };
        let mut query = vec![("order_by", order.to_owned())];
        for id in &self.ids {
            query.push(("user_id", given_id(id)?.as_str().to_owned()));
        }
        if let Some(banned) = self.banned {
            query.push(("banned", banned.to_string()));
        }
        if let Some(time) = &self.signed_in_after {
            query.push(("last_sign_in_at_after", milliseconds("signed_in_after", time)?));
        }
        if let Some(time) = &self.created_after {
            query.push(("created_at_after", milliseconds("created_after", time)?));
        }
        Ok(query)
    }
}

fn user(row: &FullRow, with_personal_data: bool) -> ClerkUser {
    ClerkUser {
        id: row.row.id.as_str().to_owned(),
        banned: row.row.banned,
        locked: row.row.locked,
        created_at: shown(row.row.created_at),
        last_sign_in_at: row.row.last_sign_in_at.map(shown),
        last_active_at: row.row.last_active_at.map(shown),
        person: with_personal_data.then(|| row.person()),
    }
}

impl Action for List {
    const NAME: &'static str = "clerk.users.list";
    const SUMMARY: &'static str = "Lists users of a Clerk instance, without personal data unless asked.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkUsersListParams;
    type Output = ClerkUsersListOutput;

    async fn run(&self, cx: &ActionContext, params: ClerkUsersListParams) -> Result<ClerkUsersListOutput, ActionError> {
        let filters = params.query()?;
        let mut after = params.after.as_deref().map(given_id).transpose()?;
        let client = Client::new(cx, &params.secret, Share::HALF, params.timeout)?;
        let wanted = usize::try_from(params.limit).unwrap_or(PAGE);
        let mut users: Vec<ClerkUser> = Vec::new();
        loop {
            let page = PAGE.min(wanted - users.len());
            let mut query = filters.clone();
            query.push(("limit", page.to_string()));
            if let Some(after) = &after {
                query.push(("starting_after", after.as_str().to_owned()));
            }
            let rows: Vec<FullRow> = client.list("/users", &query).await?;
            let found = rows.len();
            if let Some(last) = rows.last() {
                after = Some(last.row.id.clone());
            }
            users.extend(rows.iter().map(|row| user(row, params.with_personal_data)));
            if found < page || users.len() >= wanted {
                let next = after.filter(|_| found == page).map(|id| id.as_str().to_owned());
                let count = u64::try_from(users.len()).unwrap_or(u64::MAX);
                return Ok(ClerkUsersListOutput { users, count, next });
            }
        }
    }

    fn describe(&self, params: &ClerkUsersListParams) -> Vec<Intent> {
        let Ok(query) = params.query() else { return Vec::new() };
        let page = u32::try_from(PAGE).unwrap_or(params.limit).min(params.limit);
        let mut request = backend("GET", "/users", params.timeout).query("limit", page.to_string());
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(after) = &params.after {
            request = request.query("starting_after", after);
        }
        let mut intents = vec![Intent::from(&request)];
        if params.with_personal_data {
            intents.push(Intent::note("keeps names and addresses in the run log"));
        }
        intents
    }

    fn needs(&self, params: &ClerkUsersListParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params(params: Value) -> ClerkUsersListParams {
        serde_json::from_value(params).unwrap()
    }

    fn row(number: usize) -> Value {
        json!({
            "id": format!("user_{number:04}"), "banned": number.is_multiple_of(2), "locked": false, "created_at": 1771517460000i64,
            "last_sign_in_at": null, "last_active_at": 1771459200000i64, "username": "ada", "first_name": "Ada",
            "last_name": "Lovelace", "email_addresses": [{ "email_address": "ada@example.com" }], "added_later": 1
        })
    }

    /// A vendor with so many users, which pages as Clerk does.
    async fn vendor(users: usize) -> Bench {
        Bench::with(move |seen| {
            let url = reqwest::Url::parse(&format!("http://x/?{}", seen.query)).unwrap();
            let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
            let from: usize = query.get("starting_after").map_or(0, |id| id[5..].parse::<usize>().unwrap() + 1);
            let limit: usize = query["limit"].parse().unwrap();
            let rows: Vec<Value> = (from..users).take(limit).map(row).collect();
            Answer::json(200, &Value::Array(rows))
        })
        .await
    }

    #[tokio::test]
    async fn pages_by_cursor_up_to_the_limit_and_says_where_to_go_on() {
        let bench = vendor(1200).await;
        let output = List.run(&bench.cx(), params(json!({ "limit": 1100, "order": "oldest" }))).await.unwrap();
        assert_eq!((output.count, output.users.len()), (1100, 1100));
        assert_eq!(output.next.as_deref(), Some("user_1099"));
        let queries: Vec<_> = bench.seen().into_iter().map(|seen| seen.query).collect();
        assert_eq!(
            queries,
            [
                "order_by=%2Bcreated_at&limit=500",
                "order_by=%2Bcreated_at&limit=500&starting_after=user_0499",
                "order_by=%2Bcreated_at&limit=100&starting_after=user_0999",
            ]
        );
        let output = List.run(&bench.cx(), params(json!({ "limit": 500, "after": "user_1099" }))).await.unwrap();
        assert_eq!((output.count, output.next), (100, None));
    }

    #[tokio::test]
    async fn personal_data_is_put_out_only_when_asked_for() {
        let bench = vendor(3).await;
        let output = List.run(&bench.cx(), params(json!({}))).await.unwrap();
        let text = serde_json::to_string(&output).unwrap();
        assert!(!text.contains("Ada") && !text.contains("ada") && text.contains("2026-02-19T16:11:00Z"), "{text}");
        let output = List.run(&bench.cx(), params(json!({ "with_personal_data": true }))).await.unwrap();
        let person = output.users[0].person.clone().unwrap();
        assert_eq!((person.name.as_deref(), person.emails), (Some("Ada Lovelace"), vec!["ada@example.com".to_owned()]));
    }

    #[tokio::test]
    async fn the_filters_are_the_vendors() {
        let bench = vendor(1).await;
        let some = json!({ "ids": ["user_1", "user_2"], "banned": false, "signed_in_after": "2026-02-19T16:11:00Z" });
        List.run(&bench.cx(), params(some)).await.unwrap();
        let expected = "order_by=-created_at&user_id=user_1&user_id=user_2&banned=false&last_sign_in_at_after=1771517460000&limit=100";
        assert_eq!(bench.seen()[0].query, expected);
    }

    #[tokio::test]
    async fn what_makes_no_sense_asks_nothing() {
        let bench = vendor(1).await;
        for wrong in
            [json!({ "limit": 0 }), json!({ "limit": 5001 }), json!({ "after": "../x" }), json!({ "ids": ["a b"] })]
        {
            let error = List.run(&bench.cx(), params(wrong.clone())).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams, "{wrong}");
        }
        assert_eq!(bench.seen().len(), 0);
    }

    #[tokio::test]
    async fn an_id_that_could_lead_elsewhere_is_no_answer() {
        let bench = Bench::with(|_| Answer::json(200, &json!([{ "id": "user_1/ban" }]))).await;
        let error = List.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::InvalidResponse, 3));
    }
}
