//! Findings as workflow commands of GitHub Actions, which shows them beside the lines of a pull request
//! (<https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>).

use std::path::Path;

use crate::base::{Diagnostic, Severity};

/// One command a line.
pub(super) fn commands(problems: &[Diagnostic], folder: &Path) -> String {
    problems.iter().map(|problem| command(problem, folder)).collect()
}

fn command(problem: &Diagnostic, folder: &Path) -> String {
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut properties = vec![("file", super::relative(&problem.source.name, folder))];
    if let Some(span) = problem.span {
        let ((line, column), (end_line, end_column)) =
            (problem.source.place(span.start), problem.source.place(span.end));
        properties.push(("line", line.to_string()));
        // GitHub refuses columns when they stand on two lines.
        if line == end_line {
            properties.push(("col", column.to_string()));
        }
        properties.push(("endLine", end_line.to_string()));
        if line == end_line {
            properties.push(("endColumn", end_column.to_string()));
        }
    }
    properties.push(("title", problem.code.to_string()));
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", escaped_property(value))).collect();
    format!("::{level} {}::{}\n", properties.join(","), escaped(&super::with_help(problem)))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Code, Source, Span};

    #[test]
    fn what_would_end_a_command_is_escaped() {
        let source = Source::new("/w/a,b:c%.yaml", "x: 1\ny: 2\n");
        let one = Diagnostic::error(&source, Span::new(0, 1), Code::WrongType, "50%::x,\r\ny").help("a\nb");
        let two = Diagnostic { severity: Severity::Warning, ..one.clone() };
        let two = Diagnostic { span: Some(Span::new(0, 6)), help: None, message: "m".to_owned(), ..two };
        let whole = Diagnostic::whole_file(&source, Code::Unreadable, "m");
        assert_eq!(
            commands(&[one, two, whole], Path::new("/w")),
            "\
::error file=a%2Cb%3Ac%25.yaml,line=1,col=1,endLine=1,endColumn=2,title=wrong-type::50%25::x,%0D%0Ay%0Aa%0Ab
::warning file=a%2Cb%3Ac%25.yaml,line=1,endLine=2,title=wrong-type::m
::error file=a%2Cb%3Ac%25.yaml,title=unreadable::m
"
        );
    }
}
