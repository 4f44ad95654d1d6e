//! Goes through the users of an instance, page by page, oldest first, and signs everybody out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::super::client::Client;
use super::super::rows::{Id, PAGE, UserRow};
use super::bans;
use super::cost::Strategy;
use super::meter::Meter;
use super::one::{Cut, Tally, ends_everything, sign_out};
use super::progress::{Pass, Progress};
use crate::action::ActionError;
use crate::base::Timestamp;
use crate::base::clock::{after, until};

/// By how much the vendor's clock and ours may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);
/// How often those who signed in meanwhile are looked for.
const ROUNDS: u32 = 3;
/// When so many users fail one after the other, the next one will, too.
const MOST_IN_A_ROW: u64 = 50;

/// How to go about it.
pub(super) struct Ways {
    pub(super) except: BTreeSet<String>,
    pub(super) at_once: usize,
    pub(super) verify_all: bool,
}

/// A sweep under way.
pub(super) struct Sweep<'a> {
    client: Client<'a>,
    ways: Ways,
    meter: Meter,
    /// When this try began, and what had been spent before it.
    began: Timestamp,
    before: Progress,
    /// An earlier try may have done a part of the first page.
    resumes: bool,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(client: Client<'a>, ways: Ways, progress: &Progress, total: u64) -> Self {
        let meter = Meter::new(progress, total, &client);
        let (began, resumes) = (client.cx.now(), client.cx.checkpoint().is_some());
        Self { client, ways, meter, began, before: progress.clone(), resumes }
    }

    /// Goes on from where it is to the end. On an error, `progress` is how far whole pages have come.
    pub(super) async fn run(&self, progress: &mut Progress) -> Result<(), ActionError> {
        if !progress.banning.is_empty() {
            self.client.cx.progress("lifts the bans that an interrupted try left".to_owned());
            bans::lift(&self.client, &ids(&progress.banning)?).await?;
            progress.banning.clear();
        }
        self.save(progress).await?;
        while progress.pass != Pass::Done {
            match progress.pass {
                Pass::Again => self.again(progress).await?,
                pass => self.pass(pass, progress).await?,
            }
            progress.advance(self.client.cx.now(), ROUNDS, self.ways.verify_all);
            self.save(progress).await?;
        }
        if !progress.failed.is_empty() {
            // A repeat begins with them.
            progress.pass = Pass::Again;
            self.save(progress).await?;
        }
        Ok(())
    }

    async fn save(&self, progress: &mut Progress) -> Result<(), ActionError> {
        self.spent(progress);
        let value = serde_json::to_value(&*progress).map_err(|e| ActionError::invalid_response(e.to_string()))?;
        self.client.cx.save_checkpoint(value).await
    }

    /// Brings what has been spent up to date.
    pub(super) fn spent(&self, progress: &mut Progress) {
        progress.requests = self.before.requests + self.client.requests();
        progress.spent_ms = self.before.spent_ms + super::super::millis(until(self.began, self.client.cx.now()));
        progress.paused_ms = self.before.paused_ms + super::super::millis(self.client.paused());
    }

    async fn pass(&self, pass: Pass, progress: &mut Progress) -> Result<(), ActionError> {
        if pass == Pass::SignedIn(1)
            && let Some(over) = progress.over
        {
            // What counts as opened in time by the vendor's clock has been opened then.
            self.client.cx.sleep(until(self.client.cx.now(), after(over, CLOCKS_DIFFER))).await?;
        }
        let mut resumes = self.resumes && pass == Pass::Everybody && progress.users == self.before.users;
        let mut ahead: Option<Vec<UserRow>> = None;
        loop {
            let users = match ahead.take() {
                Some(users) => users,
                None => self.page(pass, progress.began, progress.after.as_deref()).await?,
            };
            let Some(last) = users.last().map(|user| user.id.as_str().to_owned()) else { return Ok(()) };
            let is_last = users.len() < PAGE;
            let cut = Cut {
                opened_until: progress.over.map(|over| after(over, CLOCKS_DIFFER).as_millisecond()),
                revoked_since: resumes.then(|| progress.began.as_millisecond()),
            };
            resumes = false;
            let wanted: Vec<&UserRow> =
                users.iter().filter(|user| !self.ways.except.contains(user.id.as_str())).collect();
            let tally = if pass == Pass::Everybody && progress.strategy == Strategy::BanCycle {
                // No page ahead: the bans of this one are to be lifted as soon as can be.
                self.ban_page(progress, &wanted).await?
            } else {
                let (strategy, began) = (progress.strategy, progress.began);
                let next = async { if is_last { None } else { self.page(pass, began, Some(&last)).await.ok() } };
                let users = wanted.iter().map(|user| user.id.clone()).collect();
                let (tally, next) = join(self.work(pass, strategy, users, cut), next).await;
                // A page that could not be read ahead is asked for again.
                ahead = next;
                tally?
            };
            if pass == Pass::Everybody {
                progress.users += count(users.len());
                progress.excluded += count(users.len() - wanted.len());
            }
            progress.add(tally)?;
            progress.after = Some(last);
            if is_last {
                return Ok(());
            }
            self.save(progress).await?;
        }
    }

    /// A page of users, the oldest first: those who come meanwhile stand at the end and are not missed.
    async fn page(&self, pass: Pass, began: Timestamp, last: Option<&str>) -> Result<Vec<UserRow>, ActionError> {
        let since = (began.as_millisecond() - CLOCKS_DIFFER.as_millis() as i64).to_string();
        let mut query = vec![("limit", PAGE.to_string()), ("order_by", "+created_at".to_owned())];
        match pass {
            Pass::SignedIn(_) => query.push(("last_sign_in_at_after", since)),
            Pass::Made(_) => query.push(("created_at_after", since)),
            Pass::Everybody | Pass::Verify | Pass::Again | Pass::Done => {}
        }
        if let Some(last) = last {
            query.push(("starting_after", last.to_owned()));
        }
        self.client.list("/users", &query).await
    }

    async fn work(&self, pass: Pass, strategy: Strategy, users: Vec<Id>, cut: Cut) -> Result<Tally, ActionError> {
        let mut tally = Tally::default();
        let each = stream::iter(users).map(|user: Id| async move {
            if pass == Pass::Everybody && strategy == Strategy::SetCompromised {
                self.compromise(&user, cut).await
            } else {
                sign_out(&self.client, &user, cut).await
            }
        });
        let mut each = each.buffer_unordered(self.ways.at_once);
        while let Some(done) = each.next().await {
            let done = done?;
            let in_a_row = self.meter.count(&self.client, pass, 1, &done);
            if in_a_row >= MOST_IN_A_ROW
                && let Some(last) = done.failed.last()
            {
                let message = format!("{in_a_row} users failed one after the other; the last: {}", last.message);
                return Err(ActionError::new(last.kind, message));
            }
            tally.add(done);
        }
        Ok(tally)
    }

    async fn compromise(&self, user: &Id, cut: Cut) -> Result<Tally, ActionError> {
        let path = format!("/users/{}/password/set_compromised", user.as_str());
        match self.client.write(&path, Some(json!({ "revoke_all_sessions": true }))).await {
            Ok(_) => Ok(Tally { signed_out: 1, ..Tally::default() }),
            Err(error) if error.status == Some(404) => Ok(Tally::default()),
            // Who has no password has sessions all the same.
            Err(error) if error.status == Some(422) => sign_out(&self.client, user, cut).await,
            Err(error) if ends_everything(&error) => Err(error),
            Err(error) => Ok(Tally { failed: vec![Tally::failure(user, None, &error)], ..Tally::default() }),
        }
    }

    async fn ban_page(&self, progress: &mut Progress, users: &[&UserRow]) -> Result<Tally, ActionError> {
        let targets: Vec<Id> = users.iter().filter(|user| !user.banned).map(|user| user.id.clone()).collect();
        progress.banning = targets.iter().map(|id| id.as_str().to_owned()).collect();
        self.save(progress).await?;
        let told = |users: u64, tally: &Tally| {
            self.meter.count(&self.client, Pass::Everybody, users, tally);
        };
        match bans::cycle(&self.client, &targets, told).await {
            Ok(tally) => {
                progress.banning.clear();
                progress.already_banned += count(users.len() - targets.len());
                Ok(tally)
            }
            Err(error) => Err(self.put_right(progress, &targets, error).await),
        }
    }

    /// Something failed, or the run is being cancelled, and some may be banned: that must not stay so.
    async fn put_right(&self, progress: &mut Progress, banned: &[Id], mut error: ActionError) -> ActionError {
        let undisturbed = self.client.cx.undisturbed();
        match bans::lift(&self.client.beside(&undisturbed), banned).await {
            Ok(()) => {
                progress.banning.clear();
                self.spent(progress);
                if let Ok(value) = serde_json::to_value(&*progress) {
                    // Should this be lost, lifting the bans once more does no harm.
                    let _saved = undisturbed.save_checkpoint(value).await;
                }
            }
            Err(second) => {
                let count = banned.len();
                error.message = format!(
                    "{}; and the bans of up to {count} users could not be lifted ({second}): a repeat or an undo of this step lifts them",
                    error.message
                );
            }
        }
        error
    }

    async fn again(&self, progress: &mut Progress) -> Result<(), ActionError> {
        let cut = Cut {
            opened_until: progress.over.map(|over| after(over, CLOCKS_DIFFER).as_millisecond()),
            revoked_since: None,
        };
        let failed: BTreeMap<String, ()> =
            progress.failed.iter().map(|failure| (failure.user_id.clone(), ())).collect();
        let users = ids(&failed.into_keys().collect::<Vec<_>>())?;
        let mut done = Tally::default();
        let each = stream::iter(users).map(|user: Id| async move { sign_out(&self.client, &user, cut).await });
        let mut each = each.buffer_unordered(self.ways.at_once);
        while let Some(tally) = each.next().await {
            let tally = tally?;
            self.meter.count(&self.client, Pass::Again, 1, &tally);
            done.add(tally);
        }
        progress.failed.clear();
        progress.add(done)
    }
}

/// The ids that a checkpoint holds.
pub(super) fn ids(texts: &[String]) -> Result<Vec<Id>, ActionError> {
    texts.iter().map(|text| super::super::rows::given_id(text)).collect()
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
