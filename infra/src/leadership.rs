//! One leader at a time among the nodes of a cluster, by a lock that the session of one connection
//! to PostgreSQL has. It ends with the connection, so that a dead leader is followed by another.
//!
//! It is deliberately no proof towards third parties: for a moment a leader may not know yet that it
//! has been followed by another, so what leaders do must tolerate two of them.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::backoff::Backoff;
use crate::event_store::connect::{connect, within};
use crate::failure::Failure;

/// How often a leader looks whether its connection lives, and the others whether the lock is free.
/// They do not wait inside the server: that would keep it from cleaning up old rows.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the server may take to answer a look; after that the leadership is lost.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// A leader notices within this time that it lost its leadership, whatever became of the connection.
/// The server takes longer to give up on a connection that went silent.
pub const LOST_AFTER_MAX: Duration = LOOK_EVERY.saturating_add(LOOK_MAX);

/// The leadership. Others may have it once this is dropped.
#[derive(Debug)]
pub struct Leadership {
    held: watch::Receiver<Held>,
    keeper: AbortHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Yes,
    No,
}

impl Leadership {
    /// Waits until this is the one leader called `name` among those who use the database at `url`.
    /// A server that is away is waited for. Safe to cancel.
    ///
    /// # Errors
    /// `url` is none.
    pub async fn campaign(url: &str, name: &str) -> Result<Self, Failure> {
        let options = options(url)?;
        let key = key(name);
        let mut backoff = Backoff::default();
        let mut is_away = false;
        loop {
            let lost = match connect(&options).await {
                Ok(connection) => {
                    is_away = false;
                    backoff = Backoff::default();
                    match lock(connection, key).await {
                        Ok(connection) => {
                            tracing::info!(name, "this node leads");
                            return Ok(Self::keep(connection, name.to_owned()));
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !is_away {
                tracing::warn!(name, error = %lost, "the election cannot be reached; trying again");
            }
            is_away = true;
            backoff.wait().await;
        }
    }

    fn keep(connection: PgConnection, name: String) -> Self {
        let (sender, held) = watch::channel(Held::Yes);
        let keeper = tokio::spawn(async move {
            let lost = keep(connection).await;
            tracing::warn!(name, error = %lost, "this node no longer leads");
            sender.send_replace(Held::No);
        });
        Self {
            held,
            keeper: keeper.abort_handle(),
        }
    }

    /// Whether it is not known to be lost.
    pub fn is_held(&self) -> bool {
        *self.held.borrow() == Held::Yes
    }

    /// Waits until it is lost, and returns at most [`LOST_AFTER_MAX`] after that. Safe to cancel.
    pub async fn lost(&self) {
        let mut held = self.held.clone();
        // A keeper that is gone keeps nothing: then it is lost, too.
        let _ = held.wait_for(|held| *held == Held::No).await;
    }
}

impl Drop for Leadership {
    /// Ends the session, and with it the lock.
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A server that no longer hears of a leader must not keep its lock for hours. With these it gives the
/// connection up after 11 seconds of silence: 5, and three times 2.
fn options(url: &str) -> Result<PgConnectOptions, Failure> {
    let mut options: PgConnectOptions = url
        .parse()
        .map_err(|error: sqlx::Error| Failure::internal("read the database URL", error))?;
    if options.get_application_name().is_none() {
        options = options.application_name("verbatim leadership");
    }
    let options = options.options([
        ("statement_timeout", "3s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
    ]);
    Ok(options.disable_statement_logging())
}

/// The number of the lock. That two names share one is as good as impossible.
fn key(name: &str) -> i64 {
    let digest = Sha256::digest(format!("verbatim leadership {name}"));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// Waits until the session of `connection` has the lock.
async fn lock(mut connection: PgConnection, key: i64) -> Result<PgConnection, sqlx::Error> {
    loop {
        let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(key);
        if within(LOOK_MAX, lock.fetch_one(&mut connection)).await? {
            return Ok(connection);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks after the connection until it is lost; says why.
async fn keep(mut connection: PgConnection) -> sqlx::Error {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = within(LOOK_MAX, connection.ping()).await {
            return error;
        }
    }
}
