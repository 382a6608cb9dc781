//! Where the log ends, followed on a connection of its own: a notification per transaction, and a
//! look at the table now and then, so that a lost notification only delays. It never goes backward,
//! and it goes on by itself after the server was away.

use std::sync::Arc;
use std::time::Duration;

use domain::Position;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;

use super::connect::{self, CONNECT_MAX, LogSchema};
use crate::backoff::Backoff;

/// After as long without a notification the table is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a look may take before the connection counts as lost.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Moves `head` forward to `position`.
pub(super) fn advance(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|head| {
        let moves = position > *head;
        *head = position.max(*head);
        moves
    });
}

/// The position of the last event.
pub(super) async fn read<'c>(
    connection: impl sqlx::Executor<'c, Database = sqlx::Postgres>,
) -> Result<Position, sqlx::Error> {
    let position: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM events")
        .fetch_one(connection)
        .await?;
    Ok(Position(position.unwrap_or_default().cast_unsigned()))
}

/// Follows the log of `schema` until it is aborted.
pub(super) async fn follow(
    options: PgConnectOptions,
    schema: LogSchema,
    head: Arc<watch::Sender<Position>>,
) {
    let mut backoff = Backoff::default();
    let mut is_away = false;
    loop {
        let lost = match listen(&options, &schema, &head).await {
            Ok(listener) => {
                if is_away {
                    tracing::info!("the growth of the log is heard of again");
                }
                is_away = false;
                backoff = Backoff::default();
                hear(listener, &head).await
            }
            Err(error) => error,
        };
        if !is_away {
            tracing::warn!(error = %lost, "the growth of the log is not heard of; trying again");
        }
        is_away = true;
        backoff.wait().await;
    }
}

/// Listens first and looks second, so that nothing falls in between. The pool is a new one each time:
/// a connection that hangs keeps its place in the old one.
async fn listen(
    options: &PgConnectOptions,
    schema: &LogSchema,
    head: &watch::Sender<Position>,
) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_MAX)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    connect::within(LOOK_MAX, listener.listen(schema.as_str())).await?;
    advance(head, connect::within(LOOK_MAX, read(&mut listener)).await?);
    Ok(listener)
}

/// Moves the head until the connection is lost; says why.
async fn hear(mut listener: PgListener, head: &watch::Sender<Position>) -> sqlx::Error {
    loop {
        match tokio::time::timeout(LOOK_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                // Whatever else somebody may say on the channel is no position.
                if let Ok(position) = notification.payload().parse() {
                    advance(head, position);
                }
            }
            Ok(Ok(None)) => return sqlx::Error::WorkerCrashed,
            Ok(Err(error)) => return error,
            Err(_) => match connect::within(LOOK_MAX, read(&mut listener)).await {
                Ok(position) => advance(head, position),
                Err(error) => return error,
            },
        }
    }
}
