//! A `postgres://` URL: what the driver reads of it, and what it does not know (`sslmode` beyond `require`, `sslrootcert`).

use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::DatabaseError;
use super::tls::{self, Trust};

/// Where to connect, and whom to trust there.
#[derive(Debug)]
pub(in super::super) struct Address {
    pub(super) config: Config,
    trust: Trust,
}

impl Address {
    /// Reads a URL. `sslmode` means what it means to PostgreSQL's own client: `prefer` unless said, and only
    /// `verify-ca` and `verify-full` ask who is at the other end; a certificate in `sslrootcert` is always held to.
    pub(in super::super) fn parse(url: &str, folder: &Path) -> Result<Self, DatabaseError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = "prefer";
        let mut root: Option<PathBuf> = None;
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", word)) => mode = word,
                Some(("sslrootcert", path)) => root = Some(folder.join(path.replace("%2F", "/"))),
                _ => others.push(pair),
            }
        }
        let mut rest = base.to_owned();
        if !others.is_empty() {
            rest.push('?');
            rest.push_str(&others.join("&"));
        }
        // The parser's own words may hold a part of the password.
        let mut config: Config = rest.parse().map_err(|_| {
            DatabaseError::Url(
                "write `postgres://USER:PASSWORD@HOST/NAME`, and percent-encode what is special in the password",
            )
        })?;
        let (ssl, mut trust) = match mode {
            "disable" => (SslMode::Disable, Trust::Anybody),
            "allow" | "prefer" => (SslMode::Prefer, Trust::Anybody),
            "require" => (SslMode::Require, Trust::Anybody),
            "verify-ca" => (SslMode::Require, Trust::Chain(None)),
            "verify-full" => (SslMode::Require, Trust::ChainAndName(None)),
            _ => {
                return Err(DatabaseError::Url(
                    "`sslmode` is one of `disable`, `prefer`, `require`, `verify-ca`, `verify-full`",
                ));
            }
        };
        if let Some(root) = root {
            trust = match trust {
                Trust::Anybody | Trust::Chain(_) => Trust::Chain(Some(root)),
                Trust::ChainAndName(_) => Trust::ChainAndName(Some(root)),
            };
        }
        config.ssl_mode(ssl);
        Ok(Self { config, trust })
    }

    /// The password on its own: whoever sees it without the URL around it must not read it either.
    pub(in super::super) fn password(&self) -> Option<String> {
        self.config.get_password().map(|password| String::from_utf8_lossy(password).into_owned())
    }

    /// How the connection is encrypted, if it is.
    pub(super) fn tls(&self) -> Result<MakeRustlsConnect, DatabaseError> {
        tls::connector(&self.trust)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, DatabaseError> {
        Address::parse(url, Path::new("/folder"))
    }

    #[test]
    fn sslmode_means_what_it_means_to_others() {
        for (query, ssl, trust) in [
            ("", SslMode::Prefer, Trust::Anybody),
            ("?sslmode=disable", SslMode::Disable, Trust::Anybody),
            ("?application_name=x&sslmode=require", SslMode::Require, Trust::Anybody),
            ("?sslmode=verify-ca", SslMode::Require, Trust::Chain(None)),
            ("?sslmode=verify-full&connect_timeout=3", SslMode::Require, Trust::ChainAndName(None)),
            ("?sslmode=require&sslrootcert=ca.pem", SslMode::Require, Trust::Chain(Some("/folder/ca.pem".into()))),
            (
                "?sslrootcert=%2Fca.pem&sslmode=verify-full",
                SslMode::Require,
                Trust::ChainAndName(Some("/ca.pem".into())),
            ),
        ] {
            let address = parse(&format!("postgres://me:secret%21@db.example.com:5433/shop{query}")).unwrap();
            assert_eq!((address.config.get_ssl_mode(), &address.trust), (ssl, &trust), "{query}");
            assert_eq!(address.password().as_deref(), Some("secret!"));
            assert_eq!((address.config.get_dbname(), address.config.get_ports()), (Some("shop"), &[5433][..]));
        }
    }

    #[test]
    fn a_refusal_holds_nothing_of_the_url() {
        for url in [
            "postgres://me:hunter2secret@[db/shop",
            "postgres://me:hunter2secret@db:notaport/shop",
            "postgres://me:hunter2secret@db/shop?hunter2secret=1",
            "postgres://me:hunter2secret@db/shop?sslmode=hunter2secret",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2secret") && error.starts_with("the connection URL"), "{error}");
        }
    }
}
