//! What the write path promises, against the store in memory and one that fails on demand.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use domain::conversation::{
    Act, Command, Conversation, ConversationEvent, Draft, Refused, Renamed,
};
use domain::values::{MessageBody, Title};
use domain::{
    Actor, CommandId, ConversationId, Decider as _, Event, Personal, Position, StreamName, UserId,
    Version,
};
use futures::future::join_all;
use infra::clock::Clock;
use infra::event_store::{
    AppendError, Appended, Direction, EventStore, Expected, MemoryEventStore, NewEvent,
    RecordedEvent,
};
use infra::failure::Failure;
use infra::problem::Problem;
use infra::snapshots::{MemorySnapshots, Snapshots};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{Envelope, ExecuteError, Executor, Limits, QUEUE_MAX};

const ALICE: UserId = UserId(Uuid::from_u128(0xA11CE));
const BOB: UserId = UserId(Uuid::from_u128(0xB0B));

type Conversations = Executor<Conversation>;

/// What goes wrong at an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No room.
    Full,
    /// Nothing is stored and the store says so without certainty.
    Lost,
    /// The events are stored, but the answer gets lost.
    AnswerLost,
    /// Somebody else writes just before.
    Overtaken,
}

/// A store in memory that fails as told, and can be held up.
struct FaultyStore {
    inner: MemoryEventStore,
    faults: Mutex<Vec<Fault>>,
    appends: AtomicUsize,
    reads: AtomicUsize,
    held: watch::Sender<bool>,
    reached: Notify,
}

impl FaultyStore {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryEventStore::new(Clock::fixed(chrono::DateTime::UNIX_EPOCH)),
            faults: Mutex::default(),
            appends: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            reached: Notify::new(),
        })
    }

    /// The next appends fail so, the last of `faults` first.
    fn fail(&self, faults: &[Fault]) {
        self.faults.lock().extend_from_slice(faults);
    }

    /// The stream, as far as one read goes.
    async fn events(&self, stream: &StreamName) -> Vec<Arc<RecordedEvent>> {
        self.inner
            .read_stream(stream, Version(1), Direction::Forward, 10_000)
            .await
            .unwrap()
    }
}

#[async_trait]
impl EventStore for FaultyStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.reached.notify_one();
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let away = || Failure::unavailable("append to the log", "the test says so");
        let fault = self.faults.lock().pop();
        match fault {
            None => self.inner.append(stream, expected, events).await,
            Some(Fault::Full) => {
                Err(Failure::storage_full("append to the log", "the test says so").into())
            }
            Some(Fault::Lost) => Err(away().into()),
            Some(Fault::AnswerLost) => {
                self.inner.append(stream, expected, events).await?;
                Err(away().into())
            }
            Some(Fault::Overtaken) => {
                let number = self.appends.load(Ordering::SeqCst);
                let (envelope, _) = rename(BOB, &format!("overtake {number}"));
                let renamed = ConversationEvent::Renamed(Renamed {
                    title: Personal::new(BOB, Title::parse("overtaken").unwrap()),
                });
                let event = NewEvent::encode(&renamed.into(), envelope.metadata(), 0)?;
                self.inner
                    .append(stream, Expected::Any, vec![event])
                    .await?;
                self.inner.append(stream, expected, events).await
            }
        }
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read_stream(stream, from, direction, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
        self.inner.read_all(after, limit).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }
}

fn stream() -> StreamName {
    StreamName::conversation(ConversationId(Uuid::from_u128(1)))
}

/// `act` by `by` under the key `key`; the hash covers the act.
fn command(by: UserId, key: &str, act: Act) -> (Envelope, Command) {
    let id = CommandId::of(by, key);
    let envelope = Envelope::new(Actor::User(by), id, &format!("{act:?} {key}")).unwrap();
    (envelope, Command::by(by, act))
}

fn start() -> (Envelope, Command) {
    let act = Act::StartGroup {
        title: Title::parse("first").unwrap(),
        members: vec![BOB],
        history_visibility: domain::conversation::HistoryVisibility::Start,
    };
    command(ALICE, "start", act)
}

/// A message whose text is its key.
fn send(by: UserId, key: &str) -> (Envelope, Command) {
    let draft = Draft::plain(MessageBody::parse(key).unwrap(), DateTime::UNIX_EPOCH);
    command(by, key, Act::Send(draft))
}

fn rename(by: UserId, title: &str) -> (Envelope, Command) {
    let title = Title::parse(title).unwrap();
    command(
        by,
        title.as_str(),
        Act::Rename {
            title: title.clone(),
        },
    )
}

fn executor_with(store: &Arc<FaultyStore>, snapshots: &Arc<MemorySnapshots>) -> Conversations {
    let limits = Limits {
        snapshot_every_events: 5,
        ..Limits::default()
    };
    Executor::new(
        Arc::clone(store) as Arc<dyn EventStore>,
        Arc::clone(snapshots) as Arc<dyn Snapshots>,
        limits,
    )
    .unwrap()
}

fn executor(store: &Arc<FaultyStore>) -> Conversations {
    executor_with(store, &Arc::default())
}

async fn run(
    executor: &Conversations,
    (envelope, command): (Envelope, Command),
) -> Result<super::Done, ExecuteError<Refused>> {
    executor.execute(&stream(), envelope, command).await
}

/// Bodies of the messages of a stream, in order.
fn bodies(events: &[Arc<RecordedEvent>]) -> Vec<String> {
    let sent = events.iter().filter_map(|event| match event.event() {
        Ok(Event::Conversation(ConversationEvent::MessageSent(sent))) => {
            sent.said.text().map(str::to_owned)
        }
        _ => None,
    });
    sent.collect()
}

#[tokio::test]
async fn what_is_queued_is_appended_together_and_answered_in_order() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    store.held.send_replace(true);
    let first = run(&executor, send(ALICE, "0"));
    let others = async {
        store.reached.notified().await;
        store.reached.notified().await;
        let submitted: Vec<_> = (1..=100)
            .map(|number| {
                let (envelope, command) = send(BOB, &number.to_string());
                executor.submit(&stream(), envelope, command).unwrap()
            })
            .collect();
        store.held.send_replace(false);
        join_all(submitted).await
    };
    let (first, others) = futures::join!(first, others);
    assert_eq!(first.unwrap().seq, Version(2));
    for (number, done) in others.into_iter().enumerate() {
        let done = done.unwrap();
        assert_eq!(done.seq, Version(number as u64 + 3));
        assert_eq!(done.position, Position(number as u64 + 3));
    }
    let events = store.events(&stream()).await;
    let expected: Vec<_> = (0..=100).map(|number: i32| number.to_string()).collect();
    assert_eq!(bodies(&events), expected);
    assert_eq!(
        store.appends.load(Ordering::SeqCst),
        3,
        "one append for the hundred"
    );
    assert_eq!(
        store.reads.load(Ordering::SeqCst),
        1,
        "only to load the stream"
    );
}

#[tokio::test]
async fn one_caller_may_have_many_commands_under_way_and_they_stay_in_order() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    let mut under_way = VecDeque::new();
    for number in 0..5_000 {
        if under_way.len() == QUEUE_MAX - 1 {
            let oldest: super::Submitted<_> = under_way.pop_front().unwrap();
            oldest.await.unwrap();
        }
        let (envelope, command) = send(BOB, &number.to_string());
        under_way.push_back(executor.submit(&stream(), envelope, command).unwrap());
    }
    for submitted in under_way {
        submitted.await.unwrap();
    }
    let expected: Vec<_> = (0..5_000).map(|number: i32| number.to_string()).collect();
    assert_eq!(bodies(&store.events(&stream()).await), expected);
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_even_while_the_first_is_queued_or_after_a_restart() {
    let store = FaultyStore::new();
    let executor_before = executor(&store);
    run(&executor_before, start()).await.unwrap();
    let (one, two, three) = futures::join!(
        run(&executor_before, send(ALICE, "hello")),
        run(&executor_before, send(ALICE, "hello")),
        run(&executor_before, send(BOB, "hello")),
    );
    let one = one.unwrap();
    assert_eq!(one, two.unwrap());
    assert_eq!(three.unwrap().seq, Version(3));
    run(&executor_before, send(ALICE, "more")).await.unwrap();
    assert_eq!(
        run(&executor_before, send(ALICE, "hello")).await.unwrap(),
        one
    );
    executor_before.close().await;

    let executor_after = executor(&store);
    assert_eq!(
        run(&executor_after, send(ALICE, "hello")).await.unwrap(),
        one
    );
    assert_eq!(
        bodies(&store.events(&stream()).await),
        ["hello", "hello", "more"]
    );
}

#[tokio::test]
async fn a_key_that_comes_back_with_another_body_is_refused() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    run(&executor, send(ALICE, "key")).await.unwrap();
    let other = || {
        let title = Title::parse("other").unwrap();
        command(ALICE, "key", Act::Rename { title })
    };
    let known = run(&executor, other()).await;
    assert!(matches!(known, Err(ExecuteError::KeyReused)));
    let (fresh, at_once) = futures::join!(
        run(&executor, send(BOB, "key")),
        run(&executor, command(BOB, "key", Act::Leave)),
    );
    assert!(fresh.is_ok());
    assert!(matches!(at_once, Err(ExecuteError::KeyReused)));
    let problem = Problem::from(known.unwrap_err());
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (422, "idempotency_key_reused")
    );
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    let refused = run(&executor, send(ALICE, "too soon")).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Refused(Refused::NotFound))
    ));
    run(&executor, start()).await.unwrap();
    assert_eq!(
        run(&executor, send(ALICE, "too soon")).await.unwrap().seq,
        Version(2)
    );
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_log() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    store.fail(&[Fault::AnswerLost]);
    assert_eq!(
        run(&executor, send(ALICE, "once")).await.unwrap().seq,
        Version(2)
    );
    assert_eq!(bodies(&store.events(&stream()).await), ["once"]);
}

#[tokio::test]
async fn a_store_that_stays_away_is_a_failure_and_then_forgotten() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    store.fail(&[Fault::Lost, Fault::Lost]);
    let failed = run(&executor, send(ALICE, "once")).await.unwrap_err();
    assert_eq!(Problem::from(failed).status, 503);
    assert_eq!(
        run(&executor, send(ALICE, "once")).await.unwrap().seq,
        Version(2)
    );
}

#[tokio::test]
async fn a_full_disk_refuses_what_needs_room_and_recovers() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    let first = run(&executor, send(ALICE, "before")).await.unwrap();
    store.fail(&[Fault::Full]);
    let (full, retry) = futures::join!(
        run(&executor, send(ALICE, "while full")),
        run(&executor, send(ALICE, "before")),
    );
    let problem = Problem::from(full.unwrap_err());
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (507, "storage_full")
    );
    assert_eq!(retry.unwrap(), first, "what needs no room is answered");
    assert_eq!(
        run(&executor, send(ALICE, "while full")).await.unwrap().seq,
        Version(3)
    );
}

#[tokio::test]
async fn whoever_is_overtaken_decides_again_a_bounded_number_of_times() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    store.fail(&[Fault::Overtaken; 3]);
    assert_eq!(
        run(&executor, send(ALICE, "patient")).await.unwrap().seq,
        Version(5)
    );
    store.fail(&[Fault::Overtaken; 16]);
    let conflict = run(&executor, send(ALICE, "late")).await.unwrap_err();
    let problem = Problem::from(conflict);
    assert_eq!((problem.status, problem.code.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn a_refusal_rests_on_what_the_log_says_now() {
    let store = FaultyStore::new();
    let nodes = [executor(&store), executor(&store)];
    let too_soon = run(&nodes[0], send(BOB, "hello")).await;
    assert!(matches!(
        too_soon,
        Err(ExecuteError::Refused(Refused::NotFound))
    ));
    run(&nodes[1], start()).await.unwrap();
    assert_eq!(
        run(&nodes[0], send(BOB, "hello")).await.unwrap().seq,
        Version(2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_stream_lose_and_double_nothing() {
    let store = FaultyStore::new();
    let nodes = [executor(&store), executor(&store)];
    run(&nodes[0], start()).await.unwrap();
    let keys: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    // Every message goes to both nodes, as from a client that retries elsewhere.
    let answers = join_all(keys.iter().map(|key| async {
        let (one, other) = futures::join!(
            run(&nodes[0], send(BOB, key)),
            run(&nodes[1], send(BOB, key))
        );
        (one.unwrap(), other.unwrap())
    }))
    .await;
    let events = store.events(&stream()).await;
    assert_eq!(events.len(), 201);
    for (key, (one, other)) in keys.iter().zip(answers) {
        assert_eq!(one, other);
        let event = &events[usize::try_from(one.seq.0).unwrap() - 1];
        assert_eq!(bodies(std::slice::from_ref(event)).concat(), *key);
        assert_eq!(event.position, one.position);
    }
}

#[tokio::test]
async fn a_full_queue_says_busy_and_a_closed_executor_finishes_what_it_took() {
    let store = FaultyStore::new();
    let executor = executor(&store);
    run(&executor, start()).await.unwrap();
    store.reached.notified().await;
    store.held.send_replace(true);
    let (envelope, command) = send(ALICE, "in work");
    let in_work = executor.submit(&stream(), envelope, command).unwrap();
    store.reached.notified().await;
    let queued: Vec<_> = (0..QUEUE_MAX)
        .map(|number| {
            let (envelope, command) = send(BOB, &number.to_string());
            executor.submit(&stream(), envelope, command).unwrap()
        })
        .collect();
    let (envelope, command) = send(BOB, "too many");
    let busy = executor.submit(&stream(), envelope, command).err().unwrap();
    let problem = Problem::from(busy);
    assert_eq!((problem.status, problem.code.as_str()), (503, "busy"));
    assert_eq!(problem.retry_after_s, Some(1));
    let close = executor.close();
    let release = async {
        store.held.send_replace(false);
        (in_work.await, join_all(queued).await)
    };
    let ((), (in_work, queued)) = futures::join!(close, release);
    assert!(in_work.is_ok());
    assert!(queued.iter().all(Result::is_ok));
    let closed = run(&executor, send(BOB, "after")).await.unwrap_err();
    assert_eq!(Problem::from(closed).code, "shutting_down");
}

#[tokio::test]
async fn idle_streams_are_let_go_and_loaded_again() {
    let store = FaultyStore::new();
    let limits = Limits {
        idle_max: Duration::from_millis(20),
        ..Limits::default()
    };
    let executor: Conversations =
        Executor::new(store.clone(), Arc::new(MemorySnapshots::default()), limits).unwrap();
    run(&executor, start()).await.unwrap();
    while executor.active_streams() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        run(&executor, send(BOB, "again")).await.unwrap().seq,
        Version(2)
    );
}

#[tokio::test]
async fn more_streams_than_may_be_active_take_turns() {
    let store = FaultyStore::new();
    let limits = Limits {
        active_streams_max: NonZeroUsize::MIN,
        ..Limits::default()
    };
    let executor: Conversations =
        Executor::new(store.clone(), Arc::new(MemorySnapshots::default()), limits).unwrap();
    for round in 0..3 {
        for number in 0..5 {
            let stream = StreamName::conversation(ConversationId(Uuid::from_u128(number)));
            let (envelope, command) = match round {
                0 => start(),
                round => send(BOB, &format!("{number} {round}")),
            };
            let done = executor.execute(&stream, envelope, command).await.unwrap();
            assert_eq!(done.seq, Version(round + 1));
            assert_eq!(executor.active_streams(), 1);
        }
    }
}

/// Reads that loading a stream of `events` events takes, after the executor that wrote it closed.
async fn reads_to_load(store: &Arc<FaultyStore>, snapshots: &Arc<MemorySnapshots>) -> usize {
    let executor = executor_with(store, snapshots);
    let before = store.reads.load(Ordering::SeqCst);
    let retried = run(&executor, send(ALICE, "0")).await.unwrap();
    assert_eq!(
        retried.seq,
        Version(2),
        "the window comes with the snapshot"
    );
    executor.close().await;
    store.reads.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn a_snapshot_is_used_only_where_it_fits() {
    let store = FaultyStore::new();
    let snapshots: Arc<MemorySnapshots> = Arc::default();
    let executor = executor_with(&store, &snapshots);
    run(&executor, start()).await.unwrap();
    for number in 0..7 {
        run(&executor, send(ALICE, &number.to_string()))
            .await
            .unwrap();
    }
    executor.close().await;
    let good = snapshots.read(&stream()).await.unwrap().unwrap();
    assert_eq!(good.version, Version(5));
    assert_eq!(
        reads_to_load(&store, &snapshots).await,
        2,
        "its place, then the rest"
    );

    let other_shape = infra::snapshots::Snapshot {
        shape: "another".to_owned(),
        ..good.clone()
    };
    let damaged = infra::snapshots::Snapshot {
        body: good.body.slice(1..),
        ..good.clone()
    };
    let ahead = infra::snapshots::Snapshot {
        version: Version(100),
        ..good.clone()
    };
    let of_another_log = infra::snapshots::Snapshot {
        position: Position(77),
        ..good.clone()
    };
    for (bad, reads) in [
        (other_shape, 1),
        (damaged, 1),
        (ahead, 2),
        (of_another_log, 2),
    ] {
        let snapshots: Arc<MemorySnapshots> = Arc::default();
        snapshots.write(&stream(), bad).await.unwrap();
        assert_eq!(reads_to_load(&store, &snapshots).await, reads);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Send message `key` through node `node`.
    Send { node: usize, key: u8 },
    /// Say the group is called `key`.
    Rename { node: usize, key: u8 },
    /// What goes wrong at the next append.
    Fail(Fault),
    /// Close a node and start it again.
    Restart { node: usize },
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let node = 0..2_usize;
    let step = prop_oneof![
        6 => (node.clone(), 0..12_u8).prop_map(|(node, key)| Step::Send { node, key }),
        3 => (node.clone(), 0..4_u8).prop_map(|(node, key)| Step::Rename { node, key }),
        2 => prop_oneof![
            Just(Fault::Full), Just(Fault::Lost), Just(Fault::AnswerLost), Just(Fault::Overtaken),
        ].prop_map(Step::Fail),
        1 => node.prop_map(|node| Step::Restart { node }),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..8), 1..8)
}

/// Runs `rounds`, the commands of one round at the same time, and checks the stream at the end.
async fn check(rounds: Vec<Vec<Step>>) {
    let store = FaultyStore::new();
    let snapshots: Arc<MemorySnapshots> = Arc::default();
    let mut nodes = [
        executor_with(&store, &snapshots),
        executor_with(&store, &snapshots),
    ];
    run(&nodes[0], start()).await.unwrap();
    let mut accepted: BTreeMap<CommandId, super::Done> = BTreeMap::new();
    for round in rounds {
        let mut submitted = Vec::new();
        for step in round {
            let (node, (envelope, command)) = match step {
                Step::Send { node, key } => (node, send(BOB, &format!("message {key}"))),
                Step::Rename { node, key } => (node, rename(ALICE, &format!("title {key}"))),
                Step::Fail(fault) => {
                    store.fail(&[fault]);
                    continue;
                }
                Step::Restart { node } => {
                    nodes[node].close().await;
                    nodes[node] = executor_with(&store, &snapshots);
                    continue;
                }
            };
            let id = envelope.id();
            let answer = nodes[node].submit(&stream(), envelope, command).unwrap();
            submitted.push(async move { (id, answer.await) });
        }
        for (id, answer) in join_all(submitted).await {
            match answer {
                Ok(done) if done.changed => {
                    let first = accepted.entry(id).or_insert(done);
                    assert_eq!(*first, done, "a retry gets the first answer");
                }
                Ok(_) | Err(ExecuteError::Failure(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    let events = store.events(&stream()).await;
    let mut commands = BTreeMap::new();
    let mut state = domain::conversation::State::default();
    for event in &events {
        let metadata = event.metadata().unwrap();
        let before = commands.insert(metadata.command_id, event);
        assert!(
            before.is_none(),
            "{} was carried out twice",
            metadata.command_id
        );
        let Ok(Event::Conversation(fact)) = event.event() else {
            panic!("an event of another category");
        };
        state = Conversation::evolve(state, event.version, &fact);
    }
    for (id, done) in accepted {
        let event = commands[&id];
        assert_eq!((event.version, event.position), (done.seq, done.position));
    }
    // Whatever a node kept through all this, it decides on what the log says.
    let title = state.settings.unwrap().title.unwrap();
    store.faults.lock().clear();
    for (number, node) in nodes.iter().enumerate() {
        let rename = Act::Rename {
            title: title.clone(),
        };
        let done = run(node, command(ALICE, &format!("last {number}"), rename))
            .await
            .unwrap();
        assert_eq!((done.seq, done.changed), (state.version, false));
    }
}

proptest! {
    #[test]
    fn each_accepted_command_is_in_the_stream_once(rounds in steps()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(check(rounds));
    }
}
