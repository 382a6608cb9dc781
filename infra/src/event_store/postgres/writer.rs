//! The one writer of a node: a task with a connection of its own. Whatever is queued when it comes
//! round becomes one transaction in one round trip; what arrives meanwhile is the next.
//!
//! Nodes take turns by a row that the transaction locks, so that nothing of the log is remembered
//! here. When the connection is lost while a transaction is under way nobody can tell what became of
//! it: its requests fail, and a retry with the same ids finds out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::Position;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::batch::{Answers, Batch};
use super::connect;
use super::head;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::event_store::queue::{APPEND, Request};
use crate::failure::Failure;

/// How long a transaction may take before its connection counts as lost. The server gives up on it
/// earlier, unless it cannot be heard.
const COMMIT_MAX: Duration = Duration::from_secs(25);

/// How long requests wait for a server that is away before they are refused.
const AWAY_MAX: Duration = Duration::from_secs(5);

/// The task's own.
pub(super) struct Writer {
    options: PgConnectOptions,
    /// `None` after it was lost.
    connection: Option<PgConnection>,
    is_away: bool,
    clock: Clock,
    head: Arc<watch::Sender<Position>>,
}

/// What the next transaction will have.
#[derive(Default)]
struct Next {
    batch: Batch,
    /// Found no room in it.
    held: Option<Request>,
}

impl Writer {
    pub(super) fn new(
        options: PgConnectOptions,
        connection: PgConnection,
        clock: Clock,
        head: Arc<watch::Sender<Position>>,
    ) -> Self {
        Self {
            options,
            connection: Some(connection),
            is_away: false,
            clock,
            head,
        }
    }

    /// Serves requests until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut next = Next::default();
        loop {
            if next.batch.is_empty() {
                match queue.recv().await {
                    Some(request) => next.push(request),
                    None => break,
                }
            }
            while next.held.is_none()
                && let Ok(request) = queue.try_recv()
            {
                next.push(request);
            }
            let batch = next.take();
            let mut serving = pin!(self.serve(batch));
            loop {
                tokio::select! {
                    biased;
                    () = &mut serving => break,
                    Some(request) = queue.recv(), if next.held.is_none() => next.push(request),
                }
            }
        }
    }

    async fn serve(&mut self, batch: Batch) {
        let started = Instant::now();
        let requests = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        metrics::histogram!("verbatim_log_group_size").record(requests);
        match self.commit(&batch).await {
            Ok(answers) => {
                let appended = u64::try_from(answers.appended).unwrap_or(u64::MAX);
                metrics::counter!("verbatim_log_events_total").increment(appended);
                if let Some(position) = answers.head {
                    head::advance(&self.head, position);
                }
                batch.answer(answers);
            }
            Err(failure) => batch.fail(&failure),
        }
        metrics::histogram!("verbatim_log_group_seconds").record(started.elapsed());
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Answers, Failure> {
        // Taken out, so that a connection with an unknown state is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reconnect().await?,
        };
        let append = batch.append(&mut connection, self.clock.now());
        let error = match connect::within(COMMIT_MAX, append).await {
            Ok(answers) => {
                self.connection = Some(connection);
                return Ok(answers);
            }
            Err(error) => error,
        };
        let requests = batch.len();
        // The connection is made anew in either case: it may be the one to a server that no longer
        // takes appends.
        if connect::is_rolled_back(&error) {
            let failure = connect::failure(APPEND, error);
            tracing::error!(%failure, requests, "appends were rolled back");
            return Err(failure);
        }
        let failure = connect::failure(APPEND, error);
        self.is_away = true;
        tracing::error!(%failure, requests, "the log's server is lost; appends may be in the log");
        Err(failure)
    }

    /// Tries until the server is back, for a bounded time.
    async fn reconnect(&mut self) -> Result<PgConnection, Failure> {
        let until = Instant::now() + AWAY_MAX;
        let mut backoff = Backoff::default();
        loop {
            match connect::open_for_writing(&self.options).await {
                Ok(connection) => {
                    if self.is_away {
                        tracing::info!("the log's server is back");
                    }
                    self.is_away = false;
                    return Ok(connection);
                }
                Err(error) if Instant::now() >= until => {
                    let failure = Failure::unavailable(APPEND, error);
                    if !self.is_away {
                        tracing::error!(%failure, "the log's server is away");
                    }
                    self.is_away = true;
                    return Err(failure);
                }
                Err(_) => backoff.wait().await,
            }
        }
    }
}

impl Next {
    fn push(&mut self, request: Request) {
        self.held = self.batch.push(request);
    }

    /// Everything so far; what found no room in it is the first of what follows.
    fn take(&mut self) -> Batch {
        let batch = std::mem::take(&mut self.batch);
        if let Some(held) = self.held.take() {
            self.push(held);
        }
        batch
    }
}
