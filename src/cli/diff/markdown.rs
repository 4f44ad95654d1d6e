//! A difference as a comment on a pull request. Nothing in a runbook can become markup of the page.

use crate::plan::diff::{Class, Diff, Finding, Spot};
use crate::plan::policy::Denial;

use super::{heading, lines};

/// What a comment may hold; GitHub takes 65536 characters.
const LONGEST: usize = 60_000;
/// How many lines of a value are shown.
const SHOWN: usize = 40;

/// The difference as Markdown: what is riskier first, with the places, and the old and new values folded away.
pub(super) fn markdown(found: &Diff, denied: &[Denial]) -> String {
    let mut out = format!("#### {}\n", escaped(&heading(found)));
    if !denied.is_empty() {
        let count = if denied.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", denied.len()) };
        out.push_str(&format!("\n**The policy denies {count}.**\n"));
    }
    let mut left_out = 0;
    for class in Class::ALL {
        let of_class: Vec<(usize, &Finding)> =
            found.findings.iter().enumerate().filter(|(_, finding)| finding.class == class).collect();
        if of_class.is_empty() {
            continue;
        }
        let title = match class {
            Class::Riskier => "Riskier",
            Class::Neutral => "Neutral",
            Class::Safer => "Safer",
        };
        let mut section = format!("\n**{title}**\n\n");
        let mut values = String::new();
        for (index, finding) in of_class {
            let denial = denied.iter().find(|denial| denial.finding() == Some(index));
            let item = item(finding, denial);
            let diff = both(finding);
            if out.chars().count() + section.chars().count() + values.chars().count() + item.len() + diff.len()
                > LONGEST
            {
                left_out += 1;
                continue;
            }
            section.push_str(&item);
            values.push_str(&diff);
        }
        out.push_str(&section);
        if !values.is_empty() {
            out.push_str(&format!("\n<details><summary>Old and new</summary>\n\n{values}</details>\n"));
        }
    }
    if left_out > 0 {
        out.push_str(&format!("\n{left_out} more are left out here; `runbook diff` shows all.\n"));
    }
    out
}

fn item(finding: &Finding, denial: Option<&Denial>) -> String {
    let step = finding.step.as_ref().filter(|step| step.contains('/'));
    let step = step.map_or_else(String::new, |step| format!(" (in {})", code(step)));
    let denied = denial.map_or_else(String::new, |denial| {
        format!(" — **denied by** {}", code(&format!("{} ({}:{})", denial.rule, denial.file, denial.line)))
    });
    let spot = finding.new.as_ref().or(finding.old.as_ref());
    let place = spot.map_or_else(String::new, |spot| format!(" {}", code(&format!("{}:{}", spot.file, spot.line))));
    format!("- {}{step}{denied} · {}{place}\n", sentence(&finding.message), code(finding.kind.as_str()))
}

/// Both values as a block of their own. Every line has a sign in front, so that none can end the block.
fn both(finding: &Finding) -> String {
    let mut block = String::new();
    for (sign, spot) in [('-', &finding.old), ('+', &finding.new)] {
        let Some(Spot { value: Some(value), .. }) = spot else { continue };
        let lines = lines(value);
        for line in lines.iter().take(SHOWN) {
            let line: String = line.chars().take(400).collect();
            block.push_str(&format!("{sign} {line}\n"));
        }
        if lines.len() > SHOWN {
            block.push_str(&format!("{sign} … and {} more lines\n", lines.len() - SHOWN));
        }
    }
    if block.is_empty() {
        return block;
    }
    format!("{}\n\n```diff\n{block}```\n\n", sentence(&finding.message))
}

/// A sentence in which what stands in backticks is code.
fn sentence(text: &str) -> String {
    let mut shown = String::new();
    let mut is_code = false;
    for (index, piece) in text.split('`').enumerate() {
        if index > 0 {
            shown.push_str(if is_code { "</code>" } else { "<code>" });
            is_code = !is_code;
        }
        shown.push_str(&escaped(piece));
    }
    if is_code {
        shown.push_str("</code>");
    }
    shown
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// A text whose characters mean only themselves: neither markup, nor a link, nor the name of somebody who is then told.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '@' => shown.push_str("&#64;\u{200B}"),
            c if c.is_control() => shown.push(' '),
            '&' | '<' | '>' | '"' | '\'' | '`' | '*' | '_' | '~' | '[' | ']' | '(' | ')' | '!' | '#' | '|' | '\\'
            | '$' => {
                shown.push_str(&format!("&#{};", u32::from(c)));
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_runbook_becomes_markup() {
        let hostile = "runs `x`<img src=x onerror=alert(1)>` [a](javascript:b) @alice **bold** ![i](j) `<b>";
        let shown = sentence(hostile);
        let tags: Vec<&str> = shown.split('<').skip(1).filter_map(|rest| rest.split('>').next()).collect();
        assert!(tags.iter().all(|tag| ["code", "/code"].contains(tag)), "{shown}");
        assert_eq!(shown.matches("<code>").count(), shown.matches("</code>").count());
        for mark in ["](", "**", "@a", "!["] {
            assert!(!shown.contains(mark), "{mark} in {shown}");
        }
    }

    #[test]
    fn no_line_of_a_value_ends_its_block() {
        let spot = Spot { file: "x".into(), line: 1, value: Some("a\n```\n</details>\n<script>".into()) };
        let finding = Finding {
            kind: crate::plan::diff::Kind::CommandAdded,
            class: Class::Riskier,
            step: None,
            message: "m".into(),
            old: None,
            new: Some(spot),
        };
        assert_eq!(both(&finding), "m\n\n```diff\n+ a\n+ ```\n+ </details>\n+ <script>\n```\n\n");
    }
}
