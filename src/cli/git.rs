//! Files as they are in a revision that git keeps: read by the system's git, without a shell and without a checkout.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::runbook::Files;

use super::errors::CliError;

/// A file in a revision: `git:REV:path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    revision: String,
    path: String,
}

/// The files of one revision.
#[derive(Debug)]
pub(super) struct Revision {
    /// As it was named: `main`.
    name: String,
    /// The commit, by its hash. No argument to git is made of anything else that was typed.
    commit: String,
}

impl Named {
    /// Reads `git:REV:path`; `None` for everything that does not begin so.
    pub(super) fn parse(text: &str) -> Option<Result<Self, CliError>> {
        let rest = text.strip_prefix("git:")?;
        let Some((revision, path)) = rest.split_once(':').filter(|(rev, path)| !rev.is_empty() && !path.is_empty())
        else {
            return Some(Err(CliError::Usage {
                message: format!("`{text}` names no file of a revision"),
                hint: Some("write `git:REV:path`, for example `git:main:runbooks/clerk-outage.yaml`".to_owned()),
            }));
        };
        if revision.starts_with('-') {
            return Some(Err(CliError::usage(format!("`{revision}` is no revision"))));
        }
        Some(Ok(Self { revision: revision.to_owned(), path: path.to_owned() }))
    }

    /// The revision, and the path from the top of the repository. A path that begins with `./` or `../` starts from the
    /// current folder, every other from the top, as git itself reads it.
    pub(super) fn open(&self) -> Result<(Revision, PathBuf), CliError> {
        let Self { revision, path } = self;
        let commit =
            git(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).map_err(|error| {
                let hint = "fetch it first; in CI, check out with the whole history (`fetch-depth: 0`)".to_owned();
                match error {
                    // A quiet refusal: the revision is not there.
                    GitError::Refused(said) if said.is_empty() => CliError::Usage {
                        message: format!("git knows no revision `{revision}` here"),
                        hint: Some(hint),
                    },
                    GitError::Refused(said) => CliError::usage(format!("git: {said}")),
                    GitError::Missing(error) => CliError::Machine(format!("git cannot be started: {error}")),
                }
            })?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        let prefix = match path.starts_with("./") || path.starts_with("../") {
            true => git(&["rev-parse", "--show-prefix"]).unwrap_or_default(),
            false => Vec::new(),
        };
        let prefix = String::from_utf8_lossy(&prefix).trim_end_matches('\n').to_owned();
        let path = plain(&Path::new(&prefix).join(path))
            .ok_or_else(|| CliError::usage(format!("`{path}` lies outside of the repository")))?;
        Ok((Revision { name: revision.clone(), commit }, path))
    }
}

/// A path without `.` and `..`; `None` when it leads out of where it starts.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// Why git gave no answer.
enum GitError {
    /// It could not be started.
    Missing(io::Error),
    /// It said no, with what it said.
    Refused(String),
}

/// What git prints.
fn git(arguments: &[&str]) -> Result<Vec<u8>, GitError> {
    let output = Command::new("git")
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(GitError::Missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("fatal: ").to_owned();
    Err(GitError::Refused(said))
}

impl Revision {
    /// Is there a file at this path?
    pub(super) fn has(&self, path: &Path) -> bool {
        self.object(path).is_ok()
    }

    /// The hash of the file at a path.
    fn object(&self, path: &Path) -> io::Result<String> {
        let not_there = || io::Error::new(io::ErrorKind::NotFound, "it is not in that revision");
        let plain = plain(path).ok_or_else(not_there)?;
        let listed = self.listed(&plain)?;
        // `MODE TYPE HASH<tab>PATH`
        let (about, _) = listed.first().and_then(|line| line.split_once('\t')).ok_or_else(not_there)?;
        let mut about = about.split(' ');
        match (about.next(), about.next(), about.next()) {
            (Some("120000"), _, _) => Err(io::Error::other("it is a symbolic link, and those are not followed")),
            (_, Some("blob"), Some(hash)) => Ok(hash.to_owned()),
            _ => Err(io::Error::other("it is no file")),
        }
    }

    fn listed(&self, path: &Path) -> io::Result<Vec<String>> {
        let path = path.to_str().ok_or_else(|| io::Error::other("its name is no text"))?;
        let listed = git(&["--literal-pathspecs", "ls-tree", "-z", "--full-tree", &self.commit, "--", path]);
        let listed = listed.map_err(|error| match error {
            GitError::Missing(error) => error,
            GitError::Refused(said) => io::Error::other(said),
        })?;
        let text = String::from_utf8_lossy(&listed);
        Ok(text.split('\0').filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

impl Files for Revision {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let object = self.object(path)?;
        git(&["cat-file", "blob", &object]).map_err(|error| match error {
            GitError::Missing(error) => error,
            GitError::Refused(said) => io::Error::other(said),
        })
    }

    fn identity(&self, path: &Path) -> io::Result<PathBuf> {
        self.object(path)?;
        plain(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let listed = match plain(folder) {
            Some(folder) if folder.as_os_str().is_empty() => self.listed(Path::new(".")),
            Some(folder) => self.listed(&folder.join("")),
            None => return Vec::new(),
        };
        let names = listed.unwrap_or_default().into_iter();
        names.filter_map(|line| Some(line.rsplit(['/', '\t']).next()?.to_owned())).collect()
    }

    fn name(&self, path: &Path) -> String {
        format!("git:{}:{}", self.name, path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_revision_has_a_revision_and_a_path() {
        let parse = |text| Named::parse(text).map(|named| named.map_err(|error| error.to_string()));
        assert!(parse("main:x.yaml").is_none());
        assert_eq!(
            parse("git:main:a/b.yaml"),
            Some(Ok(Named { revision: "main".to_owned(), path: "a/b.yaml".to_owned() }))
        );
        for wrong in ["git:main", "git::x", "git:main:", "git:-v:x", "git:--output=x:y"] {
            assert!(parse(wrong).is_some_and(|read| read.is_err()), "{wrong}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_repository() {
        assert_eq!(plain(Path::new("a/./b/../c.yaml")), Some(PathBuf::from("a/c.yaml")));
        assert_eq!(plain(Path::new("../c.yaml")), None);
        assert_eq!(plain(Path::new("a/../../c.yaml")), None);
        assert_eq!(plain(Path::new("/etc/passwd")), None);
    }
}
