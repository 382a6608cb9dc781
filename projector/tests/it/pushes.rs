//! Who is told of what while they are not looking, and that they are told once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::conversation::HistoryVisibility::Start;
use domain::conversation::{Mention, MessageSent};
use domain::notifications::{
    ClockTime, Level, NotificationsEvent, PushSubscriptionAdded, QuietHours, RemovedBecause, Rule,
    RuleChanged, Settings, SettingsChanged,
};
use domain::pushes::PushesEvent;
use domain::values::TimeZone;
use domain::{ConversationId, Event, Personal, SessionId, StreamName, UserId, Version};
use infra::auth::{Guard, Tokens};
use infra::database::Database;
use infra::event_store::{Direction, EventStore};
use infra::failure::Failure;
use infra::keys::Secret;
use infra::push::{Addresses, Push, PushError, PushTarget, Pusher, TargetSeal};
use projector::{Pushing, PushingParts};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{BOTH, Kinds, Log, Running, Scratch, until, user};
use crate::spaces;

/// Of RFC 8291, appendix A.
const KEY: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// A push that was taken.
#[derive(Clone, Debug)]
struct Taken {
    target: PushTarget,
    topic: String,
    payload: Value,
}

/// A push service that answers as it is told, and else takes everything.
#[derive(Default)]
struct Service {
    answers: Mutex<VecDeque<PushError>>,
    taken: Mutex<Vec<Taken>>,
    /// To this browser nothing is ever answered.
    silent: Mutex<Option<PushTarget>>,
    /// Nothing is answered once it has taken so many.
    silent_after: Mutex<Option<usize>>,
}

impl Service {
    fn is_silent(&self, target: &PushTarget) -> bool {
        let taken = self.taken.lock().unwrap().len();
        let is_over = self
            .silent_after
            .lock()
            .unwrap()
            .is_some_and(|it| taken >= it);
        is_over || self.silent.lock().unwrap().as_ref() == Some(target)
    }
}

#[async_trait]
impl Pusher for Service {
    async fn push(&self, target: &PushTarget, push: &Push) -> Result<(), PushError> {
        if self.is_silent(target) {
            std::future::pending::<()>().await;
        }
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.taken.lock().unwrap().push(Taken {
            target: target.clone(),
            topic: push.topic.clone(),
            payload: serde_json::from_str(&push.payload).unwrap(),
        });
        Ok(())
    }
}

struct World {
    log: Arc<Log>,
    database: Database,
    running: Running,
    service: Arc<Service>,
    pushing: Option<(CancellationToken, JoinHandle<()>)>,
    _scratch: Scratch,
}

fn secret() -> Secret {
    Secret::new([7; 32])
}

fn target(of: UserId) -> PushTarget {
    let endpoint = format!("https://push.example/{of}");
    PushTarget::parse(&endpoint, KEY, AUTH, Addresses::PublicOnly).unwrap()
}

fn later() -> PushError {
    PushError::Later {
        failure: Failure::unavailable("push", "no"),
        after: None,
    }
}

/// `who` logs in, and their browser takes pushes.
async fn join(log: &Log, who: UserId, name: &str) {
    log.register(who, name).await;
    log.log_in(who, SessionId(who.0)).await;
    let seal = TargetSeal::new(&secret()).unwrap();
    let target = target(who);
    let added = PushSubscriptionAdded {
        subscription: seal.name(who, &target),
        target: Personal::new(who, seal.seal(&target).unwrap()),
        mark: seal.mark(&target),
        session: SessionId(who.0),
        at: log.clock.now(),
    };
    let added = NotificationsEvent::PushSubscriptionAdded(added);
    log.tell(who, added).await;
}

/// From an hour before `now` until an hour after it.
fn quiet_around(now: DateTime<Utc>) -> QuietHours {
    let time = |after: TimeDelta| {
        let at = (now + after).format("%H:%M").to_string();
        ClockTime::parse(&at).unwrap()
    };
    QuietHours {
        time_zone: TimeZone::parse("UTC").unwrap(),
        from: time(-TimeDelta::hours(1)),
        until: time(TimeDelta::hours(1)),
        days: [].into(),
    }
}

impl World {
    /// Alice (1), bob (2) and carol (3), who have logged in and have browsers.
    async fn new(kind: Kinds) -> Self {
        let log = Arc::new(Log::new());
        let scratch = Scratch::new(kind).await;
        let database = scratch.open().await;
        for (number, name) in [(1, "alice"), (2, "bob"), (3, "carol")] {
            join(&log, user(number), name).await;
        }
        let running = Running::start(&log, &database);
        let mut world = Self {
            log,
            database,
            running,
            service: Arc::default(),
            pushing: None,
            _scratch: scratch,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let store: Arc<dyn EventStore> = self.log.store.clone();
        let tokens = Tokens::new(&secret()).unwrap();
        let pushing = Pushing::new(PushingParts {
            guard: Arc::new(Guard::new(tokens, &store, &self.log.clock)),
            store,
            database: self.database.clone(),
            pusher: self.service.clone(),
            targets: TargetSeal::new(&secret()).unwrap(),
            clock: self.log.clock.clone(),
            delay: TimeDelta::zero(),
        });
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { pushing.run(token).await });
        self.pushing = Some((stop, task));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.pushing.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    /// Ends it at once, wherever it is, and starts another.
    async fn kill_and_start(&mut self) {
        let (_, task) = self.pushing.take().unwrap();
        task.abort();
        let _ = task.await;
        self.start();
    }

    async fn set(&self, who: UserId, settings: Settings) {
        let settings = Personal::new(who, settings);
        let changed = NotificationsEvent::SettingsChanged(SettingsChanged { settings });
        self.log.tell(who, changed).await;
    }

    async fn rule(&self, who: UserId, conversation: ConversationId, rule: Rule) {
        let changed = NotificationsEvent::RuleChanged(RuleChanged { conversation, rule });
        self.log.tell(who, changed).await;
    }

    /// What was taken for `who`, as soon as it is `count` pushes.
    async fn taken(&self, who: UserId, count: usize) -> Vec<Taken> {
        let target = target(who);
        let taken = || -> Vec<Taken> {
            let all = self.service.taken.lock().unwrap();
            let theirs = all.iter().filter(|taken| taken.target == target);
            theirs.cloned().collect()
        };
        until(async || taken().len() >= count).await;
        assert_eq!(taken().len(), count, "{:?}", taken());
        taken()
    }

    /// The events of a type in `stream`, as soon as there are `count`.
    async fn recorded(&self, stream: &StreamName, event_type: &str, count: usize) -> Vec<Event> {
        let read = async || -> Vec<Event> {
            let from = Version(1);
            let all = self
                .log
                .store
                .read_stream(stream, from, Direction::Forward, 1_000);
            let all = all.await.unwrap();
            let of_type = all.iter().filter(|it| &*it.event_type == event_type);
            of_type.map(|it| it.event().unwrap()).collect()
        };
        until(async || read().await.len() >= count).await;
        let found = read().await;
        assert_eq!(found.len(), count, "{event_type}: {found:?}");
        found
    }

    async fn removed(&self, who: UserId) -> RemovedBecause {
        let stream = StreamName::notifications(who);
        let events = self.recorded(&stream, "push-subscription-removed", 1).await;
        match &events[0] {
            Event::Notifications(NotificationsEvent::PushSubscriptionRemoved(removed)) => {
                removed.because
            }
            other => panic!("{other:?}"),
        }
    }

    async fn close(mut self) {
        self.stop().await;
        self.running.stop().await.unwrap();
        self.database.close().await;
    }
}

#[tokio::test]
async fn a_message_is_told_once_whoever_starts_again() {
    for kind in BOTH {
        let mut world = World::new(kind).await;
        let (alice, bob) = (user(1), user(2));
        let group = world.log.group(alice, &[bob], Start).await.id;
        let seq = world.log.room(group).send(alice, "tea?").await;
        let first = world.taken(bob, 1).await;
        let expected = json!({
            "type": "message", "conversation": group, "seq": seq, "reason": "message",
            "author": alice, "author_name": "alice", "title": "A group",
        });
        assert_eq!(first[0].payload, expected);
        world
            .recorded(&StreamName::pushes_sent(), "pushes-settled", 1)
            .await;
        world.stop().await;
        world.log.room(group).send(alice, "or coffee?").await;
        world.start();
        world.taken(bob, 2).await;
        world
            .recorded(&StreamName::pushes_sent(), "pushes-settled", 2)
            .await;
        world.kill_and_start().await;
        world.log.room(group).send(alice, "hello?").await;
        let all = world.taken(bob, 3).await;
        assert_ne!(all[0].topic, all[1].topic);
        world.taken(alice, 0).await;
        world.close().await;
    }
}

#[tokio::test]
async fn what_is_older_than_an_hour_is_told_to_nobody() {
    let mut world = World::new(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let group = world.log.group(alice, &[bob], Start).await.id;
    world.log.room(group).send(alice, "tea?").await;
    world.taken(bob, 1).await;
    world.stop().await;
    world.log.room(group).send(alice, "it gets cold").await;
    let clock = &world.log.clock;
    clock.set(clock.now() + TimeDelta::minutes(30));
    let late = world.log.room(group).send(alice, "it got cold").await;
    clock.set(clock.now() + TimeDelta::minutes(31));
    world.start();
    let told = world.taken(bob, 2).await;
    assert_eq!(told[1].payload["seq"], json!(late));
    let next = world.log.room(group).send(alice, "new tea!").await;
    let told = world.taken(bob, 3).await;
    assert_eq!(told[2].payload["seq"], json!(next));
    world.close().await;
}

#[tokio::test]
async fn what_is_told_is_what_each_wants() {
    for kind in BOTH {
        let mut world = World::new(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let group = world.log.group(alice, &[bob, carol], Start).await.id;
        let log = Arc::clone(&world.log);
        let room = log.room(group);
        let mentions = Rule {
            level: Some(Level::Mentions),
            muted_until: None,
        };
        world.rule(bob, group, mentions).await;
        let settings = Settings {
            include_text: true,
            ..Settings::default()
        };
        world.set(carol, settings).await;
        let plain = room.send(alice, "tea?").await;
        assert_eq!(world.taken(carol, 1).await[0].payload["text"], "tea?");
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::User(bob)].into();
        room.say_as(alice, "bob?", call).await;
        let told = world.taken(bob, 1).await;
        assert_eq!(told[0].payload["reason"], "mention");
        assert_eq!(told[0].payload.get("text"), None);
        let answer = |sent: &mut MessageSent| sent.reply_to = Some(plain);
        room.say_as(bob, "yes", answer).await;
        assert_eq!(world.taken(alice, 1).await[0].payload["reason"], "reply");
        world.taken(carol, 3).await;
        // Neither who is muted nor whom one blocks; the last message comes after all that might.
        let muted = Rule {
            level: None,
            muted_until: Some(world.log.clock.now() + TimeDelta::hours(1)),
        };
        world.rule(bob, group, muted).await;
        world.log.block(carol, alice, true).await;
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::Everyone].into();
        room.say_as(alice, "all?", call).await;
        room.answer(alice, plain, "in a thread that nobody else follows")
            .await;
        room.send(carol, "hello").await;
        world.taken(alice, 2).await;
        world.taken(bob, 1).await;
        world.taken(carol, 3).await;
        // What was seen before anybody could be told.
        world.stop().await;
        let seen = room.send(carol, "seen by alice").await;
        room.seen(alice, seen).await;
        let last = room.send(carol, "the last").await;
        world.start();
        assert_eq!(world.taken(alice, 3).await[2].payload["seq"], json!(last));
        world.close().await;
    }
}

#[tokio::test]
async fn a_call_for_a_role_of_a_space_is_told_to_those_who_have_it() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let log = Arc::clone(&world.log);
        let room = spaces::house(&log, &[alice, bob, carol]).await;
        let mentions = Rule {
            level: Some(Level::Mentions),
            muted_until: None,
        };
        world.rule(bob, room.id, mentions).await;
        world.rule(carol, room.id, mentions).await;
        spaces::give(&log, bob, 1).await;
        spaces::give(&log, carol, 2).await;
        let call = spaces::call(&room, alice, &[0, 1]).await;
        let told = world.taken(bob, 1).await;
        assert_eq!(told[0].payload["reason"], "mention");
        assert_eq!(told[0].payload["seq"], json!(call));
        let last = spaces::call(&room, alice, &[2]).await;
        let told = world.taken(carol, 1).await;
        assert_eq!(told[0].payload["seq"], json!(last));
        world.taken(bob, 1).await;
        world.close().await;
    }
}

#[tokio::test]
async fn a_browser_that_is_gone_or_logged_out_is_removed() {
    let world = World::new(Kinds::Sqlite).await;
    let (alice, bob, carol) = (user(1), user(2), user(3));
    let group = world.log.group(alice, &[bob, carol], Start).await.id;
    world.log.log_out(SessionId(carol.0)).await;
    world
        .service
        .answers
        .lock()
        .unwrap()
        .push_back(PushError::Gone);
    world.log.room(group).send(alice, "tea?").await;
    assert_eq!(world.removed(bob).await, RemovedBecause::Gone);
    assert_eq!(world.removed(carol).await, RemovedBecause::SessionEnded);
    world.log.room(group).send(bob, "yes").await;
    world.taken(alice, 1).await;
    world.taken(bob, 0).await;
    world.taken(carol, 0).await;
    world.close().await;
}

#[tokio::test]
async fn what_a_push_service_does_not_take_is_told_together_later() {
    let mut world = World::new(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let group = world.log.group(alice, &[bob], Start).await.id;
    world
        .service
        .answers
        .lock()
        .unwrap()
        .extend([(); 3].map(|()| later()));
    world.log.room(group).send(alice, "tea?").await;
    let waiting = StreamName::pushes_waiting();
    world.recorded(&waiting, "push-retries-changed", 1).await;
    world.log.room(group).send(alice, "hello?").await;
    // It comes after what might be told.
    world.log.room(group).send(bob, "zzz").await;
    world.taken(alice, 1).await;
    world.stop().await;
    world.start();
    let told = world.taken(bob, 1).await;
    assert_eq!(told[0].payload["type"], "missed");
    assert_eq!(told[0].payload["conversations"], 1);
    let changed = world.recorded(&waiting, "push-retries-changed", 2).await;
    assert_eq!(changed.len(), 2);
    world.log.room(group).send(alice, "there you are").await;
    let told = world.taken(bob, 2).await;
    assert_eq!(told[1].payload["type"], "message");
    world.close().await;
}

#[tokio::test]
async fn one_push_that_failed_is_told_though_nothing_comes_after_it() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let (alice, bob) = (user(1), user(2));
        let group = world.log.group(alice, &[bob], Start).await.id;
        let answers = [(); 3].map(|()| later());
        world.service.answers.lock().unwrap().extend(answers);
        world.log.room(group).send(alice, "tea?").await;
        let told = world.taken(bob, 1).await;
        let expected = json!({ "type": "missed", "messages": 1, "conversations": 1 });
        assert_eq!(told[0].payload, expected);
        let waiting = StreamName::pushes_waiting();
        world.recorded(&waiting, "push-retries-changed", 2).await;
        world.close().await;
    }
}

#[tokio::test]
async fn who_is_suspended_meanwhile_is_told_nothing_any_more() {
    let world = World::new(Kinds::Sqlite).await;
    let (alice, bob) = (user(1), user(2));
    let group = world.log.group(alice, &[bob], Start).await.id;
    let answers = [(); 3].map(|()| later());
    world.service.answers.lock().unwrap().extend(answers);
    world.log.room(group).send(alice, "tea?").await;
    let waiting = StreamName::pushes_waiting();
    world.recorded(&waiting, "push-retries-changed", 1).await;
    world.log.suspend(bob, false).await;
    let now = world.log.clock.now();
    world.log.clock.set(now + TimeDelta::hours(1));
    world.recorded(&waiting, "push-retries-changed", 2).await;
    world.taken(bob, 0).await;
    // Their browser is still theirs when the suspension ends.
    let stream = StreamName::notifications(bob);
    world
        .recorded(&stream, "push-subscription-removed", 0)
        .await;
    world.close().await;
}

#[tokio::test]
async fn a_push_service_that_never_answers_keeps_nobody_waiting() {
    let world = World::new(Kinds::Sqlite).await;
    let (alice, bob, carol) = (user(1), user(2), user(3));
    *world.service.silent.lock().unwrap() = Some(target(carol));
    let group = world.log.group(alice, &[bob, carol], Start).await.id;
    for count in 1..=3 {
        world.log.room(group).send(alice, "tea?").await;
        world.taken(bob, count).await;
    }
    world.taken(carol, 0).await;
    world.close().await;
}

#[tokio::test]
async fn of_many_people_those_are_not_told_again_who_were_settled_before_a_kill() {
    let mut world = World::new(Kinds::Sqlite).await;
    let all: Vec<UserId> = (2..=250).map(user).collect();
    for who in &all[2..] {
        join(&world.log, *who, &format!("user{}", who.0.as_u128())).await;
    }
    let alice = user(1);
    let group = world.log.group(alice, &all, Start).await.id;
    *world.service.silent_after.lock().unwrap() = Some(150);
    let call = |sent: &mut MessageSent| sent.mentions = [Mention::Everyone].into();
    world.log.room(group).say_as(alice, "all?", call).await;
    let settled = async || {
        let (end, stream) = (Version(u64::MAX), StreamName::pushes_sent());
        let last = world
            .log
            .store
            .read_stream(&stream, end, Direction::Backward, 1);
        let last = last.await.unwrap();
        match last.first().map(|last| last.event().unwrap()) {
            Some(Event::Pushes(PushesEvent::Settled(settled))) => {
                settled.progress.part.map(|part| part.user)
            }
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    };
    until(async || settled().await == Some(all[99])).await;
    until(async || world.service.taken.lock().unwrap().len() == 150).await;
    *world.service.silent_after.lock().unwrap() = None;
    world.kill_and_start().await;
    let count = |who: UserId| {
        let target = target(who);
        let taken = world.service.taken.lock().unwrap();
        taken.iter().filter(|taken| taken.target == target).count()
    };
    until(async || all.iter().all(|who| count(*who) > 0)).await;
    for who in &all[..100] {
        assert_eq!(count(*who), 1, "{who} was settled");
    }
    let topics = |who: UserId| -> BTreeSet<String> {
        let target = target(who);
        let taken = world.service.taken.lock().unwrap();
        let theirs = taken.iter().filter(|taken| taken.target == target);
        theirs.map(|taken| taken.topic.clone()).collect()
    };
    assert!(all.iter().all(|who| topics(*who).len() == 1));
    world.close().await;
}

#[tokio::test]
async fn what_was_missed_is_counted_by_the_rules_of_a_single_message() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let group = world.log.group(alice, &[bob, carol], Start).await.id;
        let log = Arc::clone(&world.log);
        let room = log.room(group);
        // What came before the quiet hours was told by itself.
        let first = room.send(alice, "tea?").await;
        room.send(alice, "hello?").await;
        world.taken(bob, 2).await;
        log.block(bob, carol, true).await;
        log.clock.set(log.clock.now() + TimeDelta::hours(3));
        let quiet = quiet_around(log.clock.now());
        let end = quiet.end_at(log.clock.now()).unwrap();
        let settings = Settings {
            quiet_hours: Some(quiet),
            ..Settings::default()
        };
        world.set(bob, settings.clone()).await;
        world.set(carol, settings).await;
        log.suspend(carol, false).await;
        room.send(bob, "from another device").await;
        room.send(carol, "whom bob blocks").await;
        room.answer(alice, first, "in a thread that bob does not follow")
            .await;
        let deleted = room.send(alice, "oh").await;
        room.delete(alice, deleted).await;
        room.send(alice, "coffee?").await;
        // It comes after what might be told.
        room.send(bob, "zzz").await;
        world.taken(alice, 3).await;
        log.clock.set(end);
        let told = world.taken(bob, 3).await;
        let expected = json!({ "type": "missed", "messages": 1, "conversations": 1 });
        assert_eq!(told[2].payload, expected);
        world.taken(carol, 2).await;
        world.close().await;
    }
}

#[tokio::test]
async fn what_was_taken_back_leaves_nothing_behind_of_whom_it_concerned() {
    for kind in BOTH {
        let world = World::new(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        let group = world.log.group(alice, &[bob, carol], Start).await.id;
        let log = Arc::clone(&world.log);
        let room = log.room(group);
        let count = async || -> u64 {
            world.running.caught_up(&log).await;
            let mut transaction = world.database.read().await.unwrap();
            let sql = "SELECT count(*) AS notices FROM notices";
            let row = transaction.all(sql, &[]).await.unwrap().pop().unwrap();
            row.get("notices").unwrap()
        };
        let tea = room.send(alice, "tea?").await;
        room.react(bob, tea, "👍").await;
        room.react(carol, tea, "👍").await;
        assert_eq!(count().await, 2);
        room.unreact(bob, tea, "👍").await;
        assert_eq!(count().await, 1);
        // In one batch or in several.
        room.react(bob, tea, "👍").await;
        room.unreact(bob, tea, "👍").await;
        room.delete(alice, tea).await;
        assert_eq!(count().await, 0);
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::User(carol)].into();
        let called = room.say_as(alice, "carol?", call).await;
        let reply = |sent: &mut MessageSent| sent.reply_to = Some(called);
        room.say_as(bob, "here", reply).await;
        assert_eq!(count().await, 2);
        room.leave(carol).await;
        assert_eq!(count().await, 1);
        room.add(carol).await;
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::User(carol)].into();
        room.say_as(alice, "again", call).await;
        assert_eq!(count().await, 2);
        world.close().await;
    }
}

#[tokio::test]
async fn quiet_hours_end_with_one_push_for_all() {
    for kind in BOTH {
        let mut world = World::new(kind).await;
        let (alice, bob) = (user(1), user(2));
        let now = world.log.clock.now();
        let quiet = quiet_around(now);
        let end = quiet.end_at(now).unwrap();
        let settings = Settings {
            quiet_hours: Some(quiet),
            ..Settings::default()
        };
        world.set(bob, settings).await;
        let group = world.log.group(alice, &[bob], Start).await.id;
        for text in ["tea?", "hello?"] {
            world.log.room(group).send(alice, text).await;
        }
        // It comes after what might be told.
        world.log.room(group).send(bob, "zzz").await;
        world.taken(alice, 1).await;
        world.taken(bob, 0).await;
        world.log.clock.set(end);
        let told = world.taken(bob, 1).await;
        let expected = json!({ "type": "missed", "messages": 2, "conversations": 1 });
        assert_eq!(told[0].payload, expected);
        world.stop().await;
        world.start();
        world.log.room(group).send(alice, "good morning").await;
        let told = world.taken(bob, 2).await;
        assert_eq!(told[1].payload["type"], "message");
        world.close().await;
    }
}

#[tokio::test]
async fn who_is_absent_gets_a_digest_once_and_another_for_what_is_new() {
    for kind in BOTH {
        let mut world = World::new(kind).await;
        let (alice, bob, carol) = (user(1), user(2), user(3));
        for (who, email) in [(bob, "bob@example.org"), (carol, "carol@example.org")] {
            world.log.verify(who, email).await;
            let settings = Settings {
                digest_after_s: Some(3_600),
                ..Settings::default()
            };
            world.set(who, settings).await;
        }
        let group = world.log.group(alice, &[bob, carol], Start).await.id;
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::User(bob)].into();
        world.log.room(group).say_as(alice, "bob?", call).await;
        world.taken(bob, 1).await;
        let stream = StreamName::notifications(bob);
        world.recorded(&stream, "digest-issued", 0).await;
        let later = |world: &World| {
            let now = world.log.clock.now();
            world.log.clock.set(now + TimeDelta::hours(1));
        };
        later(&world);
        world.recorded(&stream, "digest-issued", 1).await;
        // Of the same there is no other, however long they are away and whoever looks.
        later(&world);
        world.stop().await;
        world.start();
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::User(carol)].into();
        world.log.room(group).say_as(alice, "carol?", call).await;
        // Who comes later was looked at later.
        let of_carol = StreamName::notifications(carol);
        world.recorded(&of_carol, "digest-issued", 1).await;
        world.recorded(&stream, "digest-issued", 1).await;
        let call = |sent: &mut MessageSent| sent.mentions = [Mention::Everyone].into();
        world
            .log
            .room(group)
            .say_as(alice, "still there?", call)
            .await;
        let issued = world.recorded(&stream, "digest-issued", 2).await;
        let Event::Notifications(NotificationsEvent::DigestIssued(issued)) = &issued[1] else {
            panic!("{issued:?}");
        };
        assert_eq!(issued.email.value.as_str(), "bob@example.org");
        assert!(issued.expires_at > world.log.clock.now().with_timezone(&Utc));
        world.close().await;
    }
}
