//! What vendors say to our keys: every question that the actions of the plan have, each once, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{AT_ONCE, Area, Here, Item, Verdict, steps_of, system_of, uses_by};
use crate::action::{ActionError, ErrorKind, Need, refusal};
use crate::base::clock::SystemClock;
use crate::base::{Clock, HumanDuration, SecretSource, secret};
use crate::http::{Client, HttpError, origin};
use crate::plan::{Uses, stands_before_the_run};

/// What was asked, and where an answer of any kind came from.
pub(super) struct Asked {
    pub(super) items: Vec<Item>,
    pub(super) origins: BTreeSet<String>,
}

/// A question, by what makes it the same as another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    /// The secret that is shown, by its name in the plan.
    secret: String,
    /// Its place among the needs of an action: the first asks whether the key is taken.
    place: usize,
    address: String,
}

/// A line of the list, with what it was made of.
struct Told {
    question: Question,
    item: Item,
    error: Option<ActionError>,
}

pub(super) async fn ask(here: &Here<'_>, uses: &Uses, systems: &[String]) -> Asked {
    let mut needs: BTreeMap<Question, Need> = BTreeMap::new();
    let asked_by = uses_by(uses, |used| {
        let found = here.registry.get(&used.action).and_then(|action| action.needs(&used.params)).unwrap_or_default();
        let mut questions = Vec::new();
        for (place, need) in found.into_iter().enumerate() {
            let secret = used.secrets.get(&need.secret).unwrap_or(&need.secret).clone();
            let question = Question { secret, place, address: need.question.address() };
            questions.push(question.clone());
            needs.entry(question).or_insert(need);
        }
        questions
    });
    let sources = here.plan.secrets();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut told = Vec::new();
    let mut origins = BTreeSet::new();
    for (question, by) in asked_by {
        let Some(need) = needs.remove(&question) else { continue };
        let mut item = Item::new(Area::Accounts, Verdict::Unknown, need.what.clone()).of_steps(&steps_of(by));
        item.outage_of = system_of(&origin(&question.address).unwrap_or_default(), systems);
        let not_asked = if !stands_before_the_run(&question.address) {
            Some("not asked: only the run can tell about what".to_owned())
        } else if sources.get(&question.secret).is_some_and(|(source, _)| source.late().is_some()) {
            Some(format!("not asked: secret `{}` comes to be during the run", question.secret))
        } else if here.secrets.get(&question.secret).is_err() {
            Some(format!("not asked: secret `{}` is missing", question.secret))
        } else if need.question.method != "GET" {
            Some("not asked: the question would change something".to_owned())
        } else {
            None
        };
        if let Some(reason) = not_asked {
            told.push(Told { question, item: item.found(reason), error: None });
            continue;
        }
        let (http, room) = (here.http.clone(), Arc::clone(&room));
        let source = sources.get(&question.secret).map(|(source, _)| source.clone());
        under_way.spawn(async move {
            let _turn = room.acquire().await;
            let answer = answer(&http, &need, &question.secret).await;
            let (item, error, answered) = judged(item, &need, answer, source);
            (Told { question, item, error }, answered)
        });
    }
    while let Some(done) = under_way.join_next().await {
        let (one, answered) = done.expect("a question does not panic, and nobody stops it");
        origins.extend(answered);
        told.push(one);
    }
    told.sort_by(|one, other| one.question.cmp(&other.question));
    Asked { items: once_refused(told), origins }
}

async fn answer(http: &Client, need: &Need, secret: &str) -> Result<serde_json::Value, ActionError> {
    let request = need.question.clone().bearer(&secret::reference(secret));
    let response = http.send(request).await.map_err(|error| match error {
        // Whoever could not connect is told so in fewer words.
        HttpError::Network { reason, .. } => ActionError::new(ErrorKind::Network, no_answer(reason)),
        other => ActionError::from(other),
    })?;
    if !response.is_success() {
        return Err(refusal(&response, SystemClock.now()));
    }
    Ok(response.json().unwrap_or_default())
}

/// The line that an answer makes; the failure, and the origin that answered at all.
fn judged(
    item: Item,
    need: &Need,
    answer: Result<serde_json::Value, ActionError>,
    source: Option<SecretSource>,
) -> (Item, Option<ActionError>, Option<String>) {
    let answered = origin(&need.question.url);
    let error = match answer {
        Ok(answer) => {
            let item = Item { verdict: Verdict::Ok, found: (need.told)(&answer), ..item };
            return (item, None, answered);
        }
        Err(error) => error,
    };
    let place = match source.as_ref().map(SecretSource::place) {
        Some(SecretSource::Env(variable)) => format!("`{variable}`"),
        Some(SecretSource::File(path)) => format!("the file {}", path.display()),
        Some(SecretSource::Late(_) | SecretSource::Optional(_)) | None => "its place".to_owned(),
    };
    let verdict = match error.kind {
        // The other side could not say; that is no word about the key.
        ErrorKind::RateLimited | ErrorKind::Server => Verdict::Unknown,
        _ => Verdict::Missing,
    };
    let help = match (error.kind, error.status) {
        (ErrorKind::RateLimited, _) => match error.retry_after() {
            Some(wait) => format!("too many requests; ask again in {}", HumanDuration(wait)),
            None => "too many requests; ask again in a minute".to_owned(),
        },
        (ErrorKind::Server, _) => "the vendor has trouble of its own; ask again later".to_owned(),
        (ErrorKind::Network | ErrorKind::Timeout, _) => no_answer_help(),
        (_, Some(401)) => match (need.help)(&error) {
            Some(help) => format!("{help}, and put it into {place}"),
            None => format!("put a key that is valid into {place}"),
        },
        _ => match (need.help)(&error) {
            Some(help) => help.to_owned(),
            None => "look at what the vendor says".to_owned(),
        },
    };
    let answered = answered.filter(|_| error.status.is_some());
    let found = error.message.clone();
    (Item { verdict, ..item }.found(found).help(help), Some(error), answered)
}

/// Why nothing answers. What the system says of a name that it does not know differs from one to the next.
pub(super) fn no_answer(reason: String) -> String {
    if reason.contains("lookup address") { format!("its name cannot be resolved: {reason}") } else { reason }
}

/// The way out where nothing answers.
pub(super) fn no_answer_help() -> String {
    "look at the name, the network, the proxy (`HTTPS_PROXY`) and at `--endpoint`".to_owned()
}

/// A key that is not taken at all is told once, and not for everything that it then may not see either. Whether it is
/// taken is the first question of every action.
fn once_refused(told: Vec<Told>) -> Vec<Item> {
    let mut refused: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::new();
    for Told { question, item, error } in told {
        let is_refused = error.is_some_and(|error| matches!(error.status, Some(401 | 403)));
        if is_refused && question.place > 0 && refused.contains(&question.secret) {
            continue;
        }
        if is_refused && question.place == 0 {
            refused.insert(question.secret);
        }
        kept.push(item);
    }
    kept
}
