//! A difference for a terminal.

use anstyle::{AnsiColor, Style};

use crate::plan::diff::{Class, Diff, Finding, Spot};
use crate::plan::policy::Denial;

use super::{heading, lines};

/// How many lines of a value are shown.
const SHOWN: usize = 12;

/// The difference for people: what is riskier first, each finding with both places.
pub(super) fn text(found: &Diff, denied: &[Denial], styled: bool) -> String {
    let mut out = format!("{}\n", heading(found));
    for (index, finding) in found.findings.iter().enumerate() {
        let denial = denied.iter().find(|denial| denial.finding() == Some(index));
        one(finding, denial, styled, &mut out);
    }
    out
}

fn one(finding: &Finding, denial: Option<&Denial>, styled: bool, out: &mut String) {
    let colour = match finding.class {
        Class::Riskier => AnsiColor::Red,
        Class::Neutral => AnsiColor::Yellow,
        Class::Safer => AnsiColor::Green,
    };
    let style = if styled { colour.on_default().bold() } else { Style::new() };
    let dim = if styled { Style::new().dimmed() } else { Style::new() };
    let message: String = finding.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let class = finding.class;
    out.push_str(&format!("\n{style}{class}{style:#} {}: {message}\n", finding.kind));
    if let Some(step) = finding.step.as_ref().filter(|step| step.contains('/')) {
        out.push_str(&format!("  in {step}\n"));
    }
    if let Some(denial) = denial {
        out.push_str(&format!("  denied by `{}` ({}:{})\n", denial.rule, denial.file, denial.line));
    }
    let has_value = |spot: &Option<Spot>| spot.as_ref().is_some_and(|spot| spot.value.is_some());
    let one_has = has_value(&finding.old) || has_value(&finding.new);
    for (sign, spot) in [("-", &finding.old), ("+", &finding.new)] {
        let Some(Spot { file, line, value }) = spot else { continue };
        // Where one side says something, the place at which the other does not adds nothing.
        if one_has && value.is_none() {
            continue;
        }
        let shown = value.as_ref().map(lines).unwrap_or_default();
        match shown.as_slice() {
            [] => out.push_str(&format!("  {dim}{sign} {file}:{line}{dim:#}\n")),
            [only] => out.push_str(&format!("  {dim}{sign} {file}:{line}{dim:#}  {}\n", cut(only))),
            many => {
                out.push_str(&format!("  {dim}{sign} {file}:{line}{dim:#}\n"));
                many.iter().take(SHOWN).for_each(|text| out.push_str(&format!("      {}\n", cut(text))));
                if many.len() > SHOWN {
                    out.push_str(&format!("      … and {} more lines\n", many.len() - SHOWN));
                }
            }
        }
    }
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 160;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
