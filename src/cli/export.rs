//! `runbook export`: a run as one file that can be checked, shown and reported on another machine.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::base::Redactor;
use crate::plan::Plan;
use crate::runlog::{Export as Bundle, SignError, SigningKey, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;

/// Arguments of `runbook export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// The file to write; RUN.tar in this folder unless named.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// Sign it with an ed25519 key of SSH's, without a passphrase.
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let folder = Store::new(env::state_folder()).find(&self.run)?;
        let output = self.output.unwrap_or_else(|| PathBuf::from(format!("{}.tar", folder.id)));
        if !self.force && output.symlink_metadata().is_ok() {
            return Err(in_the_way(&output));
        }
        let key = self.sign.as_deref().map(read_key).transpose()?;
        let plan = folder.plan()?;
        let bundle = Bundle::of(&folder)?;
        refuse_secrets(&plan, &bundle)?;
        let signature = key.as_ref().map(|key| key.sign(&bundle.manifest.to_bytes()));
        let bytes = bundle.to_bytes(signature.as_deref())?;
        write(&output, &bytes, self.force)?;

        let inputs: Vec<&str> = plan.runbook().inputs.keys().map(String::as_str).collect();
        anstream::eprintln!("{} written: {} bytes, {} files", output.display(), bytes.len(), bundle.files().count());
        if !inputs.is_empty() {
            anstream::eprintln!("the inputs stand in it in clear: {}", inputs.join(", "));
        }
        for (name, why) in &bundle.left_out {
            anstream::eprintln!("left out: {name}; {why}");
        }
        if let Some(key) = &key {
            anstream::eprintln!("signed with {}", key.fingerprint());
        }
        anstream::eprintln!("head of the log: {}", bundle.manifest.head);
        Ok(Exit::Succeeded)
    }
}

fn in_the_way(path: &Path) -> CliError {
    CliError::Usage {
        message: format!("{} is there already", path.display()),
        hint: Some("name another file with `-o`, or replace it with `--force`".to_owned()),
    }
}

fn read_key(path: &Path) -> Result<SigningKey, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
    SigningKey::read(&text).map_err(|error| {
        let hint = match error {
            SignError::Encrypted => {
                "take the passphrase off a copy with `ssh-keygen -p -N '' -f COPY`, sign with that, and delete it"
            }
            _ => "make one with `ssh-keygen -t ed25519 -N '' -f KEYFILE`",
        };
        CliError::Usage { message: format!("{}: {error}", path.display()), hint: Some(hint.to_owned()) }
    })
}

/// Nothing that leaves may hold a secret. The log is masked as it is written; what a step left, or what somebody wrote
/// into the runbook itself, is looked at here, as far as the secrets can be had now.
fn refuse_secrets(plan: &Plan, bundle: &Bundle) -> Result<(), CliError> {
    for name in plan.runbook().secrets.keys() {
        let one: Arc<Redactor> = Arc::default();
        let surroundings = super::drive::Surroundings::real(plan, crate::http::Origins::default(), Arc::clone(&one));
        if surroundings.secrets.get(name).is_err() {
            continue;
        }
        for (file, bytes) in bundle.files() {
            if matches!(one.mask(&String::from_utf8_lossy(bytes)), std::borrow::Cow::Owned(_)) {
                return Err(CliError::Usage {
                    message: format!("`{file}` holds the value of secret `{name}`; nothing was written"),
                    hint: Some("a secret that has been written down is one to replace".to_owned()),
                });
            }
        }
    }
    Ok(())
}

/// Writes the file whole or not at all, for its owner alone.
fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        // A link is refused where a file has come in the way meanwhile; a new name is not.
        .and_then(|()| if force { std::fs::rename(&draft, path) } else { std::fs::hard_link(&draft, path) });
    // After a rename it is gone already; the first error is the one to tell.
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| CliError::file(path, e)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(in_the_way(path)),
        Err(error) => Err(CliError::file(path, error)),
    }
}
