//! One conversation that is being written: what of it is there already, and many commands under
//! way at once, in order.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::conversation::{Command, Conversation};
use domain::{CommandId, Seq, StreamName, Version};
use infra::event_store::Direction;
use infra::failure::Failure;
use infra::problem::Problem;

use crate::CommandApi;
use crate::execute::{Envelope, ExecuteError, QUEUE_MAX, Submitted};

/// Commands under way at once; then the oldest is waited for. Leaves room in the conversation's
/// queue for those who speak in it meanwhile.
const UNDER_WAY_MAX: usize = QUEUE_MAX / 2;

/// How long to wait when the conversation's queue is full of others' commands, and how often; then
/// the import stops.
const BUSY_WAIT: Duration = Duration::from_millis(20);
const BUSY_WAITS_MAX: u32 = 1_500;

/// Events read at once.
const PAGE: usize = 2_000;

/// What is known of a command of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// From an earlier import; its first event is here.
    Before(Seq),
    /// Under way.
    UnderWay,
    /// By this import, or seen again by it.
    Here(Seq),
}

/// What a command comes to that is found in the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is to be carried out.
    New,
    /// An earlier import carried it out.
    Before,
    /// This import met it before.
    Repeated,
}

/// A command that was carried out, or refused by the rules.
pub(super) struct Settled<T> {
    /// Whatever was given along with it.
    pub(super) note: T,
    /// Whether the rules took it; if not, why.
    pub(super) refused: Option<String>,
}

/// A conversation that is being written; `T` goes along with each command.
pub(super) struct Talk<'a, T> {
    api: &'a CommandApi,
    stream: StreamName,
    known: HashMap<CommandId, Known>,
    under_way: VecDeque<(CommandId, T, Submitted<Conversation>)>,
    settled: Vec<Settled<T>>,
}

impl<'a, T> Talk<'a, T> {
    /// Reads which commands the conversation has taken already.
    pub(super) async fn open(api: &'a CommandApi, stream: StreamName) -> Result<Self, Problem> {
        let mut known = HashMap::new();
        let mut next = Version(1);
        loop {
            let store = api.store();
            let page = store
                .read_stream(&stream, next, Direction::Forward, PAGE)
                .await?;
            for recorded in &page {
                let metadata = recorded
                    .metadata()
                    .map_err(|error| Failure::internal("read a conversation", error))?;
                known
                    .entry(metadata.command_id)
                    .or_insert(Known::Before(recorded.version));
                next = recorded.version.next();
            }
            if page.len() < PAGE {
                break;
            }
        }
        Ok(Self {
            api,
            stream,
            known,
            under_way: VecDeque::new(),
            settled: Vec::new(),
        })
    }

    /// Whether `command` is new. Asked once for everything in the export.
    pub(super) fn find(&mut self, command: CommandId) -> Found {
        match self.known.get_mut(&command) {
            None => Found::New,
            Some(Known::UnderWay | Known::Here(_)) => Found::Repeated,
            Some(known @ Known::Before(_)) => {
                if let Known::Before(seq) = *known {
                    *known = Known::Here(seq);
                }
                Found::Before
            }
        }
    }

    /// Where the first event of `command` is, if it was ever carried out; waits if it is under way.
    pub(super) async fn seq_of(&mut self, command: CommandId) -> Result<Option<Seq>, Problem> {
        loop {
            match self.known.get(&command) {
                None => return Ok(None),
                Some(Known::Before(seq) | Known::Here(seq)) => return Ok(Some(*seq)),
                Some(Known::UnderWay) => self.settle_oldest().await?,
            }
        }
    }

    /// Queues `command` after all that were queued before.
    pub(super) async fn submit(
        &mut self,
        envelope: Envelope,
        command: Command,
        note: T,
    ) -> Result<(), Problem> {
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.settle_oldest().await?;
        }
        let id = envelope.id();
        let mut waits = 0;
        let submitted = loop {
            let executor = self.api.conversations();
            match executor.submit(&self.stream, envelope.clone(), command.clone()) {
                Ok(submitted) => break submitted,
                Err(ExecuteError::Busy) if waits < BUSY_WAITS_MAX => {
                    waits += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.known.insert(id, Known::UnderWay);
        self.under_way.push_back((id, note, submitted));
        Ok(())
    }

    /// Waits until nothing is under way.
    pub(super) async fn settle_all(&mut self) -> Result<(), Problem> {
        while !self.under_way.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    /// What was settled since this was last asked.
    pub(super) fn take_settled(&mut self) -> Vec<Settled<T>> {
        std::mem::take(&mut self.settled)
    }

    async fn settle_oldest(&mut self) -> Result<(), Problem> {
        let Some((id, note, submitted)) = self.under_way.pop_front() else {
            return Ok(());
        };
        let refused = match submitted.await {
            Ok(done) => {
                self.known.insert(id, Known::Here(done.seq));
                None
            }
            Err(ExecuteError::Refused(refusal)) => {
                self.known.remove(&id);
                Some(refusal.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        self.settled.push(Settled { note, refused });
        Ok(())
    }
}
