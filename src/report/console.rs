//! The console: events as lines for people, plain for a log, with glyphs and live lines for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::summary::Summary;
use super::words::{self, Kind, Line};
use crate::base::{HumanDuration, StepPath, clock};
use crate::plan::Plan;
use crate::run::{Answer, Outcome, Recorded, RunState, StepRecord, UndoState};

/// The widest that the column of step ids gets.
const WIDEST: usize = 32;
/// How often a live line is drawn again.
const TICK: Duration = Duration::from_millis(120);

/// How much a console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line with its time for everything that happens; no colours, nothing moves.
    Plain,
    /// The same lines with glyphs and colours, and below them a moving line for each step at work.
    Live,
    /// Only the end.
    Quiet,
}

/// Tells a run while it happens. Cannot fail it: what cannot be written is dropped.
pub struct Console {
    out: Box<dyn Write + Send>,
    mode: Mode,
    state: RunState,
    width: usize,
    log: Option<PathBuf>,
    speed: f64,
    live: MultiProgress,
    bars: BTreeMap<StepPath, ProgressBar>,
}

impl Console {
    /// A console for a run of `plan`. In [`Mode::Live`] lines carry ANSI codes: whether they survive is for the stream
    /// `out` to decide (`anstream::AutoStream`, which knows `NO_COLOR`). Moving lines are drawn on stderr.
    pub fn new(plan: Arc<Plan>, mode: Mode, out: impl Write + Send + 'static) -> Self {
        let target = if mode == Mode::Live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        // With the steps of runbooks that it calls itself; how deep calls go is not known before.
        let ids = (0..plan.len()).flat_map(|place| {
            let own = plan.id(place).as_str().len();
            let called = plan.called_runbook(place).into_iter().flat_map(|runbook| runbook.steps.keys());
            std::iter::once(own).chain(called.map(move |id| own + 1 + id.as_str().len()))
        });
        Self {
            width: ids.chain(["run".len()]).max().unwrap_or(0).min(WIDEST),
            out: Box::new(out),
            mode,
            state: RunState::new(plan),
            log: None,
            speed: 1.0,
            live: MultiProgress::with_draw_target(target),
            bars: BTreeMap::new(),
        }
    }

    /// Names the log in the end summary.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// How many times faster than the world's the clock of this run goes; moving lines count its time.
    #[must_use]
    pub fn speed(mut self, speed: f64) -> Self {
        self.speed = speed;
        self
    }

    /// Draws the moving lines somewhere else than on stderr.
    #[must_use]
    pub fn drawn_on(self, target: ProgressDrawTarget) -> Self {
        self.live.set_draw_target(target);
        self
    }

    /// Takes what happened before this process into account, without telling it again.
    pub fn known(&mut self, events: &[Recorded]) {
        for recorded in events {
            // What does not fit is for whoever reads the log to complain about; a console only tells.
            let _ = self.state.apply(recorded);
        }
    }

    /// Tells an event.
    pub fn event(&mut self, recorded: &Recorded) {
        // Whoever tells only the end need not follow.
        if self.mode == Mode::Quiet {
            return;
        }
        let Ok(lines) = words::apply(&mut self.state, recorded) else { return };
        self.refresh_bars();
        for line in lines {
            // The moving line says it already.
            if !(self.mode == Mode::Live && matches!(line.kind, Kind::Began | Kind::Undoing)) {
                let text = self.line(&line);
                self.print(&text);
            }
        }
    }

    /// Shows how a step is going. Only a terminal does: in a log such lines would drown the rest.
    pub fn progress(&mut self, step: &StepPath, text: &str) {
        if let Some(bar) = self.bars.get(step) {
            bar.set_message(words::one_line(text));
        }
    }

    /// Says something about a step that is no event, such as an answer that was not taken.
    pub fn note(&mut self, step: &StepPath, text: &str) {
        if self.mode != Mode::Quiet {
            let text = words::one_line(text);
            let line = Line { time: self.state.now(), step: Some(step.clone()), kind: Kind::Rejected, text };
            let text = self.line(&line);
            self.print(&text);
        }
    }

    /// Takes the moving lines away while somebody is asked something; lines that are printed still appear.
    pub fn pause(&mut self) {
        // Lines that were printed must stand above the question.
        let _ = self.out.flush();
        let _ = self.live.clear();
        self.live.set_draw_target(ProgressDrawTarget::hidden());
    }

    /// Brings the moving lines back.
    pub fn unpause(&mut self) {
        if self.mode == Mode::Live {
            self.live.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Tells how it ended, or where it stands.
    pub fn finish(&mut self, summary: &Summary) {
        for bar in std::mem::take(&mut self.bars).into_values() {
            bar.finish_and_clear();
        }
        let text = self.end(summary);
        self.print(&text);
    }

    fn print(&mut self, text: &str) {
        let out = &mut self.out;
        // A reader that went away is no reason to stop a run.
        self.live.suspend(|| {
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        });
    }

    fn line(&self, line: &Line) -> String {
        let time = line.time.strftime("%H:%M:%S");
        let subject = line.step.as_ref().map_or("run", StepPath::as_str);
        let width = self.width;
        match self.mode {
            Mode::Live => {
                let (glyph, style) = look(line.kind);
                let dim = Style::new().dimmed();
                format!("{dim}{time}{dim:#} {style}{glyph}{style:#} {subject:<width$}  {}\n", line.text)
            }
            Mode::Plain | Mode::Quiet => format!("{time} {subject:<width$}  {}\n", line.text),
        }
    }

    /// A moving line for each step at work, and for no other.
    fn refresh_bars(&mut self) {
        if self.mode != Mode::Live {
            return;
        }
        let at_work: BTreeMap<StepPath, &StepRecord> = self
            .state
            .records()
            .filter(|(_, record)| words::is_at_work(&record.state) || record.undo == Some(UndoState::Running))
            .map(|(id, record)| (id.clone(), record))
            .collect();
        self.bars.retain(|id, bar| {
            let stays = at_work.contains_key(id);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (id, record) in at_work {
            let (live, now, speed, width) = (&self.live, self.state.now(), self.speed, self.width);
            let bar = self.bars.entry(id).or_insert_with_key(|id| {
                let bar = live.add(ProgressBar::new_spinner());
                bar.set_style(moving(speed));
                bar.set_prefix(format!("{id:<width$}"));
                let began = record.started_at.filter(|_| record.undo.is_none()).unwrap_or(now);
                bar.set_elapsed(clock::until(began, now).div_f64(speed.max(f64::MIN_POSITIVE)));
                bar.enable_steady_tick(TICK);
                bar
            });
            if record.undo.is_some() {
                bar.set_message("is being undone");
            } else if record.attempts > 1 && bar.message().is_empty() {
                bar.set_message(format!("try {}", record.attempts));
            }
        }
    }

    /// The end summary.
    fn end(&self, summary: &Summary) -> String {
        let mut text = String::new();
        let styled = self.mode == Mode::Live;
        let bold = if styled { outcome_style(summary).bold() } else { Style::new() };
        if self.mode != Mode::Quiet {
            text.push('\n');
        }
        let drill = summary.drill.as_ref().map(|_| "DRILL: ").unwrap_or_default();
        let _ = writeln!(text, "{bold}{drill}{}{bold:#}", headline(summary));
        for (name, value) in rows(summary) {
            let _ = writeln!(text, "  {name:<14} {}", words::one_line(&value));
        }
        if let Some(log) = &self.log {
            let _ = writeln!(text, "  {:<14} {}", "log", log.display());
        }
        if let Some(next) = next(summary) {
            let _ = writeln!(text, "  {:<14} {next}", "next");
        }
        if let Some(scenario) = &summary.drill {
            let _ = writeln!(text, "{bold}DRILL: that was scenario `{scenario}`, not an incident{bold:#}");
        }
        text
    }
}

/// The sign of a line, and its colour.
fn look(kind: Kind) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match kind {
        Kind::Started | Kind::Resumed | Kind::Began | Kind::Undoing => ("▸", Style::new().dimmed()),
        Kind::Decided => ("◆", colour(AnsiColor::Cyan)),
        Kind::Asked => ("?", colour(AnsiColor::Yellow).bold()),
        Kind::Succeeded | Kind::Answered | Kind::Resolved | Kind::Closed | Kind::Extended => {
            ("✓", colour(AnsiColor::Green))
        }
        Kind::Failed | Kind::UndoFailed => ("✗", colour(AnsiColor::Red).bold()),
        Kind::Rejected | Kind::Cancelled | Kind::Interrupted => ("■", colour(AnsiColor::Red)),
        Kind::Skipped | Kind::LeftOut => ("⊘", Style::new().dimmed()),
        Kind::Retried => ("↻", colour(AnsiColor::Yellow)),
        Kind::Undone => ("↩", colour(AnsiColor::Yellow)),
        Kind::InForce | Kind::Expired => ("!", colour(AnsiColor::Yellow).bold()),
        Kind::Ended => ("●", Style::new().bold()),
    }
}

fn outcome_style(summary: &Summary) -> Style {
    let colour = match summary.outcome {
        Some(Outcome::Succeeded) if summary.is_over() => AnsiColor::Green,
        Some(Outcome::Succeeded | Outcome::RolledBack | Outcome::Cancelled | Outcome::Rejected) | None => {
            AnsiColor::Yellow
        }
        Some(Outcome::Failed | Outcome::Stuck) => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// The look of a moving line. Its time is that of the run's clock.
fn moving(speed: f64) -> ProgressStyle {
    ProgressStyle::with_template("         {spinner} {prefix}  {took} {wide_msg}")
        .expect("the template is this constant")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .with_key("took", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let seconds = state.elapsed().mul_f64(speed).as_secs();
            // A line that cannot be drawn is drawn at the next tick.
            let _ = write!(out, "{}", HumanDuration(Duration::from_secs(seconds)));
        })
}

/// `rolled back after 20m5s: `deploy` failed: …`.
fn headline(summary: &Summary) -> String {
    let words = match (summary.is_over(), summary.in_doubt.is_empty(), summary.waiting.is_empty()) {
        (true, _, _) => words::outcome_words(summary.outcome),
        (false, false, _) => "in doubt",
        (false, true, false) => "waits for people",
        (false, true, true) => "not over",
    };
    let mut text = format!("{words} after {}", summary.duration.rounded());
    if let Some(step) = &summary.first_failure {
        let why = summary.step(step).and_then(|row| row.error.as_ref());
        let why = why.map(|error| format!(": {}", error.message)).unwrap_or_default();
        let _ = write!(text, ", because `{step}` failed{why}");
    } else if summary.outcome == Some(Outcome::Rejected)
        && let Some(gate) = summary.gates.iter().rev().find(|gate| matches!(gate.answer, Some("rejected" | "lapsed")))
    {
        let _ = match gate.answers.last().filter(|answer| answer.answer == Answer::Reject) {
            Some(answer) => write!(text, ", because {} said no to `{}`", words::person(&answer.by), gate.step),
            None => write!(text, ", because nobody answered at `{}` in time", gate.step),
        };
    }
    words::one_line(&text)
}

fn rows(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(category) = &summary.category {
        let severity = summary.severity.as_ref().map(|severity| format!(", severity {severity}"));
        rows.push(("category", format!("{category}{}", severity.unwrap_or_default())));
    }
    for row in &summary.undone {
        let name = if row.succeeded { "undone" } else { "not undone" };
        rows.push((name, format!("`{}`: {}", row.step, row.what)));
    }
    for measure in summary.in_force() {
        let until = measure.expires.map(|at| format!(", to be over by {} UTC", words::minute(at)));
        rows.push(("in force", format!("the measure of `{}`{}", measure.step, until.unwrap_or_default())));
    }
    for left in &summary.left_standing {
        if !summary.in_force().any(|measure| measure.step == left.step) {
            rows.push(("left standing", format!("`{}`: {}", left.step, left.what)));
        }
    }
    rows.extend(
        summary.in_doubt.iter().map(|step| ("in doubt", format!("`{step}`: nobody knows whether it happened"))),
    );
    rows.extend(summary.waiting.iter().map(|wait| ("waits", format!("`{}`: {}", wait.step, wait.what))));
    rows.extend(summary.reports.iter().map(|path| ("report", path.clone())));
    rows
}

/// What to type next. A drill is over when it is over.
fn next(summary: &Summary) -> Option<String> {
    if summary.drill.is_some() {
        return None;
    }
    let goes_on = !summary.is_over() || summary.outcome == Some(Outcome::Cancelled);
    let verb = if goes_on { "resume" } else { "show" };
    Some(format!("runbook {verb} {}", summary.run))
}
