//! Mailing on a log in memory, with a mailer that fails as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::mail::MailEvent;
use domain::user::codes::{ChallengeHash, CodeHash};
use domain::user::{CodeIssued, UserEvent};
use domain::values::Email;
use domain::{Actor, CommandId, Event, EventId, Metadata, Personal, Position, UserId};
use infra::clock::fresh_id;
use infra::event_store::{
    AppendError, Appended, Direction, Expected, MemoryEventStore, NewEvent, RecordedEvent,
};
use infra::keys::Secret;
use infra::mail::Sender;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// What the mailer says to the next mails; then it takes them.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Later,
    Never,
}

struct TestMailer {
    sender: Sender,
    answers: Mutex<VecDeque<Answer>>,
    taken: Mutex<Vec<Mail>>,
}

#[async_trait]
impl Mailer for TestMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match self.answers.lock().unwrap().pop_front() {
            None => {
                self.taken.lock().unwrap().push(mail.clone());
                Ok(())
            }
            Some(Answer::Later) => Err(Failure::unavailable("send a mail", "not now").into()),
            Some(Answer::Never) => Err(MailError::Rejected(Failure::internal("send", "never"))),
        }
    }

    fn sender(&self) -> &Sender {
        &self.sender
    }
}

/// A log that fails to take what became of mails, so many times.
struct Log {
    inner: MemoryEventStore,
    records_failing: Mutex<usize>,
}

#[async_trait]
impl EventStore for Log {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let fails = stream.category() == "mail" && {
            let mut failing = self.records_failing.lock().unwrap();
            let fails = *failing > 0;
            *failing = failing.saturating_sub(1);
            fails
        };
        if fails {
            return Err(Failure::unavailable("append", "not now").into());
        }
        self.inner.append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, Failure> {
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

struct World {
    log: Arc<Log>,
    mailer: Arc<TestMailer>,
    keys: CodeKeys,
    clock: Clock,
}

/// A worker that runs.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

impl World {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let clock = Clock::fixed(Clock::system().now());
        Self {
            log: Arc::new(Log {
                inner: MemoryEventStore::new(clock.clone()),
                records_failing: Mutex::default(),
            }),
            mailer: Arc::new(TestMailer {
                sender: Sender {
                    name: "Tea House".to_owned(),
                    address: Email::parse("noreply@example.org").unwrap(),
                },
                answers: Mutex::new(answers.into_iter().collect()),
                taken: Mutex::default(),
            }),
            keys: CodeKeys::new(&Secret::new([7; 32])),
            clock,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Has a code issued to `user`; gives the event and the code.
    async fn issue(&self, user: UserId, purpose: CodePurpose) -> (EventId, String) {
        self.issue_with(user, purpose, None).await
    }

    /// The same, to somebody who asked with a challenge.
    async fn issue_with(
        &self,
        user: UserId,
        purpose: CodePurpose,
        challenge: Option<ChallengeHash>,
    ) -> (EventId, String) {
        let command = CommandId(fresh_id());
        let expires_at = self.now() + CODE_LIFETIME;
        let issued = CodeIssued {
            purpose,
            email: Personal::new(user, Email::parse("alice@example.org").unwrap()),
            hash: CodeHash::new("00".to_owned()),
            challenge,
            asked_from: None,
            issued_at: self.now(),
            expires_at,
        };
        let metadata = Metadata {
            actor: Actor::System,
            command_id: command,
            command_hash: String::new(),
            correlation_id: None,
            causation_id: None,
            traceparent: Some("00-1".to_owned()),
            occurred_at: None,
        };
        let event = UserEvent::CodeIssued(issued).into();
        let event = NewEvent::encode(&event, &metadata, 0).unwrap();
        let id = event.id;
        let stream = StreamName::user(user);
        let appended = self.log.append(&stream, Expected::Any, vec![event]).await;
        appended.unwrap();
        let code = self.keys.code(&CodeOf {
            command,
            user,
            purpose,
            expires_at,
        });
        (id, code.as_str().to_owned())
    }

    fn start(&self) -> Running {
        let log: Arc<dyn EventStore> = self.log.clone();
        let mailer: Arc<dyn Mailer> = self.mailer.clone();
        let mailing = Mailing::new(log, mailer, self.keys.clone(), self.clock.clone());
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { mailing.run(token).await });
        Running { stop, task }
    }

    /// What became of the mail that `asked_by` asks for, as soon as it is in the log.
    async fn outcome(&self, asked_by: EventId) -> (MailEvent, Metadata) {
        let stream = StreamName::mail(asked_by);
        let mut head = self.log.head();
        loop {
            head.mark_unchanged();
            let events = self
                .log
                .read_stream(&stream, Version(1), Direction::Forward, 2)
                .await
                .unwrap();
            if let [recorded] = &events[..] {
                let Event::Mail(event) = recorded.event().unwrap() else {
                    panic!("another event");
                };
                return (event, recorded.metadata().unwrap());
            }
            assert!(events.is_empty(), "settled twice");
            head.changed().await.unwrap();
        }
    }

    fn taken(&self) -> Vec<Mail> {
        self.mailer.taken.lock().unwrap().clone()
    }
}

fn given_up(user: UserId, why: GivenUpBecause) -> MailEvent {
    MailEvent::GivenUp(GivenUp { user, why })
}

#[tokio::test(start_paused = true)]
async fn a_code_is_mailed_and_that_is_recorded() {
    let world = World::new([]);
    let user = UserId(fresh_id());
    let (asked_by, code) = world.issue(user, CodePurpose::LogIn).await;
    let running = world.start();
    let message_id = format!("{asked_by}@example.org");
    let (event, metadata) = world.outcome(asked_by).await;
    assert_eq!(event, MailEvent::Sent(Sent { user, message_id }));
    assert_eq!(metadata.actor, Actor::System);
    assert_eq!(metadata.traceparent.as_deref(), Some("00-1"));
    assert!(metadata.causation_id.is_some());
    let (later, _) = world.issue(user, CodePurpose::ResetPassword).await;
    world.outcome(later).await;
    running.stop().await;
    let taken = world.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].subject, "Log in to Tea House");
    assert_eq!(taken[0].to.as_str(), "alice@example.org");
    assert!(taken[0].text.contains(&code) && taken[0].html.contains(&code));
}

#[tokio::test(start_paused = true)]
async fn who_starts_later_sends_what_is_left_and_nothing_again() {
    let world = World::new([]);
    let user = UserId(fresh_id());
    let (first, _) = world.issue(user, CodePurpose::LogIn).await;
    let running = world.start();
    world.outcome(first).await;
    running.stop().await;
    let (second, _) = world.issue(user, CodePurpose::ResetPassword).await;
    for _ in 0..2 {
        let running = world.start();
        world.outcome(second).await;
        running.stop().await;
    }
    let sent: Vec<EventId> = world.taken().iter().map(|mail| mail.asked_by).collect();
    assert_eq!(sent, [first, second]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_until_it_is_sent() {
    let world = World::new([Answer::Later; 5]);
    let user = UserId(fresh_id());
    let (asked_by, _) = world.issue(user, CodePurpose::LogIn).await;
    let running = world.start();
    let (event, _) = world.outcome(asked_by).await;
    assert!(matches!(event, MailEvent::Sent(_)), "{event:?}");
    running.stop().await;
    assert_eq!(world.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mail_is_not_sent_again_because_the_log_was_away() {
    let world = World::new([]);
    *world.log.records_failing.lock().unwrap() = 3;
    let (asked_by, _) = world.issue(UserId(fresh_id()), CodePurpose::LogIn).await;
    let running = world.start();
    world.outcome(asked_by).await;
    running.stop().await;
    assert_eq!(world.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_any_more_is_given_up() {
    let world = World::new([Answer::Never]);
    let [late, alice, bob] = [(); 3].map(|()| UserId(fresh_id()));
    let (expired, _) = world.issue(late, CodePurpose::LogIn).await;
    world.clock.set(world.now() + CODE_LIFETIME);
    let (replaced, _) = world.issue(alice, CodePurpose::LogIn).await;
    let (rejected, _) = world.issue(alice, CodePurpose::LogIn).await;
    let running = world.start();
    for (asked_by, user, why) in [
        (expired, late, GivenUpBecause::Expired),
        (replaced, alice, GivenUpBecause::Replaced),
        (rejected, alice, GivenUpBecause::Rejected),
    ] {
        assert_eq!(world.outcome(asked_by).await.0, given_up(user, why));
    }
    let (good, _) = world.issue(bob, CodePurpose::LogIn).await;
    world.outcome(good).await;
    running.stop().await;
    assert_eq!(world.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_a_stranger_asked_for_takes_no_place_of_another() {
    let world = World::new([]);
    let user = UserId(fresh_id());
    let mut issued = Vec::new();
    for name in ["one", "other"] {
        let challenge = Some(ChallengeHash::new(name.to_owned()));
        let asked = world.issue_with(user, CodePurpose::LogIn, challenge).await;
        issued.push(asked.0);
    }
    let running = world.start();
    for asked_by in issued {
        let (event, _) = world.outcome(asked_by).await;
        assert!(matches!(event, MailEvent::Sent(_)), "{event:?}");
    }
    running.stop().await;
    assert_eq!(world.taken().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_long_past_is_not_even_looked_at() {
    let world = World::new([]);
    let user = UserId(fresh_id());
    let (past, _) = world.issue(user, CodePurpose::LogIn).await;
    world
        .clock
        .set(world.now() + LOOK_BACK + TimeDelta::seconds(1));
    let (present, _) = world.issue(user, CodePurpose::LogIn).await;
    let running = world.start();
    world.outcome(present).await;
    running.stop().await;
    let stream = StreamName::mail(past);
    assert_eq!(
        version_of(&*world.log, &stream).await.unwrap(),
        Version::ZERO
    );
}
