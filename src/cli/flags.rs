//! Flags that several commands share: inputs, endpoints, formats.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use crate::http::Origins;

use super::errors::CliError;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Values for a runbook's inputs.
#[derive(Debug, Args, Default)]
pub(super) struct Inputs {
    /// Give an input a value.
    #[arg(short = 'i', long = "input", value_name = "NAME=VALUE")]
    pub(super) input: Vec<String>,
    /// Read inputs from a YAML or JSON file; `-i` goes over it.
    #[arg(long, value_name = "FILE")]
    pub(super) input_file: Option<PathBuf>,
}

impl Inputs {
    /// All values that were given.
    pub(super) fn values(&self) -> Result<BTreeMap<String, Value>, CliError> {
        let mut values: BTreeMap<String, Value> = match &self.input_file {
            Some(path) => read_yaml(path)?,
            None => BTreeMap::new(),
        };
        for text in &self.input {
            let Some((name, value)) = text.split_once('=') else {
                return Err(CliError::Usage {
                    message: format!("`{text}` is not of the form NAME=VALUE"),
                    hint: Some("write for example `-i project=shop`".to_owned()),
                });
            };
            values.insert(name.trim().to_owned(), value.into());
        }
        for value in values.values_mut() {
            crate::base::secret::disarm_json(value);
        }
        Ok(values)
    }
}

/// Where requests really go.
#[derive(Debug, Args, Default)]
pub(super) struct Endpoints {
    /// Send what is meant for a vendor, or for an address, somewhere else: `clerk=http://127.0.0.1:4010`.
    #[arg(long = "endpoint", value_name = "NAME=URL")]
    endpoint: Vec<String>,
    /// A YAML file with `endpoints:`; `--endpoint` goes over it.
    #[arg(long, value_name = "FILE", env = "RUNBOOK_PROFILE")]
    profile: Option<PathBuf>,
}

/// What a profile file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    #[serde(default)]
    endpoints: BTreeMap<String, String>,
}

impl Endpoints {
    /// Profile first, then `RUNBOOK_ENDPOINT_CLERK` and the like, then the flags.
    pub(super) fn origins(&self) -> Result<Origins, CliError> {
        let mut origins = Origins::default();
        if let Some(path) = &self.profile {
            let profile: Profile = read_yaml(path)?;
            for (name, url) in &profile.endpoints {
                origins.set(name, url)?;
            }
        }
        for vendor in crate::http::VENDOR_NAMES {
            if let Ok(url) = std::env::var(format!("RUNBOOK_ENDPOINT_{}", vendor.to_uppercase())) {
                origins.set(vendor, &url)?;
            }
        }
        for text in &self.endpoint {
            origins.set_from_text(text)?;
        }
        Ok(origins)
    }
}

fn read_yaml<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, CliError> {
    let unreadable = |error| CliError::usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    serde_yaml::from_str(&text).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// How many steps may run at once.
#[derive(Debug, Args, Default)]
pub(super) struct Concurrency {
    /// At most this many steps at once; by default 8 for each core that wait for the network and 2 that run a process.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
}

impl Concurrency {
    pub(super) fn limits(&self) -> crate::run::Limits {
        match self.concurrency {
            Some(most) => crate::run::Limits { io: most.into(), processes: most.into() },
            None => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                crate::run::Limits { io: 8 * cores, processes: 2 * cores }
            }
        }
    }
}
