//! Making and changing the tables. The migrations are in the binary.

use std::collections::BTreeMap;

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{Backend, Error, Store};

#[cfg(feature = "sqlite")]
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
#[cfg(feature = "postgres")]
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Where applied migrations are recorded, on both engines.
const TABLE: &str = "_sqlx_migrations";

/// How often a migration is begun again when another process migrates the same database.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Brings the tables up to date and returns the versions that were applied, in order; none when there was nothing to do.
    ///
    /// Several processes may do so at once. [`Error::NewerDatabase`] when the database is ahead of this program.
    pub async fn migrate(&self) -> Result<Vec<i64>, Error> {
        let mut pending = self.pending_migrations().await?;
        let applied = pending.clone();
        for _ in 0..ATTEMPTS {
            if pending.is_empty() {
                break;
            }
            let result = match &self.0 {
                #[cfg(feature = "sqlite")]
                Backend::Sqlite(db) => SQLITE.run(&mut db.connect().await?).await,
                #[cfg(feature = "postgres")]
                Backend::Postgres(db) => POSTGRES.run(&mut db.connect().await?).await,
            };
            let left = self.pending_migrations().await?;
            // SQLite has no lock for migrators: the one that loses fails, and finds the work done.
            if let Err(error) = result
                && left == pending
            {
                return Err(sqlx::Error::from(error).into());
            }
            pending = left;
        }
        Ok(applied)
    }

    /// The versions that [`Store::migrate`] would apply. Writes nothing.
    pub async fn pending_migrations(&self) -> Result<Vec<i64>, Error> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => {
                let mut conn = db.connect().await?;
                let table = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = $1").bind(TABLE).fetch_optional(&mut conn).await?;
                pending(&SQLITE, &mut conn, table.is_some()).await
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => {
                let mut conn = db.connect().await?;
                let table = sqlx::query("SELECT 1 WHERE to_regclass($1) IS NOT NULL").bind(TABLE).fetch_optional(&mut conn).await?;
                pending(&POSTGRES, &mut conn, table.is_some()).await
            }
        }
    }
}

/// What of `known` is not recorded in the database. `recorded`: whether there is a record at all.
async fn pending(known: &Migrator, conn: &mut impl Migrate, recorded: bool) -> Result<Vec<i64>, Error> {
    let applied = if recorded { conn.list_applied_migrations(TABLE).await.map_err(sqlx::Error::from)? } else { Vec::new() };
    let mut applied: BTreeMap<_, _> = applied.into_iter().map(|m| (m.version, m.checksum)).collect();
    let mut pending = Vec::new();
    for migration in known.iter() {
        match applied.remove(&migration.version) {
            None => pending.push(migration.version),
            Some(checksum) if checksum == migration.checksum => (),
            Some(_) => return Err(sqlx::Error::from(MigrateError::VersionMismatch(migration.version)).into()),
        }
    }
    match applied.into_keys().max() {
        Some(newest) => Err(Error::NewerDatabase(newest)),
        None => Ok(pending),
    }
}
