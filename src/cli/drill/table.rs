//! The table of a scoreboard: one line for each drill, as wide as it must be and no wider than the terminal.

use std::fmt::Write as _;

/// How many columns there are.
pub(super) const COLUMNS: usize = 10;

const HEADS: [&str; COLUMNS] =
    ["runbook", "scenario", "result", "outcome", "detect", "mitigate", "restore", "bypass", "left", "took"];
/// The first column that is read from its right end.
const NUMBERS: usize = 4;
/// The least that is left of a scenario's name.
const LEAST: usize = 8;

/// The table. Where the width is not enough for whole lines, runbooks become headings over their drills; where even that is
/// not enough, names of scenarios are cut.
pub(super) fn of(rows: &[[String; COLUMNS]], width: Option<usize>) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| count(&row[column]));
        cells.chain([count(HEADS[column])]).max().unwrap_or(0)
    });
    let whole: usize = widths.iter().sum::<usize>() + 2 * (COLUMNS - 1);
    match width {
        Some(width) if whole > width => grouped(rows, widths, width),
        _ => flat(rows, &widths),
    }
}

fn flat(rows: &[[String; COLUMNS]], widths: &[usize; COLUMNS]) -> String {
    let heads = HEADS.map(str::to_owned);
    std::iter::once(&heads).chain(rows).map(|row| line(row, widths, 0, 2)).collect()
}

fn grouped(rows: &[[String; COLUMNS]], mut widths: [usize; COLUMNS], width: usize) -> String {
    // Two blanks before a line, two between words, one between numbers.
    let words = NUMBERS - 1;
    let others: usize = widths[2..].iter().sum::<usize>() + 2 + 2 * (words - 1) + (COLUMNS - NUMBERS);
    widths[1] = widths[1].min(width.saturating_sub(others).max(LEAST));
    let mut out = format!("  {}", line(&HEADS.map(str::to_owned), &widths, 1, 1));
    let mut last = None;
    for row in rows {
        if last != Some(&row[0]) {
            let _ = writeln!(out, "{}", row[0]);
            last = Some(&row[0]);
        }
        let _ = write!(out, "  {}", line(row, &widths, 1, 1));
    }
    out
}

/// The cells from a column on, with so many blanks before a number.
fn line(row: &[String; COLUMNS], widths: &[usize; COLUMNS], from: usize, blanks: usize) -> String {
    let mut out = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate().skip(from) {
        let gap = match column {
            _ if column == from => 0,
            _ if column < NUMBERS => 2,
            _ => blanks,
        };
        let cell = cut(cell, *width);
        let blank = " ".repeat(width - count(&cell));
        let (before, after) = if column < NUMBERS { ("", blank.as_str()) } else { (blank.as_str(), "") };
        let _ = write!(out, "{:gap$}{before}{cell}{after}", "");
    }
    format!("{}\n", out.trim_end())
}

fn cut(text: &str, width: usize) -> String {
    if count(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn count(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; COLUMNS]> {
        let row = |runbook: &str, case: &str, outcome: &str, restore: &str| {
            [runbook, case, "passed", outcome, "14s", "3m5s", restore, "12m9s", "-", "11s"].map(str::to_owned)
        };
        vec![
            row("clerk-middleware-failure", "(first)", "succeeded", "15m22s"),
            row("clerk-middleware-failure", "a-deployment-that-is-never-aliased", "rolled back", "-"),
            row("clerk-outage", "rejected", "rejected", "1h15m22s"),
        ]
    }

    #[test]
    fn a_wide_terminal_has_a_whole_line_for_each_drill() {
        let text = of(&rows(), Some(200));
        assert_eq!(text, of(&rows(), None), "what is no terminal has no end");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("clerk-middleware-failure  (first) "), "{text}");
        let ends: Vec<usize> = lines.iter().map(|line| count(line)).collect();
        assert!(ends.iter().all(|end| *end == ends[0] && *end <= 200), "{text}");
    }

    #[test]
    fn eighty_columns_are_enough() {
        let text = of(&rows(), Some(80));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!([lines[1], lines[4]], ["clerk-middleware-failure", "clerk-outage"], "{text}");
        let drills: Vec<&&str> = lines.iter().filter(|line| line.starts_with("  ")).collect();
        let ends: Vec<usize> = drills.iter().map(|line| count(line)).collect();
        assert!(ends.iter().all(|end| *end == ends[0] && *end <= 80), "{text}");
        assert!(text.contains('…') && text.contains("rolled back"), "{text}");
    }
}
