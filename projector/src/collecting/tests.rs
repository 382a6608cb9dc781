//! What is collected and what is not, over a log in memory and a read database in a file.

use super::*;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::attachment::{AttachmentEvent, Uploaded};
use domain::conversation::{
    ConversationEvent, HistoryVisibility, Kind, MemberRole, MessageDeleted, MessageEdited,
    MessageSent, Role, Said, Started,
};
use domain::user::{AvatarChanged, Registered, UserEvent};
use domain::values::{DisplayName, Handle, MediaType, MessageBody};
use domain::{
    Actor, CommandId, ConversationId, Event, Metadata, Personal, StreamName, UserId, Version,
};
use infra::blobs::{Declared, UploadId, Variant};
use infra::event_store::{Direction, Expected, MemoryEventStore, NewEvent};
use tempfile::TempDir;
use uuid::Uuid;

use crate::Projector;

const ALICE: UserId = UserId(Uuid::from_u128(1));
const ROOM: ConversationId = ConversationId(Uuid::from_u128(2));

fn file(number: u128) -> AttachmentId {
    AttachmentId(Uuid::from_u128(100 + number))
}

struct World {
    _folder: TempDir,
    store: Arc<dyn EventStore>,
    blobs: Blobs,
    clock: Clock,
    projector: Projector,
    collecting: Collecting,
    looked: Looked,
    commands: u128,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Clock::system().now());
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        let url = format!("sqlite:{}", folder.path().join("read.db").display());
        let database = Database::open(&url).await.unwrap();
        let blobs = Blobs::in_folder(&folder.path().join("blobs")).unwrap();
        let projector = Projector::new(Arc::clone(&store), database.clone(), clock.clone());
        let collecting =
            Collecting::new(Arc::clone(&store), database, blobs.clone(), clock.clone());
        let mut world = Self {
            _folder: folder,
            store,
            blobs,
            clock,
            projector,
            collecting,
            looked: Looked::default(),
            commands: 0,
        };
        let registered = UserEvent::Registered(Registered {
            email: None,
            display_name: Personal::new(ALICE, DisplayName::parse("Alice").unwrap()),
            handle: Handle::parse("alice").unwrap(),
            imported_from: None,
        });
        world.append(StreamName::user(ALICE), registered).await;
        world
            .say(ConversationEvent::Started(Started {
                kind: Kind::Group,
                title: None,
                creator: None,
                members: vec![MemberRole {
                    user: ALICE,
                    role: Role::Owner,
                }],
                history_visibility: HistoryVisibility::Joined,
            }))
            .await;
        world
    }

    async fn append(&mut self, stream: StreamName, event: impl Into<Event>) -> Version {
        self.commands += 1;
        let metadata = Metadata {
            actor: Actor::User(ALICE),
            command_id: CommandId(Uuid::from_u128(1_000 + self.commands)),
            command_hash: "00".to_owned(),
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            occurred_at: None,
        };
        let event = NewEvent::encode(&event.into(), &metadata, 0).unwrap();
        let appended = self.store.append(&stream, Expected::Any, vec![event]);
        appended.await.unwrap().last_version()
    }

    async fn say(&mut self, event: ConversationEvent) -> Version {
        self.append(StreamName::conversation(ROOM), event).await
    }

    async fn upload(&mut self, number: u128) {
        let bytes = Bytes::from("tea");
        let id = file(number);
        self.blobs.put(id, Variant::Original, bytes).await.unwrap();
        let uploaded = AttachmentEvent::Uploaded(Uploaded {
            owner: ALICE,
            name: None,
            media_type: MediaType::parse("text/plain").unwrap(),
            size: 3,
            uploaded_size: None,
            sha256: "00".to_owned(),
            dimensions: None,
            thumbnail: None,
        });
        self.append(StreamName::attachment(id), uploaded).await;
    }

    async fn send(&mut self, numbers: &[u128]) -> Version {
        self.say(ConversationEvent::MessageSent(MessageSent {
            attachments: numbers.iter().map(|number| file(*number)).collect(),
            ..MessageSent::plain(ALICE, MessageBody::parse("tea").unwrap())
        }))
        .await
    }

    async fn delete(&mut self, message: Version) {
        let deleted = MessageDeleted {
            message,
            by: ALICE,
            reason: None,
        };
        self.say(ConversationEvent::MessageDeleted(deleted)).await;
    }

    async fn avatar(&mut self, number: Option<u128>) {
        let changed = AvatarChanged {
            avatar: number.map(file),
        };
        let changed = UserEvent::AvatarChanged(changed);
        self.append(StreamName::user(ALICE), changed).await;
    }

    /// Everything that follows from what happened until now.
    async fn collect(&mut self) {
        let stop = CancellationToken::new();
        let projecting = {
            let (projector, stop) = (self.projector.clone(), stop.clone());
            tokio::spawn(async move { projector.run(stop).await })
        };
        let mut head = self.store.head();
        loop {
            let before = *head.borrow_and_update();
            // The first look waits until the read models are there.
            self.collecting.look(&mut self.looked).await.unwrap();
            let models = wait_for(&self.collecting.database, &WITH_USES, before, WAIT_MAX);
            if models.await.is_err() {
                continue;
            }
            self.collecting.look(&mut self.looked).await.unwrap();
            if *head.borrow() == before {
                break;
            }
        }
        stop.cancel();
        projecting.await.unwrap().unwrap();
    }

    async fn types(&self, number: u128) -> Vec<String> {
        let stream = StreamName::attachment(file(number));
        let events = self
            .store
            .read_stream(&stream, Version(1), Direction::Forward, 10);
        let events = events.await.unwrap();
        events.iter().map(|it| it.event_type.to_string()).collect()
    }

    /// Whether it is there; else it was removed, erased, and both put on record.
    async fn is_there(&self, number: u128) -> bool {
        let found = self.blobs.get(file(number), Variant::Original, 0..3).await;
        let types = self.types(number).await;
        if found.unwrap().is_some() {
            assert_eq!(types, ["attachment-uploaded"]);
            return true;
        }
        let gone = [
            "attachment-uploaded",
            "attachment-removed",
            "attachment-erased",
        ];
        assert_eq!(types, gone);
        false
    }

    fn later(&self, by: TimeDelta) {
        self.clock.set(self.clock.now() + by);
    }
}

#[tokio::test]
async fn a_file_goes_with_the_last_message_that_has_it() {
    let mut world = World::new().await;
    for number in 1..=3 {
        world.upload(number).await;
    }
    let first = world.send(&[1, 2]).await;
    let forwarded = world.send(&[2]).await;
    world.delete(first).await;
    world.collect().await;
    assert!(!world.is_there(1).await);
    assert!(world.is_there(2).await, "another message has it");
    assert!(world.is_there(3).await, "it may still be sent");
    world.delete(forwarded).await;
    world.collect().await;
    assert!(!world.is_there(2).await);
}

#[tokio::test]
async fn a_file_goes_with_the_edit_that_leaves_it_out() {
    let mut world = World::new().await;
    for number in 1..=2 {
        world.upload(number).await;
    }
    let message = world.send(&[1]).await;
    for attachments in [None, Some(vec![file(2)])] {
        assert!(world.is_there(1).await);
        let edited = MessageEdited {
            message,
            said: Said::plain(ALICE, MessageBody::parse("cake").unwrap()),
            attachments,
        };
        world.say(ConversationEvent::MessageEdited(edited)).await;
        world.collect().await;
    }
    assert!(!world.is_there(1).await);
    assert!(world.is_there(2).await);
}

#[tokio::test]
async fn what_was_never_used_goes_after_a_day() {
    let mut world = World::new().await;
    for number in 1..=2 {
        world.upload(number).await;
    }
    world.send(&[2]).await;
    world.later(TimeDelta::hours(24));
    world.collect().await;
    assert!(world.is_there(1).await);
    world.later(TimeDelta::hours(2));
    world.collect().await;
    assert!(!world.is_there(1).await);
    assert!(world.is_there(2).await);
}

#[tokio::test]
async fn a_picture_of_somebody_goes_when_they_have_another() {
    let mut world = World::new().await;
    world.upload(1).await;
    world.avatar(Some(1)).await;
    world.later(TimeDelta::hours(26));
    world.upload(2).await;
    world.collect().await;
    assert!(world.is_there(1).await);
    world.avatar(Some(2)).await;
    world.avatar(None).await;
    world.avatar(Some(2)).await;
    world.collect().await;
    assert!(!world.is_there(1).await);
    assert!(world.is_there(2).await, "it is theirs again");
}

#[tokio::test]
async fn what_its_owner_removed_is_erased() {
    let mut world = World::new().await;
    world.upload(1).await;
    let removed = AttachmentEvent::Removed(domain::attachment::Removed {
        why: RemovedBecause::Asked,
    });
    world.append(StreamName::attachment(file(1)), removed).await;
    world.collect().await;
    assert!(!world.is_there(1).await);
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_are_erased() {
    let world = World::new().await;
    let uploads = world.blobs.uploads();
    let id = UploadId {
        owner: ALICE,
        id: file(1),
    };
    uploads.begin(id, 7, &Declared::default()).await.unwrap();
    world.collecting.discard_uploads().await.unwrap();
    assert!(uploads.find(id).await.unwrap().is_some());
    // Files have the machine's time.
    let real: DateTime<Utc> = Clock::system().now();
    world.clock.set(real + TimeDelta::hours(26));
    world.collecting.discard_uploads().await.unwrap();
    assert!(uploads.find(id).await.unwrap().is_none());
}
