//! Every event that was ever stored, as it was stored: `fixtures/{type}.{schema}.json` holds the
//! `data` of one event. A fixture is never changed and never removed; a new event or schema gets a
//! new one, and optional fields that came later are in one beside it, `{type}.{schema}.{what}.json`.
//! `VERBATIM_WRITE_FIXTURES=1 cargo test -p domain fixtures` writes those that are missing
//! from [`samples`] and [`later_samples`] and leaves the others alone.

mod later;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use self::later::later_samples;
use crate::attachment::{self, AttachmentEvent, Dimensions, Erased, Removed, Thumbnail, Uploaded};
use crate::audit::{AuditEvent, Exported, Replayed, Selection};
use crate::conversation::{
    ArchiveChanged, ChannelKind, ConversationEvent, FollowChanged, HistoryVisibility, Kind,
    MemberAdded, MemberLeft, MemberRemoved, MemberRoleChanged, MessageDeleted, MessageEdited,
    MessageSent, PinChanged, Reaction, Renamed, Role, Said, SettingsChanged, SpaceFollowed,
    Started,
};
use crate::event::{Actor, Event};
use crate::ids::{
    AttachmentId, CategoryId, CommandId, ConversationId, InviteId, PasskeyId, Position,
    PushSubscriptionId, ServiceId, SessionId, SpaceId, SpaceRoleId, Version,
};
use crate::mail::{GivenUp, GivenUpBecause, MailEvent, Sent};
use crate::notifications::{
    self, ClockTime, DigestIssued, Level, NotificationsEvent, PushSubscriptionAdded,
    PushSubscriptionRemoved, QuietHours, ReadUpTo, RemovedBecause, Rule, RuleChanged, Settings,
    Weekday,
};
use crate::owners::{OwnerChanged, OwnersEvent};
use crate::personal::Personal;
use crate::pushes::{
    Part, Progress, PushesEvent, QuietPart, RetriesChanged, Settled, Untold, Waiting,
};
use crate::receipts::{MarkedUpTo, ReceiptsEvent, ThreadMarkedUpTo};
use crate::reservation::{Held, ReservationEvent};
use crate::service::{self, Scope, ServiceEvent, TokenIssued};
use crate::session::{Factor, Opened, Refreshed, Revoked, RevokedBecause, SessionEvent};
use crate::space::{
    self, CategoryRemoved, CategorySet, ChannelCreated, ChannelMoved, ChannelRemoved,
    ChannelRenamed, InviteCreated, InviteRevoked, InviteUsed, Joining, JoiningChanged, OverrideSet,
    OwnershipTransferred, Permission, Permissions, RoleGiven, RoleRemoved, RoleSet,
    SpaceArchiveChanged, SpaceEvent, SpaceMemberBanned, SpaceMemberJoined, SpaceMemberKicked,
    SpaceMemberLeft, SpaceMemberUnbanned, SpaceRenamed, Target,
};
use crate::testing::conversation::{body, emoji, members, title};
use crate::testing::{ALICE, BOB, CAROL, moment};
use crate::user::code_budget::NetworkHash;
use crate::user::codes::{ChallengeHash, CodeHash, CodePurpose};
use crate::user::factors::{
    PasskeyAdded, PasskeyRemoved, PasskeyRenamed, PasskeyUsed, RecoveryCodeUsed, RecoveryCodesMade,
    SecondFactorRefused, SecondFactorsRemoved, Ticket, TotpBegun, TotpEnrolled, TotpRemoved,
    TotpUsed,
};
use crate::user::{
    AvatarChanged, BlockChanged, CodeDone, CodeIssued, Deactivated, EmailVerified,
    ExternalIdentityLinked, ExternalIdentityUnlinked, ExternalIdentityUpdated, LoggedOutEverywhere,
    PasswordSet, Preferences, PreferencesChanged, PresenceChosen, PrivacyChanged, ProfileChanged,
    Reactivated, Registered, Reinstated, ServiceAttached, Shown, ShownTo, Suspended, SystemRole,
    SystemRoleChanged, UnlinkedBecause, UserEvent,
};
use crate::values::{
    DisplayName, Email, FileName, Handle, IssuerName, MediaType, Reason, Subject, TimeZone,
};

/// One event of each type, every optional field given.
fn samples() -> Vec<Event> {
    let mut samples: Vec<Event> = Vec::new();
    samples.extend(conversation_samples().into_iter().map(Event::from));
    samples.extend(space_samples().into_iter().map(Event::from));
    samples.extend(user_samples().into_iter().map(Event::from));
    samples.extend(standing_samples().into_iter().map(Event::from));
    samples.extend(factor_samples().into_iter().map(Event::from));
    samples.extend(service_samples().into_iter().map(Event::from));
    samples.extend(notification_samples().into_iter().map(Event::from));
    samples.extend(push_samples().into_iter().map(Event::from));
    let owner = OwnerChanged { user: ALICE };
    samples.push(OwnersEvent::Added(owner.clone()).into());
    samples.push(OwnersEvent::Removed(owner).into());
    let mark = MarkedUpTo {
        member: ALICE,
        seq: Version(7),
        private: false,
    };
    samples.push(ReceiptsEvent::Delivered(mark.clone()).into());
    samples.push(ReceiptsEvent::Seen(mark).into());
    let thread_mark = ThreadMarkedUpTo {
        member: ALICE,
        thread: Version(2),
        seq: Version(7),
        private: false,
    };
    samples.push(ReceiptsEvent::ThreadSeen(thread_mark).into());
    let opened = Opened {
        user: ALICE,
        expires_at: moment(60),
        device: Some(Personal::new(ALICE, "phone".to_owned())),
        address: Some(Personal::new(ALICE, "192.0.2.1".to_owned())),
        refresh_hash: Some("00ff".to_owned()),
        login_epoch: 1,
        vouched_by: None,
        amr: [Factor::Password, Factor::Totp].into(),
    };
    samples.push(SessionEvent::Opened(opened).into());
    samples.extend(identity_samples().into_iter().map(Event::from));
    let refreshed = Refreshed {
        generation: 1,
        refresh_hash: "00ff".to_owned(),
        at: moment(30),
        device: Some(Personal::new(ALICE, "phone".to_owned())),
        address: Some(Personal::new(ALICE, "192.0.2.1".to_owned())),
    };
    samples.push(SessionEvent::Refreshed(refreshed).into());
    let because = RevokedBecause::LoggedOut;
    samples.push(SessionEvent::Revoked(Revoked { because }).into());
    samples.push(ReservationEvent::Claimed(Held { user: ALICE }).into());
    samples.push(ReservationEvent::Released(Held { user: ALICE }).into());
    let message_id = "0f8fad5b-d9cb-569f-a165-70867728950e@example.org".to_owned();
    let user = ALICE;
    samples.push(MailEvent::Sent(Sent { user, message_id }).into());
    let why = GivenUpBecause::Expired;
    samples.push(MailEvent::GivenUp(GivenUp { user, why }).into());
    samples.extend(attachment_samples().into_iter().map(Event::from));
    let selection = Selection {
        conversation: Some(ConversationId(BOB.0)),
        stream: None,
        after: Some(Position(1)),
        up_to: Some(Position(9)),
        since: Some(moment(0)),
        until: Some(moment(60)),
        actor: Some(ALICE),
        types: vec!["message-sent".to_owned()],
    };
    samples.push(AuditEvent::Replayed(Replayed { selection }).into());
    samples.push(AuditEvent::Exported(Exported { of: ALICE }).into());
    samples
}

fn attachment_samples() -> [AttachmentEvent; 3] {
    let media_type = |text| MediaType::parse(text).expect("a good type");
    let name = FileName::parse("tea.png").expect("a good name");
    let dimensions = |width, height| Dimensions { width, height };
    [
        AttachmentEvent::Uploaded(Uploaded {
            owner: ALICE,
            name: Some(Personal::new(ALICE, name)),
            media_type: media_type("image/png"),
            size: 70_000,
            uploaded_size: Some(70_500),
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            dimensions: Some(dimensions(1_280, 960)),
            thumbnail: Some(Thumbnail {
                media_type: media_type("image/jpeg"),
                size: 7_000,
                dimensions: dimensions(640, 480),
            }),
        }),
        AttachmentEvent::Removed(Removed {
            why: attachment::RemovedBecause::NoLongerUsed,
        }),
        AttachmentEvent::Erased(Erased {}),
    ]
}

fn space_samples() -> Vec<SpaceEvent> {
    let space = SpaceId(ALICE.0);
    let name = || Personal::new(ALICE, title("Tea"));
    let (by, user, position) = (ALICE, BOB, 2);
    let channel = ConversationId(BOB.0);
    let category = CategoryId(ALICE.0);
    let role = SpaceRoleId(BOB.0);
    let invite = InviteId(BOB.0);
    let some = Permissions::of(&[Permission::ViewChannel, Permission::SendMessages]);
    let set = CategorySet {
        category,
        name: name(),
        position,
    };
    let is = RoleSet {
        role,
        name: name(),
        permissions: Permissions::ALL,
        rank: 3,
        by,
    };
    let given = RoleGiven { user, role, by };
    let category_of = Some(category);
    vec![
        SpaceEvent::Created(space::Created {
            space,
            name: name(),
            owner: ALICE,
            joining: Joining::Invite,
            everyone: some,
        }),
        SpaceEvent::Renamed(SpaceRenamed { name: name() }),
        SpaceEvent::JoiningChanged(JoiningChanged {
            joining: Joining::Open,
            by,
        }),
        SpaceEvent::Archived(SpaceArchiveChanged { by }),
        SpaceEvent::Unarchived(SpaceArchiveChanged { by }),
        SpaceEvent::ChannelCreated(ChannelCreated {
            channel,
            kind: ChannelKind::Voice,
            name: name(),
            category: category_of,
            position,
        }),
        SpaceEvent::ChannelRenamed(ChannelRenamed {
            channel,
            name: name(),
        }),
        SpaceEvent::ChannelMoved(ChannelMoved {
            channel,
            category: category_of,
            position,
            by,
        }),
        SpaceEvent::ChannelRemoved(ChannelRemoved {
            channel,
            kind: ChannelKind::Voice,
            creator: BOB,
            by,
        }),
        SpaceEvent::CategoryCreated(set.clone()),
        SpaceEvent::CategoryChanged(set),
        SpaceEvent::CategoryRemoved(CategoryRemoved { category, by }),
        SpaceEvent::RoleDefined(is.clone()),
        SpaceEvent::RoleChanged(is),
        SpaceEvent::RoleRemoved(RoleRemoved { role, by }),
        SpaceEvent::RoleAssigned(given.clone()),
        SpaceEvent::RoleWithdrawn(given),
        SpaceEvent::OverrideSet(OverrideSet {
            channel,
            target: Target::Member(BOB),
            allow: some,
            deny: Permissions::of(&[Permission::Speak]),
            by,
        }),
        SpaceEvent::MemberJoined(SpaceMemberJoined {
            user,
            invite: Some(invite),
        }),
        SpaceEvent::MemberLeft(SpaceMemberLeft { user }),
        SpaceEvent::MemberKicked(SpaceMemberKicked { user, by }),
        SpaceEvent::MemberBanned(SpaceMemberBanned {
            user,
            by,
            reason: Reason::parse("spam").ok().map(|it| Personal::new(by, it)),
        }),
        SpaceEvent::MemberUnbanned(SpaceMemberUnbanned { user, by }),
        SpaceEvent::InviteCreated(InviteCreated {
            invite,
            hash: "00ff".to_owned(),
            by,
            at: moment(0),
            expires_at: Some(moment(60)),
            uses_max: Some(5),
        }),
        SpaceEvent::InviteUsed(InviteUsed { invite, user }),
        SpaceEvent::InviteRevoked(InviteRevoked { invite, by }),
        SpaceEvent::OwnershipTransferred(OwnershipTransferred { to: BOB, by }),
    ]
}

fn follow_changed() -> FollowChanged {
    FollowChanged {
        thread: Version(2),
        member: BOB,
    }
}

fn conversation_samples() -> Vec<ConversationEvent> {
    let message = Version(2);
    let reaction = Reaction {
        message,
        member: BOB,
        emoji: emoji("🫖"),
    };
    vec![
        ConversationEvent::Started(Started {
            kind: Kind::Group,
            title: Some(Personal::new(ALICE, title("Tea"))),
            creator: Some(ALICE),
            members: members(&[(ALICE, Role::Owner), (BOB, Role::Member)]),
            history_visibility: HistoryVisibility::Joined,
            channel: None,
        }),
        ConversationEvent::Renamed(Renamed {
            title: Personal::new(ALICE, title("Coffee")),
        }),
        ConversationEvent::SettingsChanged(SettingsChanged {
            history_visibility: HistoryVisibility::Start,
            slow_mode_s: None,
            who_may_post: None,
        }),
        ConversationEvent::MemberAdded(MemberAdded {
            user: BOB,
            role: Role::Admin,
        }),
        ConversationEvent::MemberRemoved(MemberRemoved {
            user: BOB,
            by: ALICE,
        }),
        ConversationEvent::MemberLeft(MemberLeft { user: BOB }),
        ConversationEvent::MemberRoleChanged(MemberRoleChanged {
            user: BOB,
            role: Role::Owner,
        }),
        ConversationEvent::MessageSent(MessageSent {
            reply_to: Some(message),
            ..MessageSent::plain(BOB, body("tea?\n\u{1fad6} \"now\""))
        }),
        ConversationEvent::MessageEdited(MessageEdited {
            message,
            said: Said::plain(BOB, body("coffee?")),
            attachments: None,
        }),
        ConversationEvent::MessageDeleted(MessageDeleted {
            message,
            by: ALICE,
            reason: Some(Personal::new(
                ALICE,
                Reason::parse("off topic").expect("a good reason"),
            )),
        }),
        ConversationEvent::ReactionAdded(reaction.clone()),
        ConversationEvent::ReactionRemoved(reaction),
        ConversationEvent::MessagePinned(PinChanged { message, by: ALICE }),
        ConversationEvent::MessageUnpinned(PinChanged { message, by: BOB }),
        ConversationEvent::ThreadFollowed(follow_changed()),
        ConversationEvent::ThreadUnfollowed(follow_changed()),
        ConversationEvent::Archived(ArchiveChanged { by: ALICE }),
        ConversationEvent::Unarchived(ArchiveChanged { by: ALICE }),
        ConversationEvent::SpaceFollowed(SpaceFollowed {
            space_version: Version(7),
            more: true,
        }),
    ]
}

fn user_samples() -> Vec<UserEvent> {
    let name = DisplayName::parse("Alice").expect("a good name");
    let role = SystemRole::Auditor;
    let purpose = CodePurpose::ResetPassword;
    let done = CodeDone {
        purpose,
        challenge: Some(ChallengeHash::new("11ff".to_owned())),
    };
    let email = Personal::new(
        ALICE,
        Email::parse("alice@example.org").expect("a good address"),
    );
    vec![
        UserEvent::Registered(Registered {
            email: Some(email.clone()),
            display_name: Personal::new(ALICE, name.clone()),
            handle: Handle::parse("alice").expect("a good handle"),
            imported_from: Some("slack:U5213C2A7".to_owned()),
        }),
        UserEvent::ProfileChanged(ProfileChanged {
            display_name: Some(Personal::new(ALICE, name)),
            ..ProfileChanged::default()
        }),
        UserEvent::AvatarChanged(AvatarChanged {
            avatar: Some(AttachmentId(ALICE.0)),
        }),
        UserEvent::PasswordSet(PasswordSet {
            hash: Personal::new(ALICE, "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
        }),
        UserEvent::CodeIssued(CodeIssued {
            purpose,
            email: email.clone(),
            hash: CodeHash::new("00ff".to_owned()),
            challenge: done.challenge.clone(),
            asked_from: Some(NetworkHash::new("22ff".to_owned())),
            issued_at: moment(0),
            expires_at: moment(600),
        }),
        UserEvent::CodeRefused(done.clone()),
        UserEvent::CodeUsed(done),
        UserEvent::EmailVerified(EmailVerified { email }),
        UserEvent::SystemRoleGranted(SystemRoleChanged { role }),
        UserEvent::SystemRoleRevoked(SystemRoleChanged { role }),
        UserEvent::LoggedOutEverywhere(LoggedOutEverywhere {
            epoch: 1,
            kept: Some(SessionId(ALICE.0)),
        }),
    ]
}

fn standing_samples() -> Vec<UserEvent> {
    let object = serde_json::json!({"discoverable": false, "theme": "dark"});
    let preferences = object.as_object().cloned().unwrap_or_default();
    let preferences = Preferences::parse(preferences).expect("good preferences");
    let by = Actor::User(BOB);
    vec![
        UserEvent::PreferencesChanged(PreferencesChanged {
            preferences: Personal::new(ALICE, preferences),
        }),
        UserEvent::PrivacyChanged(PrivacyChanged {
            seen: Some(ShownTo::Nobody),
            last_seen: Some(ShownTo::Everyone),
        }),
        UserEvent::PresenceChosen(PresenceChosen {
            shown: Shown::Invisible,
            until: Some(moment(60)),
        }),
        UserEvent::Blocked(BlockChanged { user: BOB }),
        UserEvent::Unblocked(BlockChanged { user: BOB }),
        UserEvent::Suspended(Suspended {
            by,
            until: Some(moment(60)),
            why: Reason::parse("spam")
                .ok()
                .map(|why| Personal::new(ALICE, why)),
        }),
        UserEvent::Reinstated(Reinstated { by }),
        UserEvent::Deactivated(Deactivated {}),
        UserEvent::Reactivated(Reactivated {}),
        UserEvent::ServiceAttached(ServiceAttached {
            service: ServiceId(BOB.0),
        }),
    ]
}

fn factor_samples() -> Vec<UserEvent> {
    let (enrolment, set, passkey) = (CommandId(ALICE.0), CommandId(BOB.0), PasskeyId(BOB.0));
    let (at, challenged_at) = (moment(60), moment(30));
    let ticket = Some(Ticket {
        login: CommandId(BOB.0),
        expires_at: moment(300),
    });
    let personal = |text: &str| Personal::new(ALICE, text.to_owned());
    let name = Personal::new(ALICE, DisplayName::parse("Key ring").expect("a good name"));
    let used = PasskeyUsed {
        passkey,
        sign_count: 7,
        challenged_at,
        at,
        ticket: ticket.clone(),
    };
    vec![
        UserEvent::TotpBegun(TotpBegun {
            enrolment,
            expires_at: moment(900),
        }),
        UserEvent::TotpEnrolled(TotpEnrolled {
            enrolment,
            step: 56_666_667,
        }),
        UserEvent::TotpUsed(TotpUsed {
            step: 56_666_668,
            at,
            ticket: ticket.clone(),
        }),
        UserEvent::TotpRemoved(TotpRemoved {}),
        UserEvent::RecoveryCodesMade(RecoveryCodesMade { set }),
        UserEvent::RecoveryCodeUsed(RecoveryCodeUsed {
            set,
            number: 9,
            at,
            ticket: ticket.clone(),
        }),
        UserEvent::PasskeyAdded(PasskeyAdded {
            passkey,
            name: name.clone(),
            credential_id: personal("AQID"),
            credential: personal("{}"),
            sign_count: 1,
            challenged_at,
            at,
        }),
        UserEvent::PasskeyRenamed(PasskeyRenamed { passkey, name }),
        UserEvent::PasskeyUsed(used.clone()),
        UserEvent::PasskeySuspected(used),
        UserEvent::PasskeyRemoved(PasskeyRemoved { passkey, at }),
        UserEvent::SecondFactorRefused(SecondFactorRefused {
            factor: Factor::RecoveryCode,
            at,
            ticket,
        }),
        UserEvent::SecondFactorsRemoved(SecondFactorsRemoved {
            by: Actor::Operator,
            at,
        }),
    ]
}

fn notification_samples() -> Vec<NotificationsEvent> {
    let time = |text| ClockTime::parse(text).expect("a time");
    let settings = Settings {
        direct: Level::All,
        groups: Some(Level::Mentions),
        quiet_hours: Some(QuietHours {
            time_zone: TimeZone::parse("Europe/Berlin").expect("a zone"),
            from: time("22:00"),
            until: time("07:30"),
            days: [Weekday::Sunday, Weekday::Monday].into(),
        }),
        digest_after_s: Some(86_400),
        include_text: true,
    };
    let subscription = PushSubscriptionId(CAROL.0);
    vec![
        NotificationsEvent::RuleChanged(RuleChanged {
            conversation: ConversationId(BOB.0),
            rule: Rule {
                level: Some(Level::None),
                muted_until: Some(moment(60)),
            },
        }),
        NotificationsEvent::SettingsChanged(notifications::SettingsChanged {
            settings: Personal::new(ALICE, settings),
        }),
        NotificationsEvent::ReadUpTo(ReadUpTo {
            position: Position(7),
        }),
        NotificationsEvent::PushSubscriptionAdded(PushSubscriptionAdded {
            subscription,
            target: Personal::new(ALICE, "AAECAwQFBgc".to_owned()),
            mark: "9f86d081884c7d65".to_owned(),
            session: SessionId(BOB.0),
            at: moment(0),
        }),
        NotificationsEvent::PushSubscriptionRemoved(PushSubscriptionRemoved {
            subscription,
            because: RemovedBecause::Gone,
        }),
        NotificationsEvent::DigestIssued(DigestIssued {
            email: Personal::new(ALICE, Email::parse("alice@example.org").expect("good")),
            issued_at: moment(0),
            expires_at: moment(600),
        }),
    ]
}

fn push_samples() -> Vec<PushesEvent> {
    vec![
        PushesEvent::Settled(Settled {
            progress: Progress {
                up_to: Position(7),
                part: Some(Part {
                    position: Position(9),
                    user: ALICE,
                }),
                quiet_until: moment(0),
                quiet_part: Some(QuietPart {
                    until: moment(60),
                    user: BOB,
                }),
            },
            sent: 2,
        }),
        PushesEvent::RetriesChanged(RetriesChanged {
            waiting: vec![Waiting {
                user: ALICE,
                subscription: PushSubscriptionId(CAROL.0),
                failing_since: moment(0),
                untold: Some(Untold {
                    since: moment(0),
                    after: Position(6),
                }),
            }],
        }),
    ]
}

fn service_samples() -> Vec<ServiceEvent> {
    let by = Actor::Service(ServiceId(BOB.0));
    vec![
        ServiceEvent::Created(service::Created {
            name: DisplayName::parse("Reminders").expect("a good name"),
            scopes: [Scope::Bot].into(),
            account: Some(ALICE),
            by,
        }),
        ServiceEvent::TokenIssued(TokenIssued {
            generation: 1,
            hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            expires_at: Some(moment(60)),
        }),
        ServiceEvent::Revoked(service::Revoked { by }),
    ]
}

fn identity_samples() -> Vec<UserEvent> {
    let issuer = IssuerName::parse("google").expect("a good name");
    let subject = Subject::parse("110169484474386276334").expect("a good subject");
    let subject = Personal::new(ALICE, subject);
    let email = Email::parse("alice@example.org").expect("a good address");
    let email = Some(Personal::new(ALICE, email));
    let name = DisplayName::parse("Alice").expect("a good name");
    vec![
        UserEvent::ExternalIdentityLinked(ExternalIdentityLinked {
            issuer: issuer.clone(),
            subject: subject.clone(),
            email: email.clone(),
            as_of: Some(moment(0)),
        }),
        UserEvent::ExternalIdentityUpdated(ExternalIdentityUpdated {
            issuer: issuer.clone(),
            as_of: moment(1),
            display_name: Some(Personal::new(ALICE, name)),
            email,
        }),
        UserEvent::ExternalIdentityUnlinked(ExternalIdentityUnlinked {
            issuer,
            subject,
            because: UnlinkedBecause::DeletedByIssuer,
            as_of: Some(moment(2)),
        }),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The stored `data` by type, schema and what was added.
fn fixtures() -> BTreeMap<(String, u16, String), Vec<u8>> {
    fs::read_dir(folder())
        .expect("there is a folder of fixtures")
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|stem| stem.split_once('.'))
                .and_then(|(event_type, rest)| {
                    let (schema, what) = rest.split_once('.').unwrap_or((rest, ""));
                    Some((event_type.to_owned(), schema.parse().ok()?, what.to_owned()))
                })
                .unwrap_or_else(|| panic!("{} is not {{type}}.{{schema}}.json", path.display()));
            let data = fs::read(&path).expect("a fixture can be read");
            (name, data)
        })
        .collect()
}

fn write_missing() {
    if std::env::var_os("VERBATIM_WRITE_FIXTURES").is_none() {
        return;
    }
    let later = later_samples().into_iter();
    let later = later.map(|(what, event)| (format!(".{what}"), event));
    let first = samples().into_iter().map(|event| (String::new(), event));
    for (what, event) in first.chain(later) {
        let name = format!("{}.{}{what}.json", event.event_type(), event.schema());
        let path = folder().join(name);
        if !path.exists() {
            let data = event.encode().expect("an event can be encoded");
            fs::write(path, data).expect("a fixture can be written");
        }
    }
}

#[test]
fn every_type_has_a_fixture_of_its_newest_schema() {
    write_missing();
    let fixtures = fixtures();
    let newest: BTreeMap<_, _> = samples()
        .iter()
        .map(|event| (event.event_type(), event.schema()))
        .collect();
    for event_type in Event::types() {
        let schema = newest.get(event_type).copied();
        let schema = schema.unwrap_or_else(|| panic!("samples() lacks {event_type}"));
        for schema in 1..=schema {
            assert!(
                fixtures.contains_key(&(event_type.to_owned(), schema, String::new())),
                "fixtures/{event_type}.{schema}.json is missing"
            );
        }
    }
}

#[test]
fn everything_that_was_ever_stored_is_read_and_the_newest_is_written_as_it_was() {
    write_missing();
    for ((event_type, schema, _), data) in fixtures() {
        let event = Event::decode(&event_type, schema, &data)
            .unwrap_or_else(|error| panic!("{event_type}.{schema}.json: {error}"));
        assert_eq!(event.event_type(), event_type);
        assert!(schema <= event.schema());
        if schema == event.schema() {
            let encoded = event.encode().expect("an event can be encoded");
            assert_eq!(
                String::from_utf8_lossy(&encoded),
                String::from_utf8_lossy(&data)
            );
        }
    }
}

#[test]
fn what_was_added_later_has_its_fixtures() {
    write_missing();
    let fixtures = fixtures();
    for (what, event) in later_samples() {
        let key = (
            event.event_type().to_owned(),
            event.schema(),
            what.to_owned(),
        );
        let stored = fixtures.get(&key);
        let stored = stored.unwrap_or_else(|| panic!("the fixture {key:?} is missing"));
        let decoded = Event::decode(&key.0, key.1, stored);
        assert_eq!(decoded.expect("a fixture can be read"), event);
    }
}

#[test]
fn stored_types_are_unique_and_kebab_case() {
    let mut types: Vec<_> = Event::types().collect();
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), count);
    for event_type in types {
        let kebab = event_type
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
        assert!(kebab, "{event_type}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (event_type, schema, data, message) in [
        (
            "message-sung",
            1,
            "{}",
            "unknown event type message-sung with schema 1",
        ),
        (
            "message-sent",
            99,
            "{}",
            "unknown event type message-sent with schema 99",
        ),
        (
            "member-left",
            1,
            "{}",
            "data of member-left with schema 1 cannot be read: missing field",
        ),
        (
            "member-left",
            1,
            "{",
            "data of member-left with schema 1 cannot be read: EOF",
        ),
    ] {
        let error = Event::decode(event_type, schema, data.as_bytes()).expect_err(message);
        assert!(error.to_string().starts_with(message), "{error}");
    }
}
