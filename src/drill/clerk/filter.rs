//! Which users a list or a count is about: the filters of Clerk's Backend API.

use super::people::{invalid, user_of};
use super::population::{Population, User};
use crate::drill::ask::{Answer, Ask};

/// Which users a list or a count is about.
pub(super) struct Filter {
    users: Option<Vec<User>>,
    banned: Option<bool>,
    signed_in: [Option<i64>; 2],
    made: [Option<i64>; 2],
}

impl Filter {
    pub(super) fn of(ask: &Ask) -> Result<Self, Answer> {
        let time = |name: &str| ask.query(name).map(|text| text.parse::<i64>().map_err(|_| invalid(name))).transpose();
        let ids = |name: &str| matches!(name, "user_id" | "user_id[]");
        let users: Vec<&str> = ask.query.iter().filter(|(name, _)| ids(name)).map(|(_, id)| id.as_str()).collect();
        if users.len() > 100 {
            return Err(invalid("user_id"));
        }
        Ok(Self {
            // An id that nobody has finds nobody.
            users: (!users.is_empty()).then(|| users.into_iter().filter_map(user_of).collect()),
            banned: match ask.query("banned") {
                None => None,
                Some("true") => Some(true),
                Some("false") => Some(false),
                Some(_) => return Err(invalid("banned")),
            },
            signed_in: [time("last_sign_in_at_after")?, time("last_sign_in_at_before")?],
            made: [time("created_at_after")?, time("created_at_before")?],
        })
    }

    pub(super) fn takes_all(&self) -> bool {
        self.users.is_none() && self.banned.is_none() && self.signed_in == [None; 2] && self.made == [None; 2]
    }

    pub(super) fn takes(&self, people: &Population, user: User) -> bool {
        let within = |at: Option<i64>, [from, to]: [Option<i64>; 2]| {
            from.is_none_or(|from| at.is_some_and(|at| at > from)) && to.is_none_or(|to| at.is_some_and(|at| at < to))
        };
        self.users.as_ref().is_none_or(|users| users.contains(&user))
            && self.banned.is_none_or(|banned| people.is_banned(user) == banned)
            && (self.signed_in == [None; 2] || within(people.last_sign_in(user), self.signed_in))
            && (self.made == [None; 2] || within(Some(people.created_at(user)), self.made))
    }
}
