//! Storing delivered and seen marks: at most one per member, kind or thread, and second on this node. What
//! comes sooner waits for the second to be over, is stored as one mark, the highest, and answered
//! together. Nobody waits much longer than that second.

use std::collections::HashMap;
use std::sync::Arc;

use domain::receipts::{Command, Mark, MarkOf, Receipts, Refused};
use domain::user::ShownTo;
use domain::{ConversationId, Decider as _, Seq, StreamName, UserId};
use infra::auth::Guard;
use infra::failure::Failure;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::execute::{Done, Envelope, ExecuteError, Executor};

/// Marks of different members and kinds that were stored within the last second, or wait; one more
/// is [`ExecuteError::Busy`].
const LANES_MAX: usize = 50_000;

/// Requests that wait for the same mark; one more is [`ExecuteError::Busy`].
const WAITING_MAX: usize = 1_000;

type Outcome = Result<Done, ExecuteError<Refused>>;
type LaneName = (ConversationId, UserId, MarkOf);

/// Takes marks.
pub(crate) struct Marks {
    receipts: Executor<Receipts>,
    guard: Arc<Guard>,
    lanes: Arc<Mutex<Lanes>>,
    tasks: TaskTracker,
}

struct Lanes {
    open: bool,
    lanes: HashMap<LaneName, Lane>,
}

/// The marks of one member and kind while there is something to wait for.
#[derive(Default)]
struct Lane {
    /// The highest that is stored, as far as this lane knows.
    stored: Seq,
    waiting: Vec<Waiting>,
}

/// A mark that waits to be stored, or for a higher one to be.
struct Waiting {
    mark: Mark,
    envelope: Envelope,
    answer: oneshot::Sender<Outcome>,
}

impl Marks {
    pub(crate) fn new(receipts: Executor<Receipts>, guard: Arc<Guard>) -> Self {
        let lanes = Lanes {
            open: true,
            lanes: HashMap::new(),
        };
        Self {
            receipts,
            guard,
            lanes: Arc::new(Mutex::new(lanes)),
            tasks: TaskTracker::new(),
        }
    }

    /// Moves a mark and returns when it, or a higher one, is stored.
    pub(crate) async fn mark(
        &self,
        conversation: ConversationId,
        mark: Mark,
        envelope: Envelope,
    ) -> Outcome {
        // What the rules refuse whatever is stored needs not wait for its turn.
        Receipts::decide(&domain::receipts::State::default(), &Command::Mark(mark))
            .map_err(ExecuteError::Refused)?;
        match self.queue(conversation, mark, envelope)? {
            Turn::Later(answer) => answer
                .await
                .unwrap_or_else(|dropped| Err(Failure::internal("store a mark", dropped).into())),
            Turn::Never(envelope) => {
                let stream = StreamName::receipts(conversation);
                self.receipts
                    .execute(&stream, envelope, Command::Mark(mark))
                    .await
            }
        }
    }

    fn queue(
        &self,
        conversation: ConversationId,
        mark: Mark,
        envelope: Envelope,
    ) -> Result<Turn, ExecuteError<Refused>> {
        let name = (conversation, mark.member, mark.of);
        let mut lanes = self.lanes.lock();
        if !lanes.open {
            return Err(ExecuteError::Closing);
        }
        let full = lanes.lanes.len() >= LANES_MAX;
        let is_new = !lanes.lanes.contains_key(&name);
        if is_new && full {
            return Err(ExecuteError::Busy);
        }
        let lane = lanes.lanes.entry(name).or_default();
        if mark.seq <= lane.stored {
            return Ok(Turn::Never(envelope));
        }
        let answer = lane.wait_for(mark, envelope)?;
        drop(lanes);
        if is_new {
            let serving = Serving {
                receipts: self.receipts.clone(),
                guard: Arc::clone(&self.guard),
                lanes: Arc::clone(&self.lanes),
                name,
            };
            self.tasks.spawn(serving.run());
        }
        Ok(Turn::Later(answer))
    }

    /// Takes no more marks and returns when those that were taken are stored.
    pub(crate) async fn close(&self) {
        self.lanes.lock().open = false;
        self.tasks.close();
        self.tasks.wait().await;
        self.receipts.close().await;
    }
}

/// When a mark is stored.
enum Turn {
    /// With the next one of its lane.
    Later(oneshot::Receiver<Outcome>),
    /// It is behind the stored one.
    Never(Envelope),
}

impl Lane {
    fn wait_for(
        &mut self,
        mark: Mark,
        envelope: Envelope,
    ) -> Result<oneshot::Receiver<Outcome>, ExecuteError<Refused>> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(ExecuteError::Busy);
        }
        let (answer, receiver) = oneshot::channel();
        self.waiting.push(Waiting {
            mark,
            envelope,
            answer,
        });
        Ok(receiver)
    }
}

/// Serves one lane.
struct Serving {
    receipts: Executor<Receipts>,
    guard: Arc<Guard>,
    lanes: Arc<Mutex<Lanes>>,
    name: LaneName,
}

impl Serving {
    /// Stores what waits in the lane, then lets a second pass, until nothing waits.
    async fn run(self) {
        let interval = Receipts::MARK_INTERVAL.to_std().unwrap_or_default();
        loop {
            let waiting = take_waiting(&self.lanes, self.name);
            if waiting.is_empty() {
                return;
            }
            if let Some((seq, done)) = self.store(waiting).await {
                if let Some(lane) = self.lanes.lock().lanes.get_mut(&self.name) {
                    lane.stored = lane.stored.max(seq);
                }
                if done.changed {
                    tokio::time::sleep(interval).await;
                }
            }
        }
    }

    /// Stores the highest of the marks and answers all. One whose key was used for another command
    /// stands for nobody but itself.
    async fn store(&self, mut waiting: Vec<Waiting>) -> Option<(Seq, Done)> {
        let (conversation, member, _) = self.name;
        let stream = StreamName::receipts(conversation);
        let shown_to = match self.shown_to(member).await {
            Ok(shown_to) => shown_to,
            Err(failure) => {
                answer(waiting, &Err(failure.into()));
                return None;
            }
        };
        // The highest last; of equals the one that came first.
        waiting.reverse();
        waiting.sort_by_key(|waiting| waiting.mark.seq);
        while let Some(mut highest) = waiting.pop() {
            highest.mark.shown_to = highest.mark.shown_to.max(shown_to);
            let mark = Command::Mark(highest.mark);
            let outcome = self.receipts.execute(&stream, highest.envelope, mark).await;
            // Whoever no longer waits learns it by a retry.
            let _ = highest.answer.send(outcome.clone());
            if matches!(outcome, Err(ExecuteError::KeyReused)) {
                continue;
            }
            answer(waiting, &outcome);
            return outcome.ok().map(|done| (highest.mark.seq, done));
        }
        None
    }

    /// Who learns of a mark that is stored now. What was asked when it came holds as well, so that the
    /// more private of both counts: it may have waited for a second.
    async fn shown_to(&self, member: UserId) -> Result<ShownTo, Failure> {
        let state = self.guard.recent_user(member).await?;
        let account = state.account.as_ref();
        Ok(account.map(|it| it.privacy.seen).unwrap_or_default())
    }
}

fn answer(waiting: Vec<Waiting>, outcome: &Outcome) {
    for other in waiting {
        // Whoever no longer waits learns it by a retry.
        let _ = other.answer.send(outcome.clone());
    }
}

/// What waits in the lane; without anything the lane is gone.
fn take_waiting(lanes: &Mutex<Lanes>, name: LaneName) -> Vec<Waiting> {
    let mut lanes = lanes.lock();
    let waiting = lanes
        .lanes
        .get_mut(&name)
        .map(|lane| std::mem::take(&mut lane.waiting))
        .unwrap_or_default();
    if waiting.is_empty() {
        lanes.lanes.remove(&name);
    }
    waiting
}
