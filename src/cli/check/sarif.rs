//! Findings as SARIF 2.1.0, which code scanning and editors read
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use std::path::Path;

use serde_json::{Value, json};

use crate::base::{Code, Diagnostic, Explanation, Severity, Source, Span};

/// A log with one run.
pub(super) fn log(problems: &[Diagnostic], folder: &Path) -> Value {
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().map(|code| rule(*code)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": problems.iter().map(|problem| result(problem, folder)).collect::<Vec<_>>(),
        }],
    })
}

/// A kind of finding, with its section of the docs.
fn rule(code: Code) -> Value {
    let Some(section) = Explanation::of(code) else { return json!({ "id": code }) };
    json!({
        "id": code,
        "shortDescription": { "text": section.first_sentence() },
        "fullDescription": { "text": section.prose().split_whitespace().collect::<Vec<_>>().join(" ") },
        "help": { "text": section.markdown, "markdown": section.markdown },
    })
}

fn result(problem: &Diagnostic, folder: &Path) -> Value {
    let uri = uri(&super::relative(&problem.source.name, folder));
    let mut physical = json!({ "artifactLocation": { "uri": uri } });
    if let Some(span) = problem.span {
        physical["region"] = region(&problem.source, span);
    }
    let mut result = json!({
        "ruleId": problem.code,
        "ruleIndex": Code::ALL.iter().position(|code| *code == problem.code),
        "level": match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": { "text": super::with_help(problem) },
        "locations": [{ "physicalLocation": physical }],
    });
    if !problem.related.is_empty() {
        let related = problem.related.iter().map(|(span, label)| {
            json!({
                "message": { "text": label },
                "physicalLocation": { "artifactLocation": { "uri": uri }, "region": region(&problem.source, *span) },
            })
        });
        result["relatedLocations"] = related.collect();
    }
    if let Some(fix) = &problem.fix {
        result["fixes"] = json!([{
            "description": { "text": problem.help.as_deref().unwrap_or("the way out") },
            "artifactChanges": [{
                "artifactLocation": { "uri": uri },
                "replacements": [{
                    "deletedRegion": region(&problem.source, fix.span),
                    "insertedContent": { "text": fix.text },
                }],
            }],
        }]);
    }
    result
}

/// The end column is that after the last character, as SARIF counts.
fn region(source: &Source, span: Span) -> Value {
    let ((line, column), (end_line, end_column)) = (source.place(span.start), source.place(span.end));
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

/// A path as a URI: whatever is not plain in one is written as `%20`.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let escaped: String = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    if path.starts_with('/') { format!("file://{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("runbooks/a b#ü.yaml"), "runbooks/a%20b%23%C3%BC.yaml");
        assert_eq!(uri("/tmp/a.yaml"), "file:///tmp/a.yaml");
    }
}
