//! Where conversations are kept, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// Where conversations are kept.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// Nowhere.
    Off,
    /// In a file.
    Sqlite(PathBuf),
    /// On a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

/// An address that is none. It does not repeat the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum BadDatabaseUrl {
    /// Another kind of database.
    #[error(
        "conversations are kept in SQLite or PostgreSQL: give a file, postgres://USER:PASSWORD@HOST/DATABASE, or off"
    )]
    Unknown,
    /// PostgreSQL, with a mistake.
    #[error(
        "the address of the PostgreSQL database is not as expected; write postgres://USER:PASSWORD@HOST/DATABASE, and %40 for an @ in the password"
    )]
    Postgres,
}

impl FromStr for DatabaseUrl {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        let text = text.trim();
        let file = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
        match file.unwrap_or(text) {
            "" => Err(BadDatabaseUrl::Unknown),
            "off" | "none" if file.is_none() => Ok(Self::Off),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                let options = text.parse().map_err(|_| BadDatabaseUrl::Postgres)?;
                Ok(Self::Postgres(Box::new(options)))
            }
            other if other.contains("://") => Err(BadDatabaseUrl::Unknown),
            file => Ok(Self::Sqlite(file.into())),
        }
    }
}

/// For people; without user and password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("nowhere"),
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(options) => {
                let socket = options.get_socket().map(|socket| socket.display().to_string());
                let host = socket.unwrap_or_else(|| options.get_host().to_owned());
                let database = options.get_database().unwrap_or(options.get_username());
                write!(f, "PostgreSQL at {host}:{}/{database}", options.get_port())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match text.parse::<DatabaseUrl>() {
            Ok(url) => format!("{url:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn files_servers_and_nowhere_are_told_apart_and_passwords_are_not_shown() {
        for (text, shown) in [
            ("off", "nowhere"),
            ("/data/eva.db", "/data/eva.db"),
            ("sqlite:eva.db", "eva.db"),
            ("sqlite:///data/eva.db", "/data/eva.db"),
            ("postgres://eva:s3cret@db.example/talks", "PostgreSQL at db.example:5432/talks"),
            ("postgresql://eva:s3cret@db.example:6000/e", "PostgreSQL at db.example:6000/e"),
        ] {
            assert_eq!(read(text), shown);
        }
        for text in ["mysql://eva:s3cret@h/d", "", "sqlite:", "postgres://eva:s3cret@h:port/d"] {
            let told = read(text);
            assert!(told.contains("postgres://USER") && !told.contains("s3cret"), "{told}");
        }
    }
}
