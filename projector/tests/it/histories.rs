//! Whatever happened, and wherever the projector was interrupted: the read models are what a fresh
//! build of them is.

use domain::conversation::{
    Content, Encrypted, HistoryVisibility, Mention, MessageSent, Origin, Role,
};
use domain::notifications::{
    DigestIssued, Level, NotificationsEvent, PushSubscriptionAdded, PushSubscriptionRemoved,
    ReadUpTo, RemovedBecause, Rule, RuleChanged, Settings, SettingsChanged,
};
use domain::user::Shown;
use domain::values::Email;
use domain::{
    AttachmentId, ConversationId, Personal, Position, PushSubscriptionId, SessionId, UserId,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::harness::{BOTH, Kinds, Log, Room, Running, Scratch, dump, user, version};
use crate::spaces;

/// Something that happens to the log, or to the projector.
#[derive(Clone, Debug)]
enum Step {
    Start(u8),
    Send(u8, u8),
    Edit(u8, u8),
    Delete(u8, u8),
    React(u8, u8, u8),
    Unreact(u8, u8, u8),
    Pin(u8, u8, bool),
    Mention(u8, u8, u8),
    Encrypt(u8, u8),
    Answer(u8, u8, u8),
    Follow(u8, u8, u8, bool),
    Forward(u8, u8, u8),
    Reply(u8, u8, u8),
    Tell(u8, u8, u8),
    ChangeRole(u8, u8),
    ThreadSeen(u8, u8, u8, u8, bool),
    Add(u8, u8),
    Remove(u8, u8),
    Rename(u8),
    ShowHistory(u8, bool),
    Archive(u8),
    Seen(u8, u8, u8, bool),
    Delivered(u8, u8, u8),
    Register(u8),
    Call(u8, bool),
    Private(u8, bool),
    Choose(u8, bool),
    Status(u8),
    Block(u8, u8, bool),
    Suspend(u8, bool),
    Service(u8, bool),
    Upload(u8, u8),
    Attach(u8, u8, u8),
    EditFiles(u8, u8, u8),
    TakeAway(u8, bool),
    Avatar(u8, Option<u8>),
    Space(u8, u8, u8, u8),
    LogIn(u8, u8),
    Refresh(u8, u8),
    LogOut(u8),
    LogOutEverywhere(u8),
    CatchUp,
    Kill,
    Restart,
    Rebuild(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let room = 0..3_u8;
    let person = 0..4_u8;
    let seq = 1..30_u8;
    prop_oneof![
        2 => room.clone().prop_map(Step::Start),
        8 => (room.clone(), person.clone()).prop_map(|(r, p)| Step::Send(r, p)),
        3 => (room.clone(), seq.clone()).prop_map(|(r, s)| Step::Edit(r, s)),
        2 => (room.clone(), seq.clone()).prop_map(|(r, s)| Step::Delete(r, s)),
        3 => (room.clone(), person.clone(), seq.clone()).prop_map(|(r, p, s)| Step::React(r, p, s)),
        2 => (room.clone(), person.clone(), seq.clone())
            .prop_map(|(r, p, s)| Step::Unreact(r, p, s)),
        3 => (room.clone(), seq.clone(), any::<bool>()).prop_map(|(r, s, b)| Step::Pin(r, s, b)),
        2 => (room.clone(), person.clone(), person.clone())
            .prop_map(|(r, p, q)| Step::Mention(r, p, q)),
        1 => (room.clone(), person.clone()).prop_map(|(r, p)| Step::Encrypt(r, p)),
        6 => (room.clone(), person.clone(), 1..10_u8).prop_map(|(r, p, s)| Step::Answer(r, p, s)),
        3 => (room.clone(), person.clone(), 1..10_u8, any::<bool>())
            .prop_map(|(r, p, s, b)| Step::Follow(r, p, s, b)),
        2 => (room.clone(), person.clone(), 1..10_u8, seq.clone(), any::<bool>())
            .prop_map(|(r, p, t, s, b)| Step::ThreadSeen(r, p, t, s, b)),
        1 => (room.clone(), person.clone(), 0..3_u8).prop_map(|(r, p, o)| Step::Forward(r, p, o)),
        3 => (room.clone(), person.clone(), seq.clone()).prop_map(|(r, p, s)| Step::Reply(r, p, s)),
        3 => (person.clone(), 0..6_u8, 0..3_u8).prop_map(|(p, k, n)| Step::Tell(p, k, n)),
        1 => (room.clone(), person.clone()).prop_map(|(r, p)| Step::ChangeRole(r, p)),
        2 => (room.clone(), person.clone()).prop_map(|(r, p)| Step::Add(r, p)),
        2 => (room.clone(), person.clone()).prop_map(|(r, p)| Step::Remove(r, p)),
        1 => room.clone().prop_map(Step::Rename),
        1 => (room.clone(), any::<bool>()).prop_map(|(r, b)| Step::ShowHistory(r, b)),
        1 => room.clone().prop_map(Step::Archive),
        4 => (room.clone(), person.clone(), seq.clone(), any::<bool>())
            .prop_map(|(r, p, s, b)| Step::Seen(r, p, s, b)),
        1 => (room, person.clone(), seq).prop_map(|(r, p, s)| Step::Delivered(r, p, s)),
        1 => person.clone().prop_map(Step::Register),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Step::Call(p, b)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Step::Private(p, b)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Step::Choose(p, b)),
        1 => person.clone().prop_map(Step::Status),
        2 => (person.clone(), person.clone(), any::<bool>())
            .prop_map(|(p, q, b)| Step::Block(p, q, b)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Step::Suspend(p, b)),
        1 => (person.clone(), any::<bool>()).prop_map(|(p, b)| Step::Service(p, b)),
        2 => (person.clone(), 0..3_u8).prop_map(|(p, a)| Step::Upload(p, a)),
        2 => (0..3_u8, person.clone(), 0..3_u8).prop_map(|(r, p, a)| Step::Attach(r, p, a)),
        2 => (0..3_u8, 1..30_u8, 0..3_u8).prop_map(|(r, s, a)| Step::EditFiles(r, s, a)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(a, b)| Step::TakeAway(a, b)),
        1 => (person.clone(), proptest::option::of(0..3_u8))
            .prop_map(|(p, a)| Step::Avatar(p, a)),
        2 => (0..2_u8).prop_map(|s| Step::Space(s, spaces::SORTS - 1, 0, 0)),
        12 => (0..2_u8, 0..=spaces::SORTS, person.clone(), person.clone())
            .prop_map(|(s, sort, p, q)| Step::Space(s, sort, p, q)),
        1 => (0..3_u8, person.clone()).prop_map(|(s, p)| Step::LogIn(s, p)),
        1 => (0..3_u8, person.clone()).prop_map(|(s, p)| Step::Refresh(s, p)),
        1 => person.prop_map(Step::LogOutEverywhere),
        1 => (0..3_u8).prop_map(Step::LogOut),
        3 => Just(Step::CatchUp),
        1 => Just(Step::Kill),
        1 => Just(Step::Restart),
        1 => (0..11_u8).prop_map(Step::Rebuild),
    ]
}

fn room(log: &Log, number: u8) -> Room<'_> {
    log.room(ConversationId(Uuid::from_u128(0xc000 + u128::from(number))))
}

fn file(number: u8) -> AttachmentId {
    AttachmentId(Uuid::from_u128(0x00f1_1e00 + u128::from(number)))
}

fn session(number: u8) -> SessionId {
    SessionId(Uuid::from_u128(0x5e00 + u128::from(number)))
}

/// Does what `step` says to the log; a step of the projector does nothing to it.
async fn happen(log: &Log, step: &Step) {
    let person = |number: &u8| user(u128::from(*number));
    let seq = |number: &u8| version(u64::from(*number));
    match step {
        Step::Start(r) => {
            let started = domain::conversation::Started {
                kind: domain::conversation::Kind::Group,
                title: None,
                creator: None,
                members: vec![domain::conversation::MemberRole {
                    user: user(0),
                    role: domain::conversation::Role::Owner,
                }],
                history_visibility: HistoryVisibility::Joined,
                channel: None,
            };
            room(log, *r)
                .say(domain::conversation::ConversationEvent::Started(started))
                .await;
        }
        Step::Send(r, p) => {
            room(log, *r).send(person(p), "said").await;
        }
        Step::Edit(r, s) => {
            let text = format!("edited at {}", log.head());
            room(log, *r).edit(user(0), seq(s), &text).await;
        }
        Step::Delete(r, s) => {
            room(log, *r).delete(user(0), seq(s)).await;
        }
        Step::React(r, p, s) => {
            room(log, *r).react(person(p), seq(s), "+1").await;
        }
        Step::Unreact(r, p, s) => {
            room(log, *r).unreact(person(p), seq(s), "+1").await;
        }
        Step::Pin(r, s, pinned) => pin(&room(log, *r), seq(s), *pinned).await,
        Step::Mention(..)
        | Step::Encrypt(..)
        | Step::Answer(..)
        | Step::Follow(..)
        | Step::ThreadSeen(..)
        | Step::Reply(..)
        | Step::Forward(..)
        | Step::Attach(..)
        | Step::EditFiles(..) => say(log, step).await,
        Step::Upload(p, a) => log.upload(person(p), file(*a)).await,
        Step::TakeAway(a, erased) => log.take_away(file(*a), *erased).await,
        Step::Avatar(p, a) => log.avatar(person(p), a.map(file)).await,
        Step::Tell(p, kind, number) => tell(log, person(p), *kind, *number).await,
        Step::ChangeRole(r, p) => {
            room(log, *r).change_role(person(p), Role::Admin).await;
        }
        Step::Add(r, p) => {
            room(log, *r).add(person(p)).await;
        }
        Step::Remove(r, p) => {
            room(log, *r).remove(person(p), user(0)).await;
        }
        Step::Rename(r) => {
            room(log, *r).rename(user(0), "Another title").await;
        }
        Step::ShowHistory(r, start) => {
            let visibility = if *start {
                HistoryVisibility::Start
            } else {
                HistoryVisibility::Joined
            };
            let slow = start.then_some(30);
            room(log, *r).set(visibility, slow, None).await;
        }
        Step::Archive(r) => {
            room(log, *r).archive(user(0)).await;
        }
        Step::Seen(r, p, s, private) => {
            room(log, *r).seen_as(person(p), seq(s), *private).await;
        }
        Step::Delivered(r, p, s) => room(log, *r).delivered(person(p), seq(s)).await,
        Step::Register(p) => log.register(person(p), "somebody").await,
        Step::Call(..)
        | Step::Private(..)
        | Step::Choose(..)
        | Step::Status(..)
        | Step::Block(..)
        | Step::Suspend(..) => behave(log, step).await,
        Step::Service(p, made) => log.service(*p, *made).await,
        Step::Space(s, sort, p, q) => {
            spaces::happen(log, *s, spaces::event(*s, *sort, *p, *q)).await;
        }
        Step::LogIn(s, p) => log.log_in(person(p), session(*s)).await,
        Step::Refresh(s, p) => log.refresh(person(p), session(*s)).await,
        Step::LogOut(s) => log.log_out(session(*s)).await,
        Step::LogOutEverywhere(p) => log.log_out_everywhere(person(p), 1, None).await,
        Step::CatchUp | Step::Kill | Step::Restart | Step::Rebuild(_) => {}
    }
}

async fn pin(room: &Room<'_>, message: domain::Seq, pinned: bool) {
    if pinned {
        room.pin(user(0), message).await;
    } else {
        room.unpin(user(0), message).await;
    }
}

/// The steps of saying something in another way than plainly.
async fn say(log: &Log, step: &Step) {
    let person = |number: &u8| user(u128::from(*number));
    let seq = |number: &u8| version(u64::from(*number));
    match step {
        Step::Mention(r, p, q) => {
            let mentions = [
                Mention::User(person(q)),
                Mention::Everyone,
                Mention::Here,
                Mention::SpaceRole(spaces::role(*q)),
            ];
            let call = |sent: &mut MessageSent| sent.mentions = mentions.into();
            room(log, *r).say_as(person(p), "called", call).await;
        }
        Step::Encrypt(r, p) => {
            let content = Content::Encrypted(Encrypted {
                algorithm: "a".to_owned(),
                key_ids: vec!["k".to_owned()],
                nonce: "AAAA".to_owned(),
                ciphertext: "AAAA".to_owned(),
            });
            let encrypt = |sent: &mut MessageSent| sent.said = content.said_by(sent.author);
            room(log, *r).say_as(person(p), "", encrypt).await;
        }
        Step::Answer(r, p, s) => {
            room(log, *r).answer(person(p), seq(s), "answered").await;
        }
        Step::Follow(r, p, s, follows) => {
            room(log, *r).follow(person(p), seq(s), *follows).await;
        }
        Step::ThreadSeen(r, p, t, s, private) => {
            let (thread, seq) = (seq(t), seq(s));
            let room = room(log, *r);
            room.thread_seen_as(person(p), thread, seq, *private).await;
        }
        Step::Reply(r, p, s) => {
            let reply = |sent: &mut MessageSent| sent.reply_to = Some(seq(s));
            room(log, *r).say_as(person(p), "no", reply).await;
        }
        Step::Forward(r, p, o) => {
            let origin = Origin {
                conversation: room(log, *o).id,
                message: version(2),
                author: user(0),
            };
            let forward = |sent: &mut MessageSent| sent.origin = Some(origin);
            room(log, *r).say_as(person(p), "said", forward).await;
        }
        Step::Attach(r, p, a) => {
            let files = vec![file(*a), file(a + 1)];
            let attach = |sent: &mut MessageSent| sent.attachments = files;
            room(log, *r).say_as(person(p), "", attach).await;
        }
        Step::EditFiles(r, s, a) => {
            let files = vec![file(a + 1), file(a + 2)];
            room(log, *r).edit_files(user(0), seq(s), files).await;
        }
        other => panic!("{other:?} says nothing"),
    }
}

/// The steps of an account that there is already.
async fn behave(log: &Log, step: &Step) {
    let person = |number: &u8| user(u128::from(*number));
    match step {
        Step::Call(p, shown) => {
            let name = if *shown { "Zoë Ångström" } else { "Nobody" };
            log.call(person(p), name).await;
            log.discoverable(person(p), *shown).await;
        }
        Step::Private(p, private) => log.private(person(p), *private).await,
        Step::Choose(p, ends) => {
            let until = ends.then(|| log.clock.now());
            log.choose(person(p), Shown::Away, until).await;
        }
        Step::Status(p) => log.status(person(p), "busy", log.clock.now()).await,
        Step::Block(p, q, blocks) => log.block(person(p), person(q), *blocks).await,
        Step::Suspend(p, until) => log.suspend(person(p), *until).await,
        other => panic!("{other:?} is of no account"),
    }
}

/// Changes one of the things that somebody wants to be told.
async fn tell(log: &Log, who: UserId, kind: u8, number: u8) {
    let subscription = PushSubscriptionId(Uuid::from_u128(number.into()));
    let event = match kind {
        0 => NotificationsEvent::RuleChanged(RuleChanged {
            conversation: room(log, number).id,
            rule: Rule {
                level: (number > 0).then_some(Level::Mentions),
                muted_until: (number > 1).then(|| log.clock.now()),
            },
        }),
        1 => NotificationsEvent::SettingsChanged(SettingsChanged {
            settings: Personal::new(
                who,
                Settings {
                    groups: (number > 0).then_some(Level::None),
                    include_text: number > 1,
                    ..Settings::default()
                },
            ),
        }),
        2 => NotificationsEvent::ReadUpTo(ReadUpTo {
            position: Position(number.into()),
        }),
        3 => NotificationsEvent::PushSubscriptionAdded(PushSubscriptionAdded {
            subscription,
            target: Personal::new(who, "sealed".to_owned()),
            mark: "00".to_owned(),
            session: session(number),
            at: log.clock.now(),
        }),
        4 => NotificationsEvent::PushSubscriptionRemoved(PushSubscriptionRemoved {
            subscription,
            because: RemovedBecause::Gone,
        }),
        _ => NotificationsEvent::DigestIssued(DigestIssued {
            email: Personal::new(who, Email::parse("a@example.org").unwrap()),
            issued_at: log.clock.now(),
            expires_at: log.clock.now(),
        }),
    };
    log.tell(who, event).await;
}

/// Steps need not make sense: a conversation may be spoken in before it starts, and is parked then.
async fn rebuilt_equals_live(kind: Kinds, steps: Vec<Step>) {
    let log = Log::new();
    let scratch = Scratch::new(kind).await;
    let database = scratch.open().await;
    let mut running = Running::start(&log, &database);
    for step in &steps {
        happen(&log, step).await;
        match step {
            Step::CatchUp => running.caught_up(&log).await,
            Step::Kill => {
                running.kill().await;
                running = Running::start(&log, &database);
            }
            Step::Restart => {
                running.stop().await.unwrap();
                running = Running::start(&log, &database);
            }
            Step::Rebuild(number) => {
                let name = crate::harness::ALL[usize::from(*number)].name;
                drop(running.projector.rebuild(name).unwrap());
            }
            _ => {}
        }
    }
    running.caught_up(&log).await;
    running.stop().await.unwrap();
    let live = dump(&database).await;
    database.close().await;

    let fresh = Scratch::new(kind).await;
    let fresh_database = fresh.open().await;
    let running = Running::start(&log, &fresh_database);
    running.caught_up(&log).await;
    running.stop().await.unwrap();
    assert_eq!(live, dump(&fresh_database).await);
    fresh_database.close().await;
}

#[test]
fn a_fresh_build_equals_what_was_followed_live() {
    for kind in BOTH {
        let config = Config {
            cases: 24,
            failure_persistence: None,
            ..Config::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        TestRunner::new(config)
            .run(&vec(step(), 1..120), |steps| {
                runtime.block_on(rebuilt_equals_live(kind, steps));
                Ok(())
            })
            .unwrap();
    }
}
