//! Notices of changes between servers: LISTEN and NOTIFY, where the database has them. They hasten what polling would find.

#[cfg(feature = "postgres")]
use std::time::Duration;

use super::super::{Backend, Error, Store, conn::Conn};

/// The channel. Its notices say nothing: who hears one looks for what changed.
#[cfg(feature = "postgres")]
const CHANNEL: &str = "passkey_hsm_keys";

/// Between tries to listen again after the connection was lost.
#[cfg(feature = "postgres")]
const RETRY: Duration = Duration::from_secs(1);

/// Hears of changes of signing keys that other servers and commands make.
#[derive(Debug)]
pub struct KeyNotices {
    #[cfg(feature = "postgres")]
    listening: Option<postgres::Listening>,
}

impl KeyNotices {
    /// Returns when there was a change, or may have been one; on SQLite never. Cancel safe.
    pub async fn changed(&mut self) {
        #[cfg(feature = "postgres")]
        if let Some(listening) = &mut self.listening {
            return listening.changed().await;
        }
        std::future::pending::<()>().await;
    }
}

impl Store {
    /// Begins to listen for changes, on a connection of its own.
    pub async fn key_notices(&self) -> Result<KeyNotices, Error> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(_) => Ok(KeyNotices {
                #[cfg(feature = "postgres")]
                listening: None,
            }),
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => Ok(KeyNotices { listening: Some(postgres::Listening::begin(db).await?) }),
        }
    }
}

/// Tells who listens, once the unit of work is committed, and only then.
pub(super) async fn tell(tx: &mut Conn<'_>) -> Result<(), Error> {
    match tx.borrow() {
        #[cfg(feature = "sqlite")]
        Conn::Sqlite(_) => {}
        #[cfg(feature = "postgres")]
        Conn::Postgres(c) => {
            crate::storage::conn::bounded(sqlx::query!("NOTIFY passkey_hsm_keys").execute(c)).await?;
        }
    }
    Ok(())
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::fmt;

    use sqlx::{
        ConnectOptions,
        postgres::{PgConnectOptions, PgListener, PgPoolOptions},
    };

    use super::{CHANNEL, Error, RETRY};
    use crate::storage::{conn::bounded, postgres::Postgres};

    pub(super) struct Listening {
        options: PgConnectOptions,
        /// None while the connection is lost: what is said meanwhile is not heard.
        listener: Option<PgListener>,
    }

    impl Listening {
        pub(super) async fn begin(db: &Postgres) -> Result<Self, Error> {
            let options = (*db.pool.connect_options()).clone().disable_statement_logging();
            let listener = Some(listen(&options).await?);
            Ok(Self { options, listener })
        }

        /// Cancel safe: a lost connection is remembered between the two waits, and found again it is always reported.
        pub(super) async fn changed(&mut self) {
            loop {
                match &mut self.listener {
                    Some(listener) => match listener.try_recv().await {
                        Ok(Some(_)) => return,
                        Ok(None) | Err(_) => self.listener = None,
                    },
                    None => match listen(&self.options).await {
                        Ok(listener) => {
                            self.listener = Some(listener);
                            return;
                        }
                        Err(error) => {
                            tracing::debug!(%error, "cannot listen for changes of keys: {error}");
                            tokio::time::sleep(RETRY).await;
                        }
                    },
                }
            }
        }
    }

    impl fmt::Debug for Listening {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Listening").field("connected", &self.listener.is_some()).finish_non_exhaustive()
        }
    }

    /// A listener with a pool of its own, of one connection that is never given up for its age.
    async fn listen(options: &PgConnectOptions) -> Result<PgListener, Error> {
        bounded(async {
            let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        })
        .await
    }
}
