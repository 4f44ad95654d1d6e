//! A test file as typed data, held against its runbook: every step in it is there, every answer could be given.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::driver::Ended;
use crate::action::{ActionError, Intent};
use crate::base::{Span, StepPath, Timestamp};
use crate::runbook::StepResult;

/// Something and where it stands in the test file.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot<T> {
    /// It.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called: a sentence.
    pub name: Spot<String>,
    /// What the world and the people do.
    pub script: Script,
    /// What must come of it.
    pub expect: Expect,
}

/// What the world and the people do.
#[derive(Debug, Clone)]
pub struct Script {
    /// The values of the inputs.
    pub inputs: BTreeMap<String, Value>,
    /// When the run begins.
    pub starts: Timestamp,
    /// Who starts it.
    pub by: String,
    /// What each step gets, try by try.
    pub steps: BTreeMap<StepPath, Vec<Answer>>,
    /// How undoing each step goes, try by try.
    pub undos: BTreeMap<StepPath, Vec<UndoAnswer>>,
    /// Who answers at each gate; nobody, where the list is empty.
    pub gates: BTreeMap<StepPath, Vec<Voice>>,
    /// Somebody stops the run.
    pub stop: Option<Wish>,
}

/// What a step gets at one try.
#[derive(Debug, Clone)]
pub struct Answer {
    /// It.
    pub what: What,
    /// How long the try takes.
    pub takes: Duration,
    /// How often this comes.
    pub times: u32,
    /// What the action saves before it changes anything.
    pub checkpoint: Option<Value>,
}

/// How a try ends.
#[derive(Debug, Clone)]
pub enum What {
    /// The action did what it should.
    Succeeds(Value),
    /// It did not.
    Fails(ActionError),
    /// Nobody sees how it ended.
    InDoubt(Doubt),
    /// A person is asked to do it.
    ByHand(Option<Hand>),
}

/// Nobody sees how a try ended.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// What is found out, or said.
    pub truth: Truth,
    /// Why nobody saw it.
    pub because: LostBy,
    /// Its outputs, where it happened.
    pub outputs: Value,
    /// Who says so, where only a person can.
    pub by: String,
}

/// What is found out of a try in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It happened.
    Happened,
    /// It did not.
    DidNotHappen,
    /// A person wants it done again.
    Again,
    /// Nobody can say.
    NobodyKnows,
}

/// Why nobody saw the end of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostBy {
    /// No answer came.
    LostAnswer,
    /// The program died, and the run is resumed.
    Crash,
}

/// What a person does.
#[derive(Debug, Clone)]
pub struct Hand {
    /// Who.
    pub by: String,
    /// How long after they were asked.
    pub after: Duration,
    /// How it went.
    pub result: crate::run::ManualResult,
}

/// How one try of an undo ends.
#[derive(Debug, Clone)]
pub struct UndoAnswer {
    /// What it leaves, or why it fails.
    pub result: Result<Vec<String>, ActionError>,
    /// Nobody sees how it ends, and this is what is said of it, and by whom.
    pub in_doubt: Option<(Truth, String)>,
    /// What the look afterwards finds.
    pub look: Option<Result<Value, ActionError>>,
    /// How long it takes.
    pub takes: Duration,
    /// How often this comes.
    pub times: u32,
}

/// What a person says at a gate.
#[derive(Debug, Clone)]
pub struct Voice {
    /// Who, and what.
    pub decision: crate::run::Decision,
    /// How long after the gate opened.
    pub after: Duration,
}

/// Somebody stops the run.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How long after it began.
    pub after: Duration,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// What must come of a case.
#[derive(Debug, Clone, Default)]
pub struct Expect(pub Vec<Spot<Judged>>);

/// One thing that must be so.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// The run ends so.
    Outcome(Ended),
    /// The program ends with this code.
    Exit(u8),
    /// Exactly these steps of the runbook end so.
    Results(StepResult, Vec<Spot<StepPath>>),
    /// Exactly these steps are undone.
    Undone(Vec<StepPath>),
    /// The undos of these follow each other.
    UndoOrder(Vec<Spot<StepPath>>),
    /// These follow each other.
    Order(Vec<Spot<StepPath>>),
    /// Exactly these measures are in force.
    Measures(Vec<StepPath>),
    /// Exactly these steps leave something standing.
    LeftStanding(Vec<StepPath>),
    /// Exactly these steps wait for a person.
    Waiting(Vec<StepPath>),
    /// Exactly of these nobody knows.
    InDoubt(Vec<StepPath>),
    /// These events stand in the log, in this order.
    Events(Vec<Spot<String>>),
    /// The run took at least and at most so long.
    Took(Duration, Duration),
    /// Something about a step.
    Step(StepPath, OfStep),
    /// These words stand in the report.
    ReportContains(String),
    /// These words do not.
    ReportLacks(String),
}

/// Something about one step.
#[derive(Debug, Clone, PartialEq)]
pub enum OfStep {
    /// How it ended.
    Result(StepResult),
    /// How many tries began.
    Tries(u32),
    /// How many tries of its undo began.
    UndoTries(u32),
    /// Some of its outputs.
    Outputs(Value),
    /// Some of its parameters.
    Params(Value),
    /// Something it does.
    Does(Effect),
    /// Its failure.
    Error(ErrorLike),
    /// Words in the reason why it was skipped.
    Because(String),
    /// Whether its `until` became true.
    Met(bool),
    /// What a person was asked to do.
    Text(String),
    /// The question at its gate.
    Prompt(String),
    /// The beginning of the digest that was asked about.
    Digest(String),
    /// Something that was shown at its gate.
    Shown(Effect),
    /// How often its gate opened.
    Opened(usize),
    /// How long the question stood.
    LapsesAfter(Duration),
    /// Whose answers counted.
    AnsweredBy(Vec<String>),
    /// Whose answers were refused.
    Refused(Vec<String>),
}

/// Something that a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A request; what is left out may be anything.
    Request {
        /// The method.
        method: Option<String>,
        /// The address.
        url: Option<String>,
        /// The whole body.
        body: Option<Value>,
    },
    /// The words of a command.
    Argv(Vec<String>),
    /// A script.
    Script(String),
    /// The names of its variables.
    Env(Vec<String>),
}

impl Effect {
    /// Is it this one?
    pub fn is(&self, intent: &Intent) -> bool {
        match (self, intent) {
            (Self::Request { method, url, body }, Intent::Request { method: has_method, url: has_url, body: has }) => {
                method.as_ref().is_none_or(|method| method == has_method)
                    && url.as_ref().is_none_or(|url| url == has_url)
                    && body.as_ref().is_none_or(|body| Some(body) == has.as_ref())
            }
            (Self::Argv(argv), Intent::Process { argv: has, script: None, .. }) => argv == has,
            (Self::Script(script), Intent::Process { script: Some(has), .. }) => script.trim_end() == has.trim_end(),
            (Self::Env(names), Intent::Process { env, .. }) => {
                let sorted = |names: &[String]| names.iter().cloned().collect::<std::collections::BTreeSet<_>>();
                sorted(names) == sorted(env)
            }
            _ => false,
        }
    }
}

/// What a failure must be like; what is left out may be anything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ErrorLike {
    /// Its kind.
    pub kind: Option<crate::action::ErrorKind>,
    /// Its status.
    pub status: Option<u16>,
    /// Its code.
    pub code: Option<String>,
    /// Words in its message.
    pub message: Option<String>,
}

/// What a person fills in.
pub(super) type Filled = IndexMap<String, Value>;
