//! People at this terminal: what the flags have answered already, and questions line by line.
//!
//! Lines are read on a thread of their own, so that a question can lapse while somebody is still thinking.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::base::redact::SHORTEST_SECRET;
use crate::base::{BoxFuture, Clock, HumanDuration, Secret, Timestamp, clock};
use crate::engine::{AskedSecret, People, Question, Reply};
use crate::run::{Answer, Decision, Doubt, ManualResult};
use crate::runbook::AskField;

use super::drive::{Answers, SharedConsole};
use super::errors::CliError;
use super::{env, plan};

/// Whoever sits here, and what they said on the command line.
pub(super) struct Terminal {
    user: String,
    /// In a rehearsal you answer as whoever the scenario has answer a step.
    stand_for: BTreeMap<String, String>,
    /// In a rehearsal the scenario has the secrets: its keys are made up, and nobody could know them.
    made_up: Vec<(String, Secret)>,
    flags: Mutex<Flags>,
    /// `None` when nobody sits here.
    lines: Option<Arc<tokio::sync::Mutex<Lines>>>,
    console: SharedConsole,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Flags {
    approve: BTreeSet<String>,
    reject: BTreeSet<String>,
    answers: BTreeMap<String, BTreeMap<String, String>>,
    happened: BTreeSet<String>,
    again: BTreeSet<String>,
    did_not_happen: BTreeSet<String>,
}

impl Terminal {
    /// A terminal where somebody may sit.
    pub(super) fn new(answers: &Answers, console: SharedConsole, clock: Arc<dyn Clock>) -> Result<Self, CliError> {
        let flags = Flags {
            approve: answers.approve.iter().cloned().collect(),
            reject: answers.reject.iter().cloned().collect(),
            answers: answers.parsed()?,
            happened: answers.happened.iter().cloned().collect(),
            again: answers.again.iter().cloned().collect(),
            did_not_happen: answers.did_not_happen.iter().cloned().collect(),
        };
        let lines = env::is_attended().then(|| Arc::new(tokio::sync::Mutex::new(Lines::start())));
        Ok(Self {
            user: env::user(),
            stand_for: BTreeMap::new(),
            made_up: Vec::new(),
            flags: Mutex::new(flags),
            lines,
            console,
            clock,
        })
    }

    /// Whoever sits here answers these steps in the name of others.
    #[must_use]
    pub(super) fn standing_for(mut self, stand_for: BTreeMap<String, String>) -> Self {
        self.stand_for = stand_for;
        self
    }

    /// These secrets are not asked for.
    #[must_use]
    pub(super) fn knowing(mut self, made_up: Vec<(String, Secret)>) -> Self {
        self.made_up = made_up;
        self
    }

    /// What the flags say to a question. Each says it once: a refused answer is not given again.
    fn by_flag(&self, question: &Question) -> Option<Reply> {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let step = question.step().to_string();
        match question {
            Question::Gate { .. } => {
                let answer = if flags.reject.remove(&step) {
                    Answer::Reject
                } else if flags.approve.remove(&step) {
                    Answer::Approve
                } else {
                    return None;
                };
                let given = flags.answers.remove(&step).unwrap_or_default();
                let answers = given.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
                Some(Reply::Gate(Decision { by: self.user.clone(), answer, answers, via: "flag".to_owned() }))
            }
            Question::Doubt { undo, .. } => {
                let doubt = if flags.happened.remove(&step) {
                    Some(Doubt::Happened { outputs: Value::Null })
                } else if flags.again.remove(&step) {
                    Some(Doubt::Again)
                } else if flags.did_not_happen.remove(&step) {
                    Some(Doubt::DidNotHappen)
                } else {
                    None
                };
                doubt.map(|doubt| Reply::Doubt { by: self.user.clone(), doubt, undo: *undo })
            }
            Question::Manual { .. } => None,
        }
    }
}

impl People for Terminal {
    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>> {
        let flagged = self.by_flag(&question);
        let (lines, console) = (self.lines.clone(), Arc::clone(&self.console));
        let user = self.stand_for.get(question.step().as_str()).unwrap_or(&self.user).clone();
        let clock = Arc::clone(&self.clock);
        Box::pin(async move {
            if flagged.is_some() {
                return flagged;
            }
            // One question at a time; the others wait for their turn at the lock.
            let lines = lines?;
            let mut lines = lines.lock().await;
            let _held = Held::new(&console);
            let mut asking = Asking { lines: &mut lines, user };
            match question {
                Question::Gate { step, approval, members, prompt, does, digest, expires } => {
                    if !members.is_empty() && !members.contains(&asking.user) {
                        say(&format!("\n? {step} wants a yes from {}; you are {}", members.join(", "), asking.user));
                        return None;
                    }
                    say(&format!("\n? {step} wants a yes before it acts"));
                    say(&format!("  {prompt}"));
                    say("  It would do exactly this:");
                    does.iter().flat_map(plan::intent_lines).for_each(|line| say(&format!("    {line}")));
                    let by = if approval.by.is_empty() { "whoever is here".to_owned() } else { approval.by.join(", ") };
                    say(&format!(
                        "  May answer: {by}{}. You are {}. Digest {}.",
                        left(expires, clock.now()),
                        asking.user,
                        digest.short()
                    ));
                    asking.gate(&approval.ask).await.map(Reply::Gate)
                }
                Question::Manual { step, text, evidence } => {
                    say(&format!("\n? {step} is yours to do"));
                    text.lines().for_each(|line| say(&format!("  {line}")));
                    let result = asking.manual(&evidence).await?;
                    Some(Reply::Manual { by: asking.user, result })
                }
                Question::Doubt { step, does, undo } => {
                    let what = if undo { "the undo of " } else { "" };
                    say(&format!("\n? nobody saw how {what}`{step}` ended; it was to do this:"));
                    does.iter().flat_map(plan::intent_lines).for_each(|line| say(&format!("    {line}")));
                    say("  Look whether it happened.");
                    let doubt = asking.doubt().await?;
                    Some(Reply::Doubt { by: asking.user, doubt, undo })
                }
            }
        })
    }

    fn ask_secret(&self, asked: AskedSecret) -> BoxFuture<'static, Option<Secret>> {
        let made_up = asked.in_scenario(&self.made_up);
        let (lines, console) = (self.lines.clone(), Arc::clone(&self.console));
        Box::pin(async move {
            let AskedSecret { name, step, prompt, because } = asked;
            if made_up.is_some() {
                say(&format!("\n? {step} needs the secret {name}, which the scenario gives: {prompt}"));
                return made_up;
            }
            let lines = lines?;
            let mut lines = lines.lock().await;
            let _held = Held::new(&console);
            say(&format!("\n? {step} needs the secret {name}"));
            say(&format!("  {prompt}"));
            because.iter().for_each(|because| say(&format!("  It is asked for because {because}.")));
            lines.forget();
            loop {
                let typed = {
                    let _hidden = Hidden::begin();
                    lines.next("  Type or paste it; it is not shown: ").await
                };
                say("");
                match typed? {
                    typed if typed.len() >= SHORTEST_SECRET => return Some(Secret::new(typed)),
                    _ => say(&format!("  A secret has at least {SHORTEST_SECRET} characters.")),
                }
            }
        })
    }
}

/// The terminal as it was before something was typed hidden.
static SHOWN: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives, the terminal does not show what is typed.
struct Hidden;

impl Hidden {
    fn begin() -> Self {
        let input = std::io::stdin();
        if let Ok(before) = tcgetattr(&input) {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            // A terminal that cannot be told stays as it is; there is nobody to complain to but the person typing.
            let _ = tcsetattr(&input, OptionalActions::Now, &hidden);
        }
        Self
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show_typing();
    }
}

/// Lets the terminal show again what is typed. For whoever ends the program without unwinding.
pub(super) fn show_typing() {
    if let Some(before) = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

fn left(expires: Option<Timestamp>, now: Timestamp) -> String {
    expires.map_or_else(String::new, |at| format!(", within {}", HumanDuration(clock::until(now, at)).rounded()))
}

/// While somebody is asked, no live line redraws over what they type.
struct Held<'c>(&'c SharedConsole);

impl<'c> Held<'c> {
    fn new(console: &'c SharedConsole) -> Self {
        console.lock().unwrap_or_else(PoisonError::into_inner).pause();
        Self(console)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unpause();
    }
}

fn say(text: &str) {
    anstream::eprintln!("{text}");
}

/// Lines from standard input, read on a thread of their own.
struct Lines {
    incoming: mpsc::UnboundedReceiver<String>,
}

impl Lines {
    fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a person types a few lines; the reader must never block on the run"
        )]
        let (sender, incoming) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if line.ok().and_then(|line| sender.send(line).ok()).is_none() {
                    return;
                }
            }
        });
        Self { incoming }
    }

    /// What is typed next. `None` when standard input has ended.
    async fn next(&mut self, prompt: &str) -> Option<String> {
        anstream::eprint!("{prompt}");
        self.incoming.recv().await.map(|line| line.trim().to_owned())
    }

    /// Forgets what was typed before the question was there to be read.
    fn forget(&mut self) {
        while self.incoming.try_recv().is_ok() {}
    }
}

struct Asking<'l> {
    lines: &'l mut Lines,
    user: String,
}

impl Asking<'_> {
    async fn gate(&mut self, ask: &IndexMap<String, AskField>) -> Option<Decision> {
        self.lines.forget();
        let answer = loop {
            match self.lines.next("  Type `yes` or `no`: ").await?.as_str() {
                "yes" => break Answer::Approve,
                "no" => break Answer::Reject,
                _ => say("  Only the whole word counts."),
            }
        };
        let answers = self.fields(ask).await?;
        Some(Decision { by: self.user.clone(), answer, answers, via: "terminal".to_owned() })
    }

    async fn manual(&mut self, evidence: &IndexMap<String, AskField>) -> Option<ManualResult> {
        self.lines.forget();
        loop {
            match self.lines.next("  Type `done`, `failed` or `skip`: ").await?.as_str() {
                "done" => return Some(ManualResult::Done { evidence: self.fields(evidence).await? }),
                "failed" => {
                    return Some(ManualResult::Failed { reason: self.lines.next("  What went wrong: ").await? });
                }
                "skip" => return Some(ManualResult::Skipped { reason: self.lines.next("  Why: ").await? }),
                _ => say("  Only the whole word counts."),
            }
        }
    }

    async fn doubt(&mut self) -> Option<Doubt> {
        self.lines.forget();
        loop {
            match self
                .lines
                .next("  Type `happened`, `did not` (it counts as failed), `again` (do it again), or leave it open with Ctrl-C: ")
                .await?
                .as_str()
            {
                "happened" => return Some(Doubt::Happened { outputs: Value::Null }),
                "again" => return Some(Doubt::Again),
                "did not" | "didn't" => return Some(Doubt::DidNotHappen),
                _ => say("  Only the whole word counts."),
            }
        }
    }

    /// Asks field by field until each answer fits.
    async fn fields(&mut self, ask: &IndexMap<String, AskField>) -> Option<IndexMap<String, Value>> {
        let mut answers = IndexMap::new();
        for (name, field) in ask {
            let about = field.description.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
            let prompt = format!("  {name}{about}: ");
            loop {
                let typed = self.lines.next(&prompt).await?;
                if typed.is_empty() && !field.required {
                    break;
                }
                if typed.is_empty() {
                    say("  An answer is required.");
                    continue;
                }
                match field.read(&Value::from(typed)) {
                    Ok(value) => {
                        answers.insert(name.clone(), value);
                        break;
                    }
                    Err(reason) => say(&format!("  {reason}")),
                }
            }
        }
        Some(answers)
    }
}

/// Asks a plain yes-or-no question; anything but yes is no.
pub(super) fn confirm(question: &str) -> bool {
    anstream::eprint!("{question} [y/N] ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && ["y", "yes"].contains(&line.trim().to_lowercase().as_str())
}
