//! What every kind of finding means: the sections of `docs/diagnostics.md`, which are the page and these texts at once.

use super::Code;

/// The page as it stands in the docs.
const PAGE: &str = include_str!("../../docs/diagnostics.md");
/// Stands in the page for a character that cannot be printed.
const UNPRINTABLE: (char, char) = ('␀', '\0');

/// One section of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What it explains, as it stands in the heading.
    pub name: &'static str,
    /// The section without its heading, in Markdown.
    pub markdown: &'static str,
}

/// Files that show a mistake, or the way out of it. The first one is checked, the others stand beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Example {
    /// Name and text.
    pub files: Vec<(String, String)>,
}

impl Explanation {
    /// All sections, in the order of the page.
    pub fn all() -> impl Iterator<Item = Self> {
        PAGE.split("\n## ").skip(1).filter_map(|section| {
            let (name, text) = section.split_once('\n')?;
            Some(Self { name: name.trim(), markdown: text.trim() })
        })
    }

    /// The section about a kind of finding.
    pub fn of(code: Code) -> Option<Self> {
        Self::all().find(|section| section.name == code.as_str())
    }

    /// What it means, without the examples.
    pub fn prose(&self) -> &'static str {
        self.markdown.split("\nWrong:").next().unwrap_or_default().trim()
    }

    /// The first sentence of it, on one line.
    pub fn first_sentence(&self) -> String {
        let prose = self.prose().split_whitespace().collect::<Vec<_>>().join(" ");
        let end = prose.find(". ").map_or(prose.len(), |at| at + 1);
        prose[..end].to_owned()
    }

    /// Files with this mistake and no other.
    pub fn wrong(&self) -> Example {
        self.example("Wrong:")
    }

    /// The same files without it.
    pub fn right(&self) -> Example {
        self.example("Right:")
    }

    /// The blocks from the line `mark` to the next such line.
    fn example(&self, mark: &str) -> Example {
        let mut example = Example::default();
        let mut is_here = false;
        let mut block: Option<String> = None;
        for line in self.markdown.lines() {
            match &mut block {
                Some(text) if line == "```" => {
                    example.add(std::mem::take(text));
                    block = None;
                }
                Some(text) => text.extend([line, "\n"]),
                None if line == "Wrong:" || line == "Right:" => is_here = line == mark,
                None if line == "```yaml" && is_here => block = Some(String::new()),
                None => {}
            }
        }
        example
    }
}

impl Example {
    /// A block that begins with `# NAME.yaml` has this name.
    fn add(&mut self, text: String) {
        let named = text.lines().next().and_then(|line| line.strip_prefix("# ")).filter(|name| name.ends_with(".yaml"));
        let name = named.unwrap_or("example.yaml").to_owned();
        let (shown, meant) = UNPRINTABLE;
        self.files.push((name, text.replace(shown, &meant.to_string())));
    }

    /// Is it the script of a drill, and no runbook?
    pub fn is_scenario(&self) -> bool {
        self.files.first().is_some_and(|(_, text)| text.starts_with("scenario:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_finding_has_a_section_and_every_section_a_kind() {
        let sections: Vec<&str> = Explanation::all().map(|section| section.name).collect();
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(sections, codes);
    }

    #[test]
    fn every_section_has_a_few_sentences_and_both_examples() {
        for section in Explanation::all() {
            let prose = section.prose().split_whitespace().collect::<Vec<_>>().join(" ");
            let sentences = prose.matches(". ").count() + usize::from(prose.ends_with('.'));
            assert!((2..=5).contains(&sentences), "{}: {sentences} sentences", section.name);
            assert!(section.first_sentence().ends_with('.'), "{}", section.first_sentence());
            assert!(!section.wrong().files.is_empty(), "{} shows no mistake", section.name);
            assert!(!section.right().files.is_empty(), "{} shows no way out", section.name);
            assert_ne!(section.wrong(), section.right(), "{}", section.name);
        }
    }

    #[test]
    fn an_example_may_have_files_beside_it() {
        let section = Explanation::of(Code::UnknownGroup).unwrap();
        let names: Vec<String> = section.right().files.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["example.yaml", "approvers.yaml"]);
        assert_eq!(section.wrong().files.len(), 1);
    }
}
