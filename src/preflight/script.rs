//! Which well-known tools a shell script calls. No shell is understood here: only a word of the list, where a command
//! begins, is taken for a call, and what it leads to is a warning.

/// Tools that are installed, and not built into a shell or a small system.
const TOOLS: [&str; 32] = [
    "aws",
    "az",
    "curl",
    "dig",
    "docker",
    "doctl",
    "flyctl",
    "gcloud",
    "gh",
    "git",
    "helm",
    "heroku",
    "jq",
    "kubectl",
    "mysql",
    "nc",
    "netlify",
    "node",
    "npm",
    "npx",
    "openssl",
    "pg_dump",
    "psql",
    "python3",
    "redis-cli",
    "rsync",
    "ssh",
    "terraform",
    "vault",
    "vercel",
    "wget",
    "yq",
];

/// Words of the shell after which a command begins.
const BEFORE_A_COMMAND: [&str; 8] = ["!", "do", "elif", "else", "exec", "if", "then", "while"];

/// The tools that a script calls, each once.
pub(super) fn well_known(script: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for line in script.lines() {
        let line = line.trim_start();
        if line.starts_with('#') {
            continue;
        }
        for command in line.split(['|', ';', '&', '(', '{', '`']) {
            let mut words = command.split_whitespace().skip_while(|word| {
                BEFORE_A_COMMAND.contains(word) || word.split_once('=').is_some_and(|(name, _)| is_name(name))
            });
            let Some(tool) = words.next().and_then(|word| TOOLS.into_iter().find(|tool| *tool == word)) else {
                continue;
            };
            // A script that asks whether it is there gets on without it.
            let is_asked_for = script.contains(&format!("command -v {tool}"));
            if !found.contains(&tool) && !is_asked_for {
                found.push(tool);
            }
        }
    }
    found.sort_unstable();
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_a_command_begins() {
        let script =
            "# curl nothing\necho curl wget\nA=1 kubectl get pods | jq .\nif gh auth status; then x=$(aws s3 ls); fi\n";
        assert_eq!(well_known(script), ["aws", "gh", "jq", "kubectl"]);
        assert!(well_known("command -v jq && jq . || true").is_empty());
        assert!(well_known("").is_empty());
    }
}
