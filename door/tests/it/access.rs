//! Who may come through the door, and that auditors' readings are on the record.

use std::sync::Arc;

use domain::audit::{AuditEvent, Selection};
use domain::session::{Opened as SessionOpened, SessionEvent};
use domain::user::factors::TotpEnrolled;
use domain::user::{LoggedOutEverywhere, Registered, SystemRole, SystemRoleChanged, UserEvent};
use domain::values::{DisplayName, Handle};
use domain::{Actor, CommandId, Event, Metadata, Personal, SessionId, StreamName, UserId};
use door::{Deletes, Tls};
use eventstore::{
    AppendToStreamOptions, Authentication, Client, DeleteStreamOptions, Error, EventData,
    ReadAllOptions, ReadStreamOptions, StreamMetadataBuilder, StreamPosition,
    SubscribeToStreamOptions, TombstoneStreamOptions,
};
use infra::auth::Tokens;
use infra::clock::{Clock, fresh_id};
use infra::event_store::{Direction, EventStore, Expected, MemoryEventStore, NewEvent};
use infra::keys::Secret;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use crate::harness::{Opened, PASSWORD, SECRET, SERVICE_TOKEN};

struct World {
    store: Arc<dyn EventStore>,
    clock: Clock,
    door: Opened,
}

impl World {
    async fn new(deletes: Deletes) -> Self {
        let clock = Clock::system();
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
        let door = Opened::on(Arc::clone(&store), clock.clone(), deletes).await;
        Self { store, clock, door }
    }

    async fn append(&self, stream: StreamName, event: impl Into<Event>) {
        let event = NewEvent::encode(&event.into(), &metadata(), 0).unwrap();
        let appended = self.store.append(&stream, Expected::Any, vec![event]).await;
        appended.unwrap();
    }

    /// Somebody with these roles, and an access token of theirs.
    async fn person(&self, handle: &str, roles: &[SystemRole]) -> (UserId, String) {
        let (user, session) = (UserId(fresh_id()), SessionId(fresh_id()));
        let registered = Registered {
            email: None,
            display_name: Personal::new(user, DisplayName::parse(handle).unwrap()),
            handle: Handle::parse(handle).unwrap(),
            imported_from: None,
        };
        self.append(StreamName::user(user), UserEvent::Registered(registered))
            .await;
        for role in roles {
            let change = SystemRoleChanged { role: *role };
            self.append(StreamName::user(user), UserEvent::SystemRoleGranted(change))
                .await;
        }
        let (now, until) = (
            self.clock.now(),
            self.clock.now() + chrono::TimeDelta::hours(1),
        );
        let opened = SessionOpened {
            user,
            expires_at: until,
            device: None,
            address: None,
            refresh_hash: None,
            login_epoch: 0,
            vouched_by: None,
            amr: [].into(),
        };
        self.append(StreamName::session(session), SessionEvent::Opened(opened))
            .await;
        let tokens = Tokens::new(&Secret::new(SECRET)).unwrap();
        (user, tokens.sign(user, session, now, until).unwrap())
    }

    fn client(&self, login: &str, password: &str) -> Client {
        Client::new(self.door.url_of(login, password).parse().unwrap()).unwrap()
    }

    /// A client that sends nothing by itself.
    fn anonymous(&self) -> Client {
        let url = format!(
            "kurrentdb://127.0.0.1:{}?tls=false&discoveryInterval=1",
            self.door.port
        );
        Client::new(url.parse().unwrap()).unwrap()
    }

    /// What auditors are recorded to have read.
    async fn record(&self) -> Vec<(Actor, Selection)> {
        let stream = StreamName::audit();
        let events = self
            .store
            .read_stream(&stream, domain::Version(1), Direction::Forward, 100)
            .await;
        let read = |event: &Arc<infra::event_store::RecordedEvent>| {
            let Ok(Event::Audit(AuditEvent::Replayed(replayed))) = event.event() else {
                panic!("{event:?}");
            };
            (event.metadata().unwrap().actor, replayed.selection)
        };
        events.unwrap().iter().map(read).collect()
    }
}

fn metadata() -> Metadata {
    Metadata {
        actor: Actor::System,
        command_id: CommandId(fresh_id()),
        command_hash: "00".to_owned(),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    }
}

fn event() -> EventData {
    EventData::json("noted", &json!({})).unwrap()
}

async fn try_read(client: &Client, options: &ReadAllOptions) -> Result<usize, Error> {
    let mut stream = client.read_all(options).await?;
    let mut count = 0;
    while stream.next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_alone_lets_nobody_in_who_has_a_second_factor() {
    let world = World::new(Deletes::Refused).await;
    let (ann, token) = world.person("ann", &[SystemRole::Auditor]).await;
    let with_password = world.client(&ann.to_string(), PASSWORD);
    let options = ReadAllOptions::default();
    assert!(try_read(&with_password, &options).await.is_ok());
    let enrolled = TotpEnrolled {
        enrolment: CommandId(ann.0),
        step: 1,
    };
    let enrolled = UserEvent::TotpEnrolled(enrolled);
    world.append(StreamName::user(ann), enrolled).await;
    let refused = try_read(&with_password, &options).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    let bearing = options.authenticated(Authentication::bearer(token));
    assert!(try_read(&world.anonymous(), &bearing).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_auditors_and_services_come_in() {
    let world = World::new(Deletes::Refused).await;
    let (ann, token) = world.person("ann", &[SystemRole::Auditor]).await;
    let (bob, bobs_token) = world.person("bob", &[SystemRole::Admin]).await;
    let bearing = |token: &str| {
        ReadAllOptions::default().authenticated(Authentication::bearer(token.to_owned()))
    };
    let anonymous = world.anonymous();
    assert!(try_read(&anonymous, &bearing(&token)).await.is_ok());
    assert!(
        try_read(&anonymous, &bearing(crate::harness::SERVICE_TOKEN))
            .await
            .is_ok()
    );
    let with_password = world.client(&ann.to_string(), PASSWORD);
    assert!(
        try_read(&with_password, &ReadAllOptions::default())
            .await
            .is_ok()
    );
    assert!(
        try_read(&with_password, &ReadAllOptions::default())
            .await
            .is_ok()
    );
    let wrong = [
        try_read(&anonymous, &ReadAllOptions::default()).await,
        try_read(&anonymous, &bearing(&bobs_token)).await,
        try_read(&anonymous, &bearing("nonsense")).await,
        try_read(
            &world.client(&bob.to_string(), PASSWORD),
            &ReadAllOptions::default(),
        )
        .await,
        try_read(
            &world.client(&ann.to_string(), "wrong"),
            &ReadAllOptions::default(),
        )
        .await,
        try_read(
            &world.client("service", "wrong"),
            &ReadAllOptions::default(),
        )
        .await,
    ];
    for refused in wrong {
        assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
    }
    let recorded = world.record().await;
    assert_eq!(
        recorded.len(),
        3,
        "refusals and services are not recorded: {recorded:?}"
    );
    assert!(recorded.iter().all(|(actor, _)| *actor == Actor::User(ann)));

    // The role is asked for with every call, also where the password is remembered.
    let revoked = UserEvent::SystemRoleRevoked(SystemRoleChanged {
        role: SystemRole::Auditor,
    });
    world.append(StreamName::user(ann), revoked).await;
    let refused = try_read(&with_password, &ReadAllOptions::default()).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_password_is_worth_nothing_once_all_logins_were_ended() {
    let world = World::new(Deletes::Refused).await;
    let (ann, _) = world.person("ann", &[SystemRole::Auditor]).await;
    let with_password = world.client(&ann.to_string(), PASSWORD);
    let all = ReadAllOptions::default();
    assert!(try_read(&with_password, &all).await.is_ok());
    let out = UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
        epoch: 1,
        kept: None,
    });
    world.append(StreamName::user(ann), out).await;
    // Whoever checks passwords here knows of no epoch but the first.
    let refused = try_read(&with_password, &all).await;
    assert!(matches!(refused, Err(Error::AccessDenied)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reading_of_an_auditor_is_recorded_before_it_begins() {
    let world = World::new(Deletes::Refused).await;
    let (ann, _) = world.person("ann", &[SystemRole::Auditor]).await;
    let service = world.door.client();
    service
        .append_to_stream("orders-1", &AppendToStreamOptions::default(), event())
        .await
        .unwrap();
    let client = world.client(&ann.to_string(), PASSWORD);
    let mut stream = client
        .read_stream("orders-1", &ReadStreamOptions::default())
        .await
        .unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let from_start = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut follower = client.subscribe_to_stream("orders-1", &from_start).await;
    follower.next().await.unwrap();
    try_read(&client, &ReadAllOptions::default()).await.unwrap();
    let selections: Vec<_> = world
        .record()
        .await
        .into_iter()
        .map(|(_, what)| what)
        .collect();
    let orders = Some(StreamName::parse("orders-1").unwrap());
    assert_eq!(selections.len(), 3);
    assert_eq!(
        (&selections[0].stream, &selections[1].stream),
        (&orders, &orders)
    );
    assert_eq!((&selections[2].stream, selections[2].after), (&None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_may_be_sealed() {
    let names = ["localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cert.pem");
    std::fs::write(&file, cert.pem()).unwrap();
    let tls = Tls {
        certificates: cert.pem().into(),
        key: signing_key.serialize_pem().into(),
    };
    let clock = Clock::system();
    let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
    let door = Opened::with_tls(0, store, clock, Deletes::Refused, Some(tls)).await;
    let open = |options: &str| {
        let url = format!(
            "kurrentdb://service:{SERVICE_TOKEN}@localhost:{}?discoveryInterval=1{options}",
            door.port
        );
        Client::new(url.parse().unwrap()).unwrap()
    };
    let trusting = open(&format!("&tlsCaFile={}", file.display()));
    assert_eq!(
        try_read(&trusting, &ReadAllOptions::default())
            .await
            .unwrap(),
        0
    );
    for options in ["", "&tls=false"] {
        let refused = try_read(&open(options), &ReadAllOptions::default()).await;
        assert!(
            matches!(refused, Err(Error::GrpcConnectionError(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_do_not_write() {
    let world = World::new(Deletes::Allowed).await;
    let (ann, _) = world.person("ann", &[SystemRole::Auditor]).await;
    let client = world.client(&ann.to_string(), PASSWORD);
    let head = *world.store.head().borrow();
    let append = client
        .append_to_stream("orders-1", &AppendToStreamOptions::default(), event())
        .await;
    assert!(matches!(append, Err(Error::AccessDenied)), "{append:?}");
    let delete = client
        .delete_stream("orders-1", &DeleteStreamOptions::default())
        .await;
    assert!(matches!(delete, Err(Error::AccessDenied)), "{delete:?}");
    assert_eq!(*world.store.head().borrow(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_where_that_is_not_allowed() {
    for (deletes, stream) in [
        (Deletes::Refused, "orders-1".to_owned()),
        (Deletes::Allowed, format!("conversation-{}", fresh_id())),
        (Deletes::Allowed, "audit".to_owned()),
    ] {
        let world = World::new(deletes).await;
        let client = world.door.client();
        let options = AppendToStreamOptions::default();
        let appended = client.append_to_stream("orders-1", &options, event()).await;
        appended.unwrap();
        let head = *world.store.head().borrow();
        let delete = client
            .delete_stream(&*stream, &DeleteStreamOptions::default())
            .await;
        assert!(matches!(delete, Err(Error::AccessDenied)), "{delete:?}");
        let tombstone = client
            .tombstone_stream(&*stream, &TombstoneStreamOptions::default())
            .await;
        assert!(
            matches!(tombstone, Err(Error::AccessDenied)),
            "{tombstone:?}"
        );
        for hiding in [
            StreamMetadataBuilder::new().truncate_before(1).build(),
            StreamMetadataBuilder::new().max_count(1).build(),
        ] {
            let hidden = client
                .set_stream_metadata(&*stream, &options, &hiding)
                .await;
            assert!(matches!(hidden, Err(Error::AccessDenied)), "{hidden:?}");
        }
        let by_hand = EventData::json("$streamDeleted", &json!({})).unwrap();
        let by_hand = client.append_to_stream("orders-1", &options, by_hand).await;
        assert!(matches!(by_hand, Err(Error::AccessDenied)), "{by_hand:?}");
        assert_eq!(*world.store.head().borrow(), head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_streams_take_our_events_only() {
    let world = World::new(Deletes::Refused).await;
    let client = world.door.client();
    let user = StreamName::user(UserId(fresh_id()));
    let options = AppendToStreamOptions::default();
    let foreign = client
        .append_to_stream(user.as_str(), &options, event())
        .await;
    assert!(matches!(foreign, Err(Error::AccessDenied)), "{foreign:?}");
    let mut ours = serde_json::to_value(metadata()).unwrap();
    ours["schema"] = 1.into();
    let data = json!({"role": "auditor"});
    let ours = EventData::json("system-role-granted", &data)
        .unwrap()
        .metadata_as_json(&ours)
        .unwrap();
    client
        .append_to_stream(user.as_str(), &options, ours)
        .await
        .unwrap();
    let stored = world
        .store
        .read_stream(&user, domain::Version(1), Direction::Forward, 1)
        .await
        .unwrap();
    assert_eq!(stored[0].schema, 1);
    assert!(matches!(stored[0].event(), Ok(Event::User(_))));
    assert_eq!(stored[0].metadata().unwrap().actor, Actor::System);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_incomplete_is_refused_with_words() {
    let world = World::new(Deletes::Refused).await;
    let client = world.door.client();
    let options = AppendToStreamOptions::default();
    let large = EventData::binary("blob", vec![0; 600 * 1024].into());
    let events = vec![large.clone(), large.clone()];
    let refused = client.append_to_stream("blobs", &options, events).await;
    match refused {
        Err(Error::Grpc { code, message }) => {
            assert_eq!(code as i32, 3);
            assert!(message.starts_with("Maximum Append Size"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    client
        .append_to_stream("blobs", &options, large)
        .await
        .unwrap();
    for stream in ["", "$all", "$ce-blobs", &"s".repeat(201)] {
        let refused = client.append_to_stream(stream, &options, event()).await;
        assert!(refused.is_err(), "{stream}");
    }
}
