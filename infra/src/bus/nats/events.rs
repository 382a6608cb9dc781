//! Following parts of the log through NATS. Indexes say what was published; events of the streams that
//! somebody here wants come as messages of their own, through one subscription for each conversation,
//! made when it is first wanted. What did not come (a new subscription, a dropped message, a lost
//! connection) is read from the log, as is everything while no index comes at all.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use domain::{Position, StreamName};
use futures::{FutureExt as _, StreamExt as _};
use lru::LruCache;
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::{Index, Indexed};
use super::{NatsBus, away, message};
use crate::bus::live::{Announced, Interest, LiveEvents};
use crate::event_store::{Direction, EventStore, RecordedEvent};
use crate::failure::Failure;

/// How long the log may be ahead of the indexes before it is read instead.
const BEHIND_MAX: Duration = Duration::from_millis(500);

/// Events read from the log at once.
const PAGE: usize = 2_000;

/// Where a batch misses more events than this, the log is read from its beginning to its end;
/// otherwise each by itself.
const MISSING_READ_ALONE_MAX: usize = 16;

/// Conversations with a subscription of their own; of more the quietest are read from the log when they
/// speak again.
const FOLLOWED_MAX: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();

/// [`LiveEvents`] through NATS, with the log behind it.
pub struct NatsEvents {
    bus: NatsBus,
    store: Arc<dyn EventStore>,
    head: watch::Receiver<Position>,
    indexes: Subscriber,
    /// By key of their streams.
    followed: LruCache<String, Subscriber>,
    /// Everything up to here was taken.
    at: Position,
    /// Since when the log is known to be ahead, and up to where it went then.
    behind: Option<(Instant, Position)>,
    /// Read from the log up to here, whatever the indexes say.
    read_up_to: Position,
    batch: Option<Batch>,
}

/// What comes next.
enum Batch {
    /// As the index has it.
    Indexed(Index),
    /// Read from the log.
    Read(Vec<Arc<RecordedEvent>>),
}

impl NatsEvents {
    /// What is committed after `after`.
    pub async fn start(
        bus: &NatsBus,
        store: &Arc<dyn EventStore>,
        after: Position,
    ) -> Result<Self, Failure> {
        let indexes = bus.subscribe(bus.subjects.index()).await?;
        Ok(Self {
            bus: bus.clone(),
            store: Arc::clone(store),
            head: store.head(),
            indexes,
            followed: LruCache::new(FOLLOWED_MAX),
            at: after,
            behind: None,
            read_up_to: after,
            batch: None,
        })
    }

    /// Waits for an index that says something new, or until the log has been ahead for too long.
    async fn hear(&mut self) -> Result<(), Failure> {
        let head = *self.head.borrow_and_update();
        if head > self.at {
            self.behind.get_or_insert_with(|| (Instant::now(), head));
        } else {
            self.behind = None;
        }
        let too_long = async {
            match self.behind {
                Some((since, _)) => tokio::time::sleep_until(since + BEHIND_MAX).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            index = self.indexes.next() => {
                let index = index.ok_or_else(|| away("follow what is published", "closed"))?;
                self.heard(&index.payload);
            }
            changed = self.head.changed() => {
                changed.map_err(|error| away("follow the log", error))?;
            }
            () = too_long => {
                metrics::counter!("verbatim_bus_fallbacks_total").increment(1);
                self.read_up_to = head;
            }
        }
        Ok(())
    }

    fn heard(&mut self, payload: &[u8]) {
        match Index::decode(payload) {
            Ok(index) if index.up_to <= self.at => {}
            // Something was missed: the log has it.
            Ok(index) if index.after > self.at => self.read_up_to = index.up_to,
            Ok(mut index) => {
                index.events.retain(|event| event.0 > self.at);
                self.batch = Some(Batch::Indexed(index));
            }
            Err(error) => tracing::error!(%error, "an index cannot be read; the log is"),
        }
    }

    /// The events of `wanted`, from messages where they came and from the log where not. Those of
    /// `lasting` interest will come as messages from now on.
    async fn gather(
        &mut self,
        index: &Index,
        wanted: &[&Indexed],
        lasting: &HashMap<&str, bool>,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let mut arrived = BTreeMap::new();
        for (&key, _) in lasting.iter().filter(|(_, lasting)| **lasting) {
            if let Some(subscriber) = self.followed.get_mut(key) {
                // Messages come before the index that tells of them, on the same connection.
                while let Some(Some(message)) = subscriber.next().now_or_never() {
                    if let Some(event) = message::decode(message) {
                        arrived.insert(event.position, Arc::new(event));
                    }
                }
            } else {
                let subject = self.bus.subjects.events_of_key(key);
                let subscriber = self.bus.subscribe(subject).await?;
                // Dropping a subscriber, here that of the quietest, ends its subscription.
                self.followed.put(key.to_owned(), subscriber);
            }
        }
        let missing = wanted
            .iter()
            .filter(|event| !arrived.contains_key(&event.0));
        let missing: Vec<&Indexed> = missing.copied().collect();
        metrics::counter!("verbatim_bus_read_from_log_total").increment(missing.len() as u64);
        if missing.len() > MISSING_READ_ALONE_MAX {
            self.read_between(index.up_to, &mut arrived).await?;
        } else {
            for event in missing {
                let read = self.read_one(event).await?;
                arrived.insert(read.position, read);
            }
        }
        let gathered = wanted.iter().filter_map(|event| arrived.remove(&event.0));
        Ok(gathered.collect())
    }

    async fn read_one(&self, event: &Indexed) -> Result<Arc<RecordedEvent>, Failure> {
        let Indexed(position, stream, version, _) = event;
        let read = self
            .store
            .read_stream(stream, *version, Direction::Forward, 1)
            .await?;
        // A follower may be a moment behind the one that wrote it.
        read.into_iter()
            .find(|read| read.position == *position)
            .ok_or_else(|| away("read an event", "the log here does not have it yet"))
    }

    async fn read_between(
        &self,
        up_to: Position,
        into: &mut BTreeMap<Position, Arc<RecordedEvent>>,
    ) -> Result<(), Failure> {
        let mut after = self.at;
        while after < up_to {
            let page = self.store.read_all(after, PAGE).await?;
            let last = page.last().map(|event| event.position);
            after =
                last.ok_or_else(|| away("read events", "the log here has not all of them yet"))?;
            into.extend(page.into_iter().map(|event| (event.position, event)));
        }
        Ok(())
    }

    fn up_to(&self) -> Option<Position> {
        match &self.batch {
            Some(Batch::Indexed(index)) => Some(index.up_to),
            Some(Batch::Read(events)) => events.last().map(|event| event.position),
            None => None,
        }
    }
}

#[async_trait]
impl LiveEvents for NatsEvents {
    fn position(&self) -> Position {
        self.at
    }

    async fn next(&mut self) -> Result<Position, Failure> {
        loop {
            if let Some(up_to) = self.up_to() {
                return Ok(up_to);
            }
            if self.at < self.read_up_to {
                let page = self.store.read_all(self.at, PAGE).await?;
                if page.is_empty() {
                    return Err(away("read events", "the log here has not all of them yet"));
                }
                self.batch = Some(Batch::Read(page));
            } else {
                self.hear().await?;
            }
        }
    }

    async fn take(
        &mut self,
        interest: &(dyn for<'a> Fn(Announced<'a>) -> Interest + Send + Sync),
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        let Some(up_to) = self.up_to() else {
            return Ok(Vec::new());
        };
        let events = match self.batch.take() {
            Some(Batch::Indexed(index)) => {
                let mut wanted = Vec::new();
                // By key of a conversation: whether anybody follows it.
                let mut lasting = HashMap::new();
                for event in &index.events {
                    let Indexed(_, stream, _, event_type) = event;
                    let interest = interest(Announced { stream, event_type });
                    if interest != Interest::None {
                        wanted.push(event);
                    }
                    if has_subscription(stream) {
                        *lasting.entry(stream.key()).or_default() |= interest == Interest::Lasting;
                    }
                }
                let gathered = self.gather(&index, &wanted, &lasting).await;
                for (key, lasting) in lasting {
                    if !lasting {
                        self.followed.pop(key);
                    }
                }
                if gathered.is_err() {
                    self.batch = Some(Batch::Indexed(index));
                    return gathered;
                }
                gathered?
            }
            Some(Batch::Read(events)) => events,
            None => Vec::new(),
        };
        self.at = up_to;
        self.behind.take_if(|(_, head)| *head <= up_to);
        Ok(events)
    }
}

/// Whether the events of `stream` come by a subscription; others are few and are read from the log.
fn has_subscription(stream: &StreamName) -> bool {
    stream.conversation_id().is_some()
}
