//! The bus on NATS, with a real server: nothing lost and nothing twice, whatever happens to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{ConversationId, Position, StreamName, UserId, Version};
use infra::bus::{
    Announced, EventStream, Interest, LiveEvents, NatsBus, NatsEvents, NatsSignals, NodeId,
    PublishError, Signal, SignalKind, Signals,
};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, MemoryEventStore, NewEvent,
    RecordedEvent,
};
use infra::failure::Failure;
use tokio::sync::watch;
use uuid::Uuid;

use crate::event_store::event;
use crate::nats::{NatsServer, free_port};

/// Longer than anything here takes; only a broken build waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

const BYTES_MAX: u64 = 64 * 1024 * 1024;

async fn bus(server: &NatsServer) -> NatsBus {
    let url = server.url();
    NatsBus::connect(&url, "test", "a test").await.unwrap()
}

fn log() -> Arc<dyn EventStore> {
    Arc::new(MemoryEventStore::new(Clock::system()))
}

fn conversation(number: u128) -> StreamName {
    StreamName::conversation(ConversationId(Uuid::from_u128(number)))
}

/// Counts how often the log is read.
struct Counted(Arc<dyn EventStore>, AtomicUsize);

#[async_trait]
impl EventStore for Counted {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.0.append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read_stream(stream, from, direction, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read_all(after, limit).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.0.head()
    }
}

/// Appends one event to each of `streams`; gives the end of the log.
async fn append(log: &Arc<dyn EventStore>, streams: &[StreamName]) -> Position {
    let mut end = *log.head().borrow();
    for stream in streams {
        let appended = log
            .append(stream, Expected::Any, vec![event(end.0 + 1)])
            .await;
        end = appended.unwrap().position();
    }
    end
}

/// Opens the stream of events as soon as the server lets us.
async fn open(bus: &NatsBus) -> EventStream {
    let opened = async {
        loop {
            if let Ok(stream) = EventStream::open(bus, BYTES_MAX, 1).await {
                return stream;
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap()
}

/// Publishes all that the log has more.
async fn publish(log: &Arc<dyn EventStore>, to: &mut EventStream) -> Result<(), PublishError> {
    let events = log.read_all(to.position(), 10_000).await.unwrap();
    to.publish(&events).await
}

/// Takes batches up to `end`; gives the events of `wanted` streams.
async fn take(
    live: &mut NatsEvents,
    wanted: &[StreamName],
    end: Position,
) -> Vec<Arc<RecordedEvent>> {
    let mut taken = Vec::new();
    let taking = async {
        while live.position() < end {
            live.next().await.unwrap();
            let interest = |announced: Announced<'_>| {
                if wanted.contains(announced.stream) {
                    Interest::Lasting
                } else {
                    Interest::None
                }
            };
            let batch = live.take(&interest).await.unwrap().into_iter();
            taken.extend(batch.filter(|event| wanted.contains(&event.stream)));
        }
    };
    tokio::time::timeout(PATIENCE, taking).await.unwrap();
    taken
}

/// What the log has of `wanted` after `after`.
async fn expected(
    log: &Arc<dyn EventStore>,
    wanted: &[StreamName],
    after: Position,
) -> Vec<Arc<RecordedEvent>> {
    let mut events = log.read_all(after, 10_000).await.unwrap();
    events.retain(|event| wanted.contains(&event.stream));
    events
}

#[tokio::test]
async fn who_follows_some_conversations_gets_all_of_them_in_order() {
    let server = NatsServer::start().await;
    let (bus, log) = (bus(&server).await, log());
    let streams: Vec<StreamName> = (0..10).map(conversation).collect();
    append(&log, &streams).await;
    let mut to = open(&bus).await;
    publish(&log, &mut to).await.unwrap();

    let begin = to.position();
    let counted = Arc::new(Counted(Arc::clone(&log), AtomicUsize::new(0)));
    let behind_it = Arc::clone(&counted) as Arc<dyn EventStore>;
    let mut live = NatsEvents::start(&bus, &behind_it, begin).await.unwrap();
    let wanted = &streams[2..5];
    let mut taken = Vec::new();
    for _ in 0..20 {
        let end = append(&log, &streams).await;
        publish(&log, &mut to).await.unwrap();
        taken.extend(take(&mut live, wanted, end).await);
    }
    assert_eq!(taken, expected(&log, wanted, begin).await);
    assert_eq!(taken.len(), 60);
    // The first of each, before there was a subscription; everything else came as a message.
    assert!(counted.1.load(Ordering::SeqCst) <= wanted.len());
}

#[tokio::test]
async fn without_nats_the_log_is_read_and_later_published_whole() {
    let mut server = NatsServer::start().await;
    let (bus, log) = (bus(&server).await, log());
    let streams: Vec<StreamName> = (0..4).map(conversation).collect();
    let mut to = open(&bus).await;
    let mut live = NatsEvents::start(&bus, &log, Position::ZERO).await.unwrap();
    append(&log, &streams).await;
    publish(&log, &mut to).await.unwrap();

    server.kill().await;
    let end = append(&log, &streams).await;
    let first = take(&mut live, &streams, end).await;
    assert_eq!(first, expected(&log, &streams, Position::ZERO).await);

    // All of its storage is lost: it is filled again from the log.
    server.wipe();
    server.start_again().await;
    let mut to = open(&bus).await;
    assert_eq!(to.position(), Position::ZERO);
    publish(&log, &mut to).await.unwrap();
    let end = append(&log, &streams).await;
    publish(&log, &mut to).await.unwrap();
    let rest = take(&mut live, &streams, end).await;
    assert_eq!(
        rest,
        expected(&log, &streams, first.last().unwrap().position).await
    );
    assert_eq!(open(&bus).await.position(), end);
}

#[tokio::test]
async fn a_slow_relay_is_not_waited_for() {
    let server = NatsServer::start().await;
    let (bus, log) = (bus(&server).await, log());
    let streams: Vec<StreamName> = (0..40).map(conversation).collect();
    let mut to = open(&bus).await;
    let mut live = NatsEvents::start(&bus, &log, Position::ZERO).await.unwrap();
    let end = append(&log, &streams).await;
    // It always has something new to say, and would take four seconds for all of it.
    let relay = async {
        for event in log.read_all(Position::ZERO, 100).await.unwrap() {
            to.publish(&[event]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let begun = std::time::Instant::now();
    tokio::select! {
        () = relay => panic!("the log was not read"),
        taken = take(&mut live, &streams, end) => {
            assert_eq!(taken, expected(&log, &streams, Position::ZERO).await);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn an_id_that_another_stream_has_too_is_published_too() {
    let server = NatsServer::start().await;
    let (bus, log) = (bus(&server).await, log());
    for number in 0..3 {
        let stream = conversation(number);
        let appended = log.append(&stream, Expected::Any, vec![event(1)]);
        appended.await.unwrap();
    }
    let mut to = open(&bus).await;
    publish(&log, &mut to).await.unwrap();
    assert_eq!(to.position(), *log.head().borrow());
    assert_eq!(log.read_all(Position::ZERO, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_address_may_have_a_login() {
    let arguments = ["--user=olga", "--pass=p@ss word"].map(str::to_owned);
    let server = NatsServer::start_with(free_port(), &arguments).await;
    let url = format!("nats://olga:p%40ss%20word@{}", server.address());
    let bus = NatsBus::connect(&url, "test", "a test").await.unwrap();
    let log = log();
    append(&log, &[conversation(1)]).await;
    publish(&log, &mut open(&bus).await).await.unwrap();

    let stranger = self::bus(&server).await;
    assert!(EventStream::open(&stranger, BYTES_MAX, 1).await.is_err());
}

#[tokio::test]
async fn of_two_who_publish_one_fails_and_nothing_is_there_twice() {
    let server = NatsServer::start().await;
    let (bus, log) = (bus(&server).await, log());
    let (mut one, mut other) = (open(&bus).await, open(&bus).await);
    let end = append(&log, &[conversation(1), conversation(2)]).await;
    let (first, second) = tokio::join!(publish(&log, &mut one), publish(&log, &mut other));
    assert!(
        first.is_ok() != second.is_ok(),
        "one of them, not {first:?} and {second:?}"
    );
    let mut again = open(&bus).await;
    assert_eq!(again.position(), end);
    let end = append(&log, &[conversation(1)]).await;
    publish(&log, &mut again).await.unwrap();
    let mut positions = HashSet::new();
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client);
    let stream = stream.get_stream("test-events").await.unwrap();
    for sequence in 1..=3 {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let position = message.headers.get("ce-position").unwrap().to_string();
        assert!(positions.insert(position), "twice");
    }
    assert_eq!(stream.cached_info().state.messages, end.0);
}

#[tokio::test]
async fn signals_reach_all_nodes() {
    let server = NatsServer::start().await;
    let one = NatsSignals::start(&bus(&server).await).await.unwrap();
    let other = NatsSignals::start(&bus(&server).await).await.unwrap();
    let mut heard = other.listen();
    let signal = Signal {
        node: NodeId(Uuid::from_u128(1)),
        kind: SignalKind::Typing {
            conversation: ConversationId(Uuid::from_u128(2)),
            user: UserId(Uuid::from_u128(3)),
        },
    };
    let hearing = async {
        loop {
            one.send(&signal);
            let wait = Duration::from_millis(200);
            if let Ok(heard) = tokio::time::timeout(wait, heard.recv()).await {
                return heard.unwrap();
            }
        }
    };
    let came = tokio::time::timeout(PATIENCE, hearing).await.unwrap();
    assert_eq!(came, signal);
}
