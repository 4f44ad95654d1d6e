//! Draws the plan as a picture for a wiki: layers from left to right, in rows where there are many; light and dark.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::layout::{Item, Layout, Link, Piece, Point, Rect, layout};
use super::letters::{FAMILY, Weight, escaped, fitted, width, wrapped};
use crate::action::Intent;
use crate::plan::{Fate, PlannedStep, Preview, Verdict};

/// The width of a box.
const BOX: f64 = 214.0;
/// The width of a decision, whose arms are shown.
const WIDE_BOX: f64 = 252.0;
/// Between the edge of a box and its text.
const INSET: f64 = 14.0;
/// No row is wider, where that can be.
const WIDEST: f64 = 1240.0;
/// How many boxes are drawn with ways between them; more become a list.
const MOST: usize = 400;
/// How many ways are drawn; more become a list.
const MOST_WAYS: usize = 2_000;
/// How many arms of a decision are shown.
const ARMS: usize = 6;
/// The widest label on a way.
const LABEL: f64 = 150.0;

/// Sizes of text.
const ID: f64 = 12.5;
const PLAIN: f64 = 11.0;
const SMALL: f64 = 10.0;

/// What a line of a box is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Id,
    What,
    Title,
    Note(Mark),
}

/// A small sign before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Gate,
    Condition,
    Arm,
    Chosen,
    Loop,
    Call,
    Measure,
    Undo,
    NoUndo,
    Wait,
    Left,
    Given,
}

impl Mark {
    /// Its shape within a square of ten, and the class that colours it.
    fn shape(self) -> (&'static str, &'static str) {
        match self {
            Self::Gate => ("M5 0 L9.5 1.6 V5 C9.5 7.6 7.4 9.2 5 10 C2.6 9.2 .5 7.6 .5 5 V1.6 Z", "solid gate"),
            Self::Condition => ("M5 .6 L9.4 5 L5 9.4 L.6 5 Z", "open choice"),
            Self::Arm => ("M2.5 1.5 L7 5 L2.5 8.5", "open quiet"),
            Self::Chosen => ("M1 5.4 L4 8.2 L9 1.8", "open choice"),
            Self::Loop => ("M8.6 3 A4 4 0 1 0 9 5.8 M9.2 .6 V3.4 H6.4", "open quiet"),
            Self::Call => ("M.8 1.5 H9.2 V8.5 H.8 Z M2.6 1.5 V8.5 M7.4 1.5 V8.5", "open quiet"),
            Self::Measure => ("M5 1 A4 4 0 1 0 5.01 1 M5 2.8 V5 L6.6 6", "open writing"),
            Self::Undo => ("M3.4 1 L1 3.4 L3.4 5.8 M1 3.4 H6.4 A2.6 2.6 0 0 1 6.4 8.6 H4", "open undo"),
            Self::NoUndo => ("M1.5 1.5 L8.5 8.5 M8.5 1.5 L1.5 8.5", "open writing"),
            Self::Wait => ("M2 .8 H8 L5 5 L8 9.2 H2 L5 5 Z", "open quiet"),
            Self::Left => ("M1 5 H9", "open quiet"),
            Self::Given => ("M5 .4 L6.4 3.6 L9.6 5 L6.4 6.4 L5 9.6 L3.6 6.4 L.4 5 L3.6 3.6 Z", "solid choice"),
        }
    }

    /// What it means.
    fn words(self) -> &'static str {
        match self {
            Self::Gate => "gate: somebody must agree",
            Self::Condition => "only if",
            Self::Arm => "an arm of a decision",
            Self::Chosen => "the arm that is chosen",
            Self::Loop => "once for each item",
            Self::Call => "another runbook",
            Self::Measure => "emergency measure, in force for a time",
            Self::Undo => "can be undone",
            Self::NoUndo => "cannot be undone",
            Self::Wait => "waits until",
            Self::Left => "left out",
            Self::Given => "supposed or read live",
        }
    }
}

struct Line {
    kind: Kind,
    text: String,
}

/// A box before it is placed.
struct Card<'p> {
    step: &'p PlannedStep,
    path: String,
    lines: Vec<Line>,
    width: f64,
    height: f64,
}

/// The plan as an SVG picture.
pub fn svg(preview: &Preview) -> String {
    picture(preview, Alone::Yes)
}

/// The picture for a page that it stands in.
pub fn svg_within(preview: &Preview) -> String {
    picture(preview, Alone::No)
}

/// Does the picture stand for itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

fn picture(preview: &Preview, alone: Alone) -> String {
    let mut canvas =
        Canvas { body: String::new(), width: 640.0, y: 0.0, marks: BTreeSet::new(), classes: BTreeSet::new() };
    let title = preview.title.clone().unwrap_or_else(|| preview.runbook.clone());
    canvas.heading(&title, preview);
    let steps = preview.all_steps().len();
    let ways: usize = preview.all_steps().iter().map(|(_, step)| step.needs.len()).sum();
    if steps > MOST || ways > MOST_WAYS {
        canvas.list(preview);
    } else {
        canvas.section(None, &preview.steps, "");
    }
    canvas.legend();
    let (wide, high) = (canvas.width.ceil(), (canvas.y + 16.0).ceil());
    let described = format!(
        "{} steps, {} write, {} behind a gate. Digest {}.",
        steps,
        preview.blast_radius.writes,
        preview.blast_radius.behind_gate,
        preview.digest.get(..12).unwrap_or_default(),
    );
    let mut out = String::new();
    if alone == Alone::Yes {
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" \
         class=\"plan\" role=\"img\" aria-labelledby=\"plan-title plan-desc\">",
    );
    let _ =
        writeln!(out, "<title id=\"plan-title\">Plan of {}: {}</title>", escaped(&preview.runbook), escaped(&title));
    let _ = writeln!(out, "<desc id=\"plan-desc\">{}</desc>", escaped(&described));
    out.push_str(&style());
    let _ = writeln!(out, "<rect class=\"ground\" width=\"{wide}\" height=\"{high}\"/>");
    out.push_str(&canvas.body);
    out.push_str("</svg>\n");
    out
}

/// The colours: of a class, what it paints, in the light and in the dark.
const COLOURS: [(&str, &str, &str, &str); 24] = [
    (".ground", "fill", "#ffffff", "#0f1520"),
    (".ink", "fill", "#172033", "#e8edf6"),
    (".soft", "fill", "#516079", "#9fb0c8"),
    (".box", "fill", "#f7f9fc", "#18212f"),
    (".box", "stroke", "#8593a8", "#61708a"),
    (".write .box", "fill", "#fff6e8", "#2b2114"),
    (".write .box", "stroke", "#c97a10", "#d9953a"),
    (".write .bar", "fill", "#d98613", "#e0993a"),
    (".choice .box", "fill", "#f4f0ff", "#221c38"),
    (".choice .box", "stroke", "#7a5bc7", "#a58be8"),
    (".person .box", "fill", "#eefaf7", "#10272a"),
    (".person .box", "stroke", "#0f8177", "#3bb3a6"),
    (".gated .shield", "fill", "#0f8177", "#2f9d92"),
    (".solid.gate", "fill", "#0f8177", "#3bb3a6"),
    (".solid.choice", "fill", "#7a5bc7", "#a58be8"),
    (".open.choice", "stroke", "#7a5bc7", "#a58be8"),
    (".open.quiet", "stroke", "#6a788e", "#8d9db6"),
    (".open.writing", "stroke", "#b9690a", "#e0993a"),
    (".open.undo", "stroke", "#1f7a3d", "#58c07b"),
    (".way", "stroke", "#74829a", "#71819b"),
    (".tip", "fill", "#74829a", "#71819b"),
    (".band", "fill", "#f1f4f8", "#131b28"),
    (".band", "stroke", "#c3ccd9", "#2f3b4f"),
    (".tag", "fill", "#b9690a", "#e9a44c"),
];

fn style() -> String {
    let mut css = String::from("<style>\n");
    let _ = writeln!(css, ".plan text {{ font-family: {FAMILY}; }}");
    css.push_str(".plan .b { font-weight: 700; } .plan .tag { font-weight: 700; }\n");
    css.push_str(".plan .box { stroke-width: 1.2; } .plan .write .box { stroke-width: 1.8; }\n");
    css.push_str(".plan .open { fill: none; stroke-width: 1.4; stroke-linecap: round; stroke-linejoin: round; }\n");
    css.push_str(".plan .way { fill: none; stroke-width: 1.5; stroke-linejoin: round; }\n");
    css.push_str(".plan .maybe .way { stroke-dasharray: 6 4; } .plan .never .way { stroke-dasharray: 1.5 4; }\n");
    css.push_str(".plan .band { stroke-dasharray: 5 4; } .plan .calls .box { stroke-width: 1.2; }\n");
    css.push_str(".plan .halo { stroke-width: 4; stroke-linejoin: round; paint-order: stroke; }\n");
    css.push_str(".plan .skipped, .plan .never { opacity: .5; } .plan .skipped .box { stroke-dasharray: 1.5 3; }\n");
    css.push_str(".plan .undecided .box { stroke-dasharray: 6 4; }\n");
    let mut dark = String::new();
    for (class, paints, light, night) in COLOURS {
        let _ = writeln!(css, ".plan {class} {{ {paints}: {light}; }}");
        let _ = writeln!(dark, ".plan {class} {{ {paints}: {night}; }}");
    }
    css.push_str(".plan .halo { stroke: #ffffff; }\n");
    dark.push_str(".plan .halo { stroke: #0f1520; }\n");
    let _ = write!(css, "@media (prefers-color-scheme: dark) {{\n{dark}}}\n</style>\n");
    css
}

/// What is drawn so far.
struct Canvas {
    body: String,
    width: f64,
    y: f64,
    marks: BTreeSet<Mark>,
    classes: BTreeSet<&'static str>,
}

impl Canvas {
    fn text(&mut self, at: Point, size: f64, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\" class=\"{class}\">{}</text>",
            number(at.x),
            number(at.y),
            escaped(text)
        );
    }

    fn heading(&mut self, title: &str, preview: &Preview) {
        let title = fitted(title, 17.0, Weight::Bold, WIDEST);
        self.width = self.width.max(width(&title, 17.0, Weight::Bold) + 48.0);
        self.text(Point { x: 24.0, y: 34.0 }, 17.0, "ink b", &title);
        let radius = &preview.blast_radius;
        let facts = format!(
            "{} · {} write{}, {} behind a gate, {} can be undone · on failure: {} · digest {}",
            preview.runbook,
            radius.writes,
            if radius.writes == 1 { "s" } else { "" },
            radius.behind_gate,
            radius.undoable,
            preview.on_failure.as_str().unwrap_or_default(),
            preview.digest.get(..12).unwrap_or_default(),
        );
        let facts = fitted(&facts, PLAIN, Weight::Plain, WIDEST);
        self.width = self.width.max(width(&facts, PLAIN, Weight::Plain) + 48.0);
        self.text(Point { x: 24.0, y: 54.0 }, PLAIN, "soft", &facts);
        self.y = 62.0;
    }

    /// The steps of a runbook: the ordinary ones, the final ones in a band, and each called runbook in a band of its own.
    fn section(&mut self, title: Option<&str>, steps: &[PlannedStep], above: &str) {
        let ordinary: Vec<&PlannedStep> = steps.iter().filter(|step| !step.is_final).collect();
        let finals: Vec<&PlannedStep> = steps.iter().filter(|step| step.is_final).collect();
        if !ordinary.is_empty() {
            self.band(title, &ordinary, above);
        }
        if !finals.is_empty() {
            let title = match title {
                Some(title) => format!("{title}: finally, however it ends"),
                None => "finally, however the run ends".to_owned(),
            };
            self.band(Some(&title), &finals, above);
        }
        for step in steps {
            let Some(call) = &step.calls else { continue };
            let name = format!("{above}{}", step.id);
            let title = format!("{name} calls {}", call.title.as_deref().unwrap_or(&call.runbook));
            self.section(Some(&title), &call.steps, &format!("{name}/"));
        }
    }

    fn band(&mut self, title: Option<&str>, steps: &[&PlannedStep], above: &str) {
        let cards: Vec<Card<'_>> = steps.iter().map(|step| Card::new(step, above)).collect();
        let items: Vec<Item> =
            cards.iter().map(|card| Item { width: card.width, height: card.height, layer: card.step.wave }).collect();
        let place = |id: &crate::base::StepId| steps.iter().position(|step| step.id == *id);
        let mut links = Vec::new();
        for (to, step) in steps.iter().enumerate() {
            for (needed, result) in &step.needs {
                let Some(from) = place(needed) else { continue };
                let label = fitted(&way_label(step, result), SMALL, Weight::Plain, LABEL);
                links.push(Link { from, to, label_width: width(&label, SMALL, Weight::Plain), label });
            }
        }
        let made = layout(&items, &links, WIDEST);
        let head = if title.is_some() { 26.0 } else { 0.0 };
        let top = self.y + if title.is_some() { 10.0 } else { 0.0 };
        let shown = title.map(|title| fitted(title, PLAIN, Weight::Bold, WIDEST));
        let title_width = shown.as_ref().map_or(0.0, |title| width(title, PLAIN, Weight::Bold) + 72.0);
        let wide = made.width.max(title_width);
        self.width = self.width.max(wide);
        if let Some(title) = shown {
            let _ = writeln!(
                self.body,
                "<rect class=\"band\" x=\"10\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\"/>",
                number(top),
                number(wide - 20.0),
                number(made.height + head - 8.0)
            );
            self.text(Point { x: 24.0, y: top + 20.0 }, PLAIN, "soft b", &title);
        }
        let origin = Point { x: 0.0, y: top + head - if title.is_some() { 8.0 } else { 0.0 } };
        self.ways(&made, &links, steps, origin);
        for (card, rect) in cards.iter().zip(&made.boxes) {
            self.card(card, &moved(rect, origin));
        }
        self.y = origin.y + made.height + if title.is_some() { 2.0 } else { -8.0 };
    }

    fn ways(&mut self, made: &Layout, links: &[Link], steps: &[&PlannedStep], origin: Point) {
        let mut labels: Vec<(Point, &str)> = Vec::new();
        for (link, route) in links.iter().zip(&made.routes) {
            let step = steps[link.to];
            let class = match step.fate {
                Fate::Skipped => "never",
                Fate::Open => "maybe",
                Fate::Runs | Fate::Supposed | Fate::Read => "sure",
            };
            let start = shifted(route.start, origin);
            let mut path = format!("M{} {}", number(start.x), number(start.y));
            let points: Vec<Point> = route.pieces.iter().map(|piece| shifted(piece.end(), origin)).collect();
            let mut at = start;
            for (index, piece) in route.pieces.iter().enumerate() {
                let mut to = points[index];
                if index + 1 == points.len() {
                    // The arrow's tip stands there.
                    to.x -= 6.0;
                }
                match piece {
                    Piece::Line(_) => line_to(&mut path, at, to, points.get(index + 1).copied()),
                    Piece::Curve(_) => {
                        let half = (at.x + to.x) / 2.0;
                        let _ = write!(
                            path,
                            " C{} {} {} {} {} {}",
                            number(half),
                            number(at.y),
                            number(half),
                            number(to.y),
                            number(to.x),
                            number(to.y)
                        );
                    }
                }
                at = to;
            }
            let end = points.last().copied().unwrap_or(start);
            let _ = writeln!(
                self.body,
                "<g class=\"{class}\" data-from=\"{}\" data-to=\"{}\"><path class=\"way\" d=\"{path}\"/>\
                 <path class=\"tip\" d=\"M{} {} l-8 -4 v8 Z\"/></g>",
                escaped(steps[link.from].id.as_str()),
                escaped(step.id.as_str()),
                number(end.x),
                number(end.y),
            );
            if let Some(label) = route.label.filter(|_| !link.label.is_empty()) {
                let label = shifted(label, origin);
                // Ways that leave together share their label.
                if !labels.contains(&(label, link.label.as_str())) {
                    labels.push((label, &link.label));
                }
            }
        }
        for (at, label) in labels {
            self.text(Point { x: at.x, y: at.y + 3.5 }, SMALL, "soft halo", label);
        }
    }

    fn card(&mut self, card: &Card<'_>, rect: &Rect) {
        let step = card.step;
        let mut classes = vec!["step"];
        classes.push(class_of(step));
        self.classes.insert(class_of(step));
        classes.extend(step.gate.is_some().then_some("gated"));
        classes.extend(step.calls.is_some().then_some("calls"));
        classes.extend(match step.fate {
            Fate::Skipped => Some("skipped"),
            Fate::Open => Some("undecided"),
            Fate::Runs | Fate::Supposed | Fate::Read => None,
        });
        let _ = writeln!(
            self.body,
            "<g class=\"{}\" data-step=\"{}\"><title>{}</title>",
            classes.join(" "),
            escaped(&card.path),
            escaped(&tooltip(step, &card.path))
        );
        self.outline(step, rect);
        let text_left = rect.x + INSET;
        let mut y = rect.y + (rect.height - card.height) / 2.0 + 9.0;
        for line in &card.lines {
            let height = line_height(line.kind);
            let base = y + height - 4.0;
            match line.kind {
                Kind::Id => {
                    self.text(Point { x: text_left, y: base }, ID, "ink b", &line.text);
                    if step.writes() {
                        let tag = "WRITE";
                        let x = rect.right() - INSET - width(tag, 9.0, Weight::Bold);
                        self.text(Point { x, y: base }, 9.0, "tag", tag);
                    }
                }
                Kind::What => self.text(Point { x: text_left, y: base }, SMALL, "soft", &line.text),
                Kind::Title => self.text(Point { x: text_left, y: base }, PLAIN, "ink", &line.text),
                Kind::Note(mark) => {
                    self.mark(mark, Point { x: text_left, y: base - 8.5 });
                    self.text(Point { x: text_left + 15.0, y: base }, SMALL, "soft", &line.text);
                }
            }
            y += height;
        }
        self.body.push_str("</g>\n");
    }

    fn outline(&mut self, step: &PlannedStep, rect: &Rect) {
        let (x, y, w, h) = (rect.x, rect.y, rect.width, rect.height);
        if step.kind == "decide" {
            // A box with points at its sides: many ways lead out of it.
            let tip = 9.0;
            let _ = writeln!(
                self.body,
                "<path class=\"box\" d=\"M{} {} H{} L{} {} L{} {} H{} L{} {} Z\"/>",
                number(x + tip),
                number(y),
                number(x + w - tip),
                number(x + w),
                number(y + h / 2.0),
                number(x + w - tip),
                number(y + h),
                number(x + tip),
                number(x),
                number(y + h / 2.0),
            );
            return;
        }
        let _ = writeln!(
            self.body,
            "<rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"7\"/>",
            number(x),
            number(y),
            number(w),
            number(h)
        );
        if step.calls.is_some() {
            let _ = writeln!(
                self.body,
                "<rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>",
                number(x + 3.5),
                number(y + 3.5),
                number(w - 7.0),
                number(h - 7.0)
            );
        } else if step.writes() {
            let _ = writeln!(
                self.body,
                "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\"/>",
                number(x + 3.0),
                number(y + 7.0),
                number(h - 14.0)
            );
        }
        if step.gate.is_some() {
            // A shield on the edge: nothing passes without a yes.
            let _ = writeln!(
                self.body,
                "<path class=\"shield\" d=\"M{} {} l9 3 v7 c0 5 -4.5 8.5 -9 10 c-4.5 -1.5 -9 -5 -9 -10 v-7 Z\"/>\
                 <path d=\"M{} {} l3 3.2 l5.4 -6.4\" fill=\"none\" stroke=\"#ffffff\" stroke-width=\"1.8\"/>",
                number(x + w - 2.0),
                number(y - 9.0),
                number(x + w - 6.2),
                number(y + 0.5)
            );
        }
    }

    fn mark(&mut self, mark: Mark, at: Point) {
        self.marks.insert(mark);
        let (shape, class) = mark.shape();
        let _ = writeln!(
            self.body,
            "<path class=\"{class}\" transform=\"translate({} {})\" d=\"{shape}\"/>",
            number(at.x),
            number(at.y)
        );
    }

    /// What the signs mean, those that were drawn.
    fn legend(&mut self) {
        let mut x = 24.0;
        let mut y = self.y + 22.0;
        let room = self.width - 24.0;
        let swatches = [
            ("read", "only looks"),
            ("write", "changes something"),
            ("choice", "decides"),
            ("person", "done by a person"),
        ];
        for (class, words) in swatches.into_iter().filter(|(class, _)| self.classes.contains(class)).collect::<Vec<_>>()
        {
            let wide = 22.0 + width(words, SMALL, Weight::Plain) + 18.0;
            if x + wide > room && x > 24.0 {
                (x, y) = (24.0, y + 17.0);
            }
            let _ = writeln!(
                self.body,
                "<g class=\"{class}\"><rect class=\"box\" x=\"{}\" y=\"{}\" width=\"15\" height=\"10\" rx=\"3\"/></g>",
                number(x),
                number(y - 9.0)
            );
            self.text(Point { x: x + 21.0, y }, SMALL, "soft", words);
            x += wide;
        }
        for mark in self.marks.clone() {
            let words = mark.words();
            let wide = 16.0 + width(words, SMALL, Weight::Plain) + 18.0;
            if x + wide > room && x > 24.0 {
                (x, y) = (24.0, y + 17.0);
            }
            self.mark(mark, Point { x, y: y - 9.0 });
            self.text(Point { x: x + 15.0, y }, SMALL, "soft", words);
            x += wide;
        }
        self.y = y + 4.0;
    }

    /// Too many for ways between them: every step by its wave, its effect told by its colour.
    fn list(&mut self, preview: &Preview) {
        const ACROSS: usize = 5;
        let (cell, high) = (226.0, 30.0);
        self.width = 48.0 + cell * 5.0;
        self.y += 22.0;
        let all = preview.all_steps();
        let words = format!("{} steps are too many for a drawing with arrows: they are listed wave by wave", all.len());
        self.text(Point { x: 24.0, y: self.y }, PLAIN, "soft", &words);
        self.y += 12.0;
        let mut heading = String::new();
        let mut column = 0;
        for (path, step) in &all {
            let above = path.as_str().rsplit_once('/').map_or(String::new(), |(above, _)| format!("{above}: "));
            let wave = format!("{above}wave {}{}", step.wave, if step.is_final { ", finally" } else { "" });
            if wave != heading {
                self.y += if column == 0 { 18.0 } else { high + 18.0 };
                column = 0;
                heading = wave;
                let shown = fitted(&heading, PLAIN, Weight::Bold, cell * 5.0);
                self.text(Point { x: 24.0, y: self.y }, PLAIN, "soft b", &shown);
                self.y += 8.0;
            } else if column == ACROSS {
                column = 0;
                self.y += high;
            }
            let x = 24.0 + cell * f64::from(u32::try_from(column).unwrap_or(0));
            let class = if step.kind == "decide" {
                "choice"
            } else if step.writes() {
                "write"
            } else {
                "read"
            };
            let left = if step.fate == Fate::Skipped { " skipped" } else { "" };
            let gate = if step.gate.is_some() { 20.0 } else { 0.0 };
            let name = fitted(step.id.as_str(), PLAIN, Weight::Plain, cell - 32.0 - gate);
            let _ = writeln!(
                self.body,
                "<g class=\"step {class}{left}\" data-step=\"{}\"><title>{}</title>\
                 <rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>",
                escaped(path.as_str()),
                escaped(&tooltip(step, path.as_str())),
                number(x),
                number(self.y),
                number(cell - 8.0),
                number(high - 6.0)
            );
            self.text(Point { x: x + 10.0, y: self.y + 16.0 }, PLAIN, "ink", &name);
            if step.gate.is_some() {
                self.mark(Mark::Gate, Point { x: x + cell - 26.0, y: self.y + 7.0 });
            }
            self.body.push_str("</g>\n");
            column += 1;
        }
        self.y += high;
    }
}

impl<'p> Card<'p> {
    fn new(step: &'p PlannedStep, above: &str) -> Self {
        let wide = if step.arms.is_empty() { BOX } else { WIDE_BOX };
        let room = wide - 2.0 * INSET;
        let mut lines = Vec::new();
        let mut line = |kind: Kind, text: &str| {
            let (size, weight, room) = match kind {
                Kind::Id => (ID, Weight::Bold, room - if step.writes() { 44.0 } else { 0.0 }),
                Kind::What => (SMALL, Weight::Plain, room),
                Kind::Title => (PLAIN, Weight::Plain, room),
                Kind::Note(_) => (SMALL, Weight::Plain, room - 15.0),
            };
            lines.push(Line { kind, text: fitted(text, size, weight, room) });
        };
        line(Kind::Id, step.id.as_str());
        for text in wrapped(step.title.as_deref().unwrap_or_default(), PLAIN, Weight::Plain, room, 2) {
            line(Kind::Title, &text);
        }
        line(Kind::What, &step.kind);
        for (mark, text) in notes(step) {
            line(Kind::Note(mark), &text);
        }
        let height = lines.iter().map(|line| line_height(line.kind)).sum::<f64>() + 17.0;
        Self { step, path: format!("{above}{}", step.id), lines, width: wide, height }
    }
}

/// What there is to see of a step, beside its name.
fn notes(step: &PlannedStep) -> Vec<(Mark, String)> {
    let mut notes = Vec::new();
    match step.fate {
        Fate::Skipped => notes.push((Mark::Left, step.because.clone().unwrap_or_default())),
        Fate::Supposed => notes.push((Mark::Given, format!("supposed: {}", given(step)))),
        Fate::Read => notes.push((Mark::Given, format!("read live: {}", given(step)))),
        Fate::Runs | Fate::Open => {}
    }
    if let Some(condition) = &step.condition {
        let known = match step.verdict {
            Verdict::Always => "holds: ",
            Verdict::Never => "does not hold: ",
            Verdict::Open => "if ",
        };
        notes.push((Mark::Condition, format!("{known}{condition}")));
    }
    if let Some(gate) = &step.gate {
        let by = if gate.by.is_empty() { "whoever is there".to_owned() } else { gate.by.join(", ") };
        let within = gate.within.map_or_else(String::new, |within| format!(", within {within}"));
        notes.push((Mark::Gate, format!("{} of {by}{within}", gate.at_least)));
    }
    for arm in step.arms.iter().take(ARMS) {
        let then = arm.then.as_object().and_then(|then| then.values().next()).map_or_else(
            || arm.then.to_string(),
            |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        );
        let condition = arm.condition.as_ref().map_or_else(|| "otherwise".to_owned(), ToString::to_string);
        notes.push((if arm.chosen { Mark::Chosen } else { Mark::Arm }, format!("{then}: {condition}")));
    }
    if step.arms.len() > ARMS {
        notes.push((Mark::Arm, format!("and {} more", step.arms.len() - ARMS)));
    }
    if let Some(each) = &step.for_each {
        let items = each.items.as_ref().map_or_else(String::new, |items| format!("{} items: ", items.len()));
        notes.push((Mark::Loop, format!("{items}for each {} in {}", each.name, each.list)));
    }
    if let Some(call) = &step.calls {
        let count = call.steps.len();
        notes.push((Mark::Call, format!("{}: {count} step{}", call.runbook, if count == 1 { "" } else { "s" })));
    }
    if let Some(until) = step.limits.iter().find(|limit| limit.starts_with("every ")) {
        notes.push((Mark::Wait, until.clone()));
    }
    if let Some(measure) = &step.measure {
        notes.push((Mark::Measure, format!("in force for at most {}", measure.expires)));
    }
    if step.writes() {
        match &step.undo {
            Some(undo) => notes.push((Mark::Undo, undo.clone())),
            None => notes.push((Mark::NoUndo, "what it does stays".to_owned())),
        }
    }
    notes
}

fn given(step: &PlannedStep) -> String {
    let facts = step.given.as_ref().and_then(|given| given.facts.as_object());
    let told = facts.into_iter().flatten().map(|(name, value)| match value.as_str() {
        Some(text) if name == "result" => text.to_owned(),
        _ => format!("{name} {value}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What stands on a way: the wanted result where it is not plain success, else the condition of the step it leads to.
fn way_label(step: &PlannedStep, result: &str) -> String {
    match (&step.condition, result) {
        (Some(condition), "succeeded") if step.needs.len() == 1 => {
            // What it is asked of stands at the other end of the way.
            let from = step.needs.keys().next().map(|id| format!("{id}.outputs.")).unwrap_or_default();
            format!("if {}", condition.to_string().replace(&from, ""))
        }
        (_, "succeeded") => String::new(),
        (_, result) => result.to_owned(),
    }
}

/// What the colour of a box tells.
fn class_of(step: &PlannedStep) -> &'static str {
    match (step.kind.as_str(), step.writes()) {
        ("decide", _) => "choice",
        ("manual" | "gate", _) => "person",
        (_, true) => "write",
        (_, false) => "read",
    }
}

fn line_height(kind: Kind) -> f64 {
    match kind {
        Kind::Id => 17.0,
        Kind::What | Kind::Title => 14.5,
        Kind::Note(_) => 15.0,
    }
}

/// Everything in short, for whoever points at a box.
fn tooltip(step: &PlannedStep, path: &str) -> String {
    let mut lines = vec![format!("{path} [{}]", step.kind)];
    lines.extend(step.title.clone());
    if !step.needs.is_empty() {
        let needs: Vec<String> = step.needs.iter().map(|(id, result)| format!("{id} {result}")).collect();
        lines.push(format!("after: {}", needs.join(", ")));
    }
    lines.extend(step.condition.as_ref().map(|condition| format!("if: {condition}")));
    lines.extend(step.because.clone());
    if let Some(gate) = &step.gate {
        lines.push(format!("gate: {}", gate.prompt));
        let people = if gate.people.is_empty() { String::new() } else { format!(" ({})", gate.people.join(", ")) };
        lines.push(format!("{} of {}{people}", gate.at_least, gate.by.join(", ")));
    }
    for arm in &step.arms {
        let condition = arm.condition.as_ref().map_or_else(|| "otherwise".to_owned(), ToString::to_string);
        lines.push(format!("{condition} -> {}", arm.then));
    }
    for intent in &step.does {
        lines.push(match intent {
            Intent::Request { method, url, .. } => format!("{method} {url}"),
            Intent::Process { argv, script, .. } => script.clone().unwrap_or_else(|| argv.join(" ")),
            Intent::Note { text } => text.clone(),
        });
    }
    if step.writes() {
        lines.push(format!("undo: {}", step.undo.as_deref().unwrap_or("none: what it does stays")));
    }
    lines.join("\n")
}

/// A straight part with its corner rounded where the way goes on at a right angle.
fn line_to(path: &mut String, at: Point, to: Point, next: Option<Point>) {
    let Some(next) = next else {
        let _ = write!(path, " L{} {}", number(to.x), number(to.y));
        return;
    };
    let turns = (at.x == to.x) != (to.x == next.x) && (at.y == to.y) != (to.y == next.y);
    let length = |one: Point, other: Point| (one.x - other.x).abs() + (one.y - other.y).abs();
    let radius = (length(at, to) / 2.0).min(length(to, next) / 2.0).min(7.0);
    if !turns || radius < 1.0 {
        let _ = write!(path, " L{} {}", number(to.x), number(to.y));
        return;
    }
    let towards = |from: Point| Point {
        x: to.x + (from.x - to.x).clamp(-radius, radius),
        y: to.y + (from.y - to.y).clamp(-radius, radius),
    };
    let (before, after) = (towards(at), towards(next));
    let _ = write!(
        path,
        " L{} {} Q{} {} {} {}",
        number(before.x),
        number(before.y),
        number(to.x),
        number(to.y),
        number(after.x),
        number(after.y)
    );
}

fn shifted(point: Point, by: Point) -> Point {
    Point { x: point.x + by.x, y: point.y + by.y }
}

fn moved(rect: &Rect, by: Point) -> Rect {
    Rect { x: rect.x + by.x, y: rect.y + by.y, ..*rect }
}

/// A length with at most one digit behind the point.
fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::action::Registry;
    use crate::base::Source;
    use crate::plan::{build, preview};
    use crate::runbook::load;

    /// A runbook of people only, in which everything is as long and as wide as anybody could write it.
    fn hostile() -> Preview {
        let wide = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW 日本語日本語日本語日本語日本語日本語日本語日本語 <&>";
        let id = "w".repeat(60);
        let text = format!(
            "runbook: hostile\ntitle: '{wide}'\nsteps:\n  {id}:\n    title: '{wide}'\n    approval: {{ prompt: '{wide}', \
             by: ['user:{id}'], within: 1h }}\n  next:\n    needs: {{ {id}: [failed, skipped] }}\n    \
             if: \"{id}.result == '{wide}'\"\n    uses: decide\n    with:\n      - {{ if: \"{id}.result == '{wide}'\", \
             then: {{ a: '{wide}' }} }}\n      - {{ then: {{ a: b }} }}\n"
        );
        let loaded =
            load(Source::new("hostile.yaml", text)).unwrap_or_else(|found| panic!("{}", found[0].render(false)));
        let registry = Registry::default();
        let plan = build(&loaded, &registry, &BTreeMap::new()).unwrap_or_else(|_| panic!("the runbook is sound"));
        preview(&plan, &registry)
    }

    #[test]
    fn no_text_is_wider_than_its_box() {
        for step in &hostile().steps {
            let card = Card::new(step, "");
            for line in &card.lines {
                let (size, weight, indent) = match line.kind {
                    Kind::Id => (ID, Weight::Bold, 0.0),
                    Kind::What => (SMALL, Weight::Plain, 0.0),
                    Kind::Title => (PLAIN, Weight::Plain, 0.0),
                    Kind::Note(_) => (SMALL, Weight::Plain, 15.0),
                };
                let wide = width(&line.text, size, weight) + indent;
                assert!(wide <= card.width - 2.0 * INSET, "{}: {wide}", line.text);
            }
            let high: f64 = card.lines.iter().map(|line| line_height(line.kind)).sum();
            assert!(high < card.height);
        }
    }

    #[test]
    fn a_way_is_labelled_with_what_it_waits_for() {
        let preview = hostile();
        let next = preview.steps.iter().find(|step| step.id.as_str() == "next").unwrap();
        let result = next.needs.values().next().unwrap();
        assert_eq!(way_label(next, result), "failed or skipped");
        assert!(way_label(next, "succeeded").starts_with("if "));
        assert!(
            width(&fitted(&way_label(next, "succeeded"), SMALL, Weight::Plain, LABEL), SMALL, Weight::Plain) <= LABEL
        );
    }

    #[test]
    fn every_colour_is_given_for_both_grounds() {
        let css = style();
        for (class, paints, light, dark) in COLOURS {
            assert_eq!(css.matches(&format!(".plan {class} {{ {paints}: {light}; }}")).count(), 1, "{class}");
            assert_eq!(css.matches(&format!(".plan {class} {{ {paints}: {dark}; }}")).count(), 1, "{class}");
        }
    }
}
