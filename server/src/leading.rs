//! Work that one process of several does at a time: projecting, publishing, mailing. The others stand by.

use std::future::Future;
use std::time::Duration;

use infra::failure::Failure;
use infra::leadership::Leadership;
use projector::ProjectorError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a process that leads no more waits before it stands for election again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Work in the background, from when it is started until it is stopped.
pub(crate) struct Work {
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkError>>,
}

/// Why work ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    /// It must not go on.
    #[error(transparent)]
    Projector(#[from] ProjectorError),
    /// It cannot be found out who does it.
    #[error(transparent)]
    Election(Failure),
    /// Its task panicked.
    #[error("work in the background failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Work {
    /// Starts `work`, for as long as this process leads.
    pub(crate) fn start<W>(
        election: Election,
        work: impl Fn(CancellationToken) -> W + Send + Sync + 'static,
    ) -> Self
    where
        W: Future<Output = Result<(), ProjectorError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let token = stop.clone();
        Self {
            stop,
            task: tokio::spawn(async move { lead(&election, &token, work).await }),
        }
    }

    /// Waits until it ends by itself, which it does only when it must not go on.
    pub(crate) async fn ended(&mut self) -> Result<(), WorkError> {
        (&mut self.task).await?
    }

    /// Finishes what was begun and ends it.
    pub(crate) async fn stop(self) -> Result<(), WorkError> {
        self.stop.cancel();
        self.task.await?
    }
}

/// Where the leader is chosen.
pub(crate) enum Election {
    /// Nowhere: nobody else can reach the engines.
    Alone,
    /// By a lock on this PostgreSQL server.
    By {
        /// Address of the server.
        url: String,
        /// What is led.
        name: &'static str,
    },
}

/// Does `work` whenever this process leads, until `stop`. The work is given a token that ends with
/// the leadership. Where there is an election an error only ends the term: another leader may have
/// taken over before this one knew. Alone it is the end.
async fn lead<W>(
    election: &Election,
    stop: &CancellationToken,
    work: impl Fn(CancellationToken) -> W,
) -> Result<(), WorkError>
where
    W: Future<Output = Result<(), ProjectorError>>,
{
    let Election::By { url, name } = election else {
        return Ok(work(stop.clone()).await?);
    };
    while !stop.is_cancelled() {
        let held = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            held = Leadership::campaign(url, name) => held.map_err(WorkError::Election)?,
        };
        metrics::gauge!("verbatim_leads", "work" => *name).set(1.0);
        let term = stop.child_token();
        let worked = async {
            let done = work(term.clone()).await;
            term.cancel();
            done
        };
        let watched = async {
            tokio::select! {
                () = held.lost() => term.cancel(),
                () = term.cancelled() => {}
            }
        };
        let (done, ()) = tokio::join!(worked, watched);
        metrics::gauge!("verbatim_leads", "work" => *name).set(0.0);
        drop(held);
        if stop.is_cancelled() {
            return Ok(done?);
        }
        if let Err(error) = done {
            tracing::warn!(work = name, %error, "the work ended; another process may do it");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
    Ok(())
}
