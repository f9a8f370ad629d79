//! The database's URL, whose password is never shown.

use std::{fmt, path::Path};

use url::Url;
use zeroize::Zeroizing;

/// A text that is no database URL. It never carries the text itself, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Neither SQLite nor PostgreSQL.
    #[error("must be sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Scheme,
    /// The scheme is right, the rest is not.
    #[error("is not a URL ({0}); in a password write @ : / ? # % as %40 %3A %2F %3F %23 %25")]
    Syntax(url::ParseError),
    /// No path after `sqlite:`.
    #[error("names no file: write sqlite:PATH")]
    NoPath,
    /// The configuration's directory cannot be written in a URL.
    #[error("is relative to a directory whose name is not UTF-8: write an absolute path")]
    Directory,
}

/// Where the data is: `sqlite:PATH` or `postgres://..`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    /// Parses `text`; a relative SQLite path is taken from `base`.
    ///
    /// SQLite's path is percent-decoded by the driver, so that it can hold a `?`: `base` is encoded accordingly.
    ///
    /// # Errors
    /// [`DatabaseUrlError`].
    pub fn parse(text: &str, base: &Path) -> Result<Self, DatabaseUrlError> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return Ok(Self(Zeroizing::new(format!("sqlite:{}", absolute(path, base)?))));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        Url::parse(text).map_err(DatabaseUrlError::Syntax)?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The URL itself, password included, for the one call that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL without the password, for people.
    pub fn redacted(&self) -> String {
        if self.0.starts_with("sqlite:") {
            return (*self.0).clone();
        }
        let Ok(mut url) = Url::parse(&self.0) else { return "postgres://***".to_owned() };
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return "postgres://***".to_owned();
        }
        if url.query().is_some() {
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            let shown = pairs.iter().map(|(k, v)| (k.as_str(), if k.contains("pass") { "***" } else { v.as_str() }));
            url.query_pairs_mut().clear().extend_pairs(shown);
        }
        url.to_string()
    }
}

fn absolute(path: &str, base: &Path) -> Result<String, DatabaseUrlError> {
    if path.is_empty() || path.starts_with('?') {
        return Err(DatabaseUrlError::NoPath);
    }
    if path.starts_with('/') || path.starts_with(":memory:") {
        return Ok(path.to_owned());
    }
    let base = base.to_str().ok_or(DatabaseUrlError::Directory)?;
    let base = base.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Ok(format!("{}/{path}", base.trim_end_matches('/')))
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// Without the password.
impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        DatabaseUrl::parse(text, Path::new("/etc/a b%c?"))
    }

    #[test]
    fn takes_relative_sqlite_paths_from_the_base() {
        for (text, expected) in [
            ("sqlite:/var/lib/p.db", "sqlite:/var/lib/p.db"),
            ("sqlite:///var/lib/p.db", "sqlite:/var/lib/p.db"),
            ("sqlite:p.db?mode=rwc", "sqlite:/etc/a b%25c%3F/p.db?mode=rwc"),
            ("sqlite://p.db", "sqlite:/etc/a b%25c%3F/p.db"),
            ("sqlite::memory:", "sqlite::memory:"),
        ] {
            assert_eq!(parse(text).unwrap().expose(), expected);
        }
        assert_eq!(parse("sqlite:").unwrap_err(), DatabaseUrlError::NoPath);
    }

    #[test]
    fn never_shows_a_password() {
        for text in [
            "postgres://anna:s3cret@db.example/passkeys",
            "postgres://anna:s3%2Fcret@db.example/passkeys?sslmode=require&password=s3cret",
            "postgresql:///passkeys?host=/run/postgresql&sslpassword=s3cret",
        ] {
            let url = parse(text).unwrap();
            assert!(url.expose().contains("cret"));
            for shown in [url.to_string(), format!("{url:?}")] {
                assert!(!shown.contains("cret") && shown.contains("***") && shown.contains("passkeys"), "{shown}");
            }
        }
        assert_eq!(parse("postgres://anna@db/p").unwrap().to_string(), "postgres://anna@db/p");
    }

    #[test]
    fn refusals_do_not_repeat_the_text() {
        for bad in ["", "mysql://anna:s3cret@db/p", "anna:s3cret@db/p", "postgres://anna:s3cret@db:port/p", "postgres://anna:s3c/ret@db/p"]
        {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3c"), "{error}");
        }
    }
}
