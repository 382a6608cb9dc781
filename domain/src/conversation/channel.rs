//! Channels: conversations of a space. The space says who is in one, what it is called and whether it is
//! closed; the channel follows in its own stream, so that its history is whole by itself. What its
//! members may do comes with each command, as the space has it.

use std::collections::BTreeSet;

use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{
    ArchiveChanged, ChannelKind, ChannelOf, ConversationEvent, HistoryVisibility, Kind,
    MemberAdded, MemberLeft, MemberRemoved, MemberRole, Renamed, Role, SpaceFollowed, Started,
};
use crate::conversation::refused::Refused;
use crate::conversation::state::{Settings, State};
use crate::ids::{SpaceId, UserId, Version};
use crate::personal::Personal;
use crate::space::Permission;
use crate::values::Title;

impl Conversation {
    /// The most members who come and go in one step of following a space. A longer way is gone in
    /// several, of which the last says that it is done.
    pub const FOLLOW_MEMBERS_MAX: usize = 2_000;
}

/// What a channel is by its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelNow {
    /// Of which space.
    pub space: SpaceId,
    /// Text or voice.
    pub kind: ChannelKind,
    /// The event of the space that changed the channel last.
    pub version: Version,
    /// Who made it.
    pub by: UserId,
    /// What it is called, and who named it; `None` of one that is gone.
    pub title: Option<(UserId, Title)>,
    /// Who sees it.
    pub members: BTreeSet<UserId>,
    /// Whether it is closed.
    pub archived: bool,
}

impl ChannelNow {
    /// A channel that `space` does not have any more, as of its event `version`.
    pub const fn gone(space: SpaceId, version: Version, by: UserId) -> Self {
        Self {
            space,
            kind: ChannelKind::Text,
            version,
            by,
            title: None,
            members: BTreeSet::new(),
            archived: true,
        }
    }
}

/// The next step to what the channel is `now`. What is not newer than what the channel has followed comes
/// late, and changes nothing: so nobody who was put out comes back by it.
pub(super) fn follow(state: &State, now: &ChannelNow) -> Decision {
    let Some(settings) = &state.settings else {
        return Ok(start(now));
    };
    let channel = settings.channel.filter(|it| it.space == now.space);
    let channel = channel.ok_or(Refused::AlreadyStarted)?;
    if now.version <= channel.space_version {
        return Ok(vec![]);
    }
    let mut events = members(state, now);
    let is_last = events.len() <= Conversation::FOLLOW_MEMBERS_MAX;
    events.truncate(Conversation::FOLLOW_MEMBERS_MAX);
    events.extend(renamed(settings, now));
    events.extend(closed(settings, now));
    if events.is_empty() && now.title.is_none() {
        // What is gone changes no more.
        return Ok(events);
    }
    if is_last {
        events.push(ConversationEvent::SpaceFollowed(SpaceFollowed {
            space_version: now.version,
        }));
    }
    Ok(events)
}

/// One that is gone before it began begins too, and is closed: so nobody begins it who comes late.
fn start(now: &ChannelNow) -> Vec<ConversationEvent> {
    let member = |user: &UserId| MemberRole {
        user: *user,
        role: Role::Member,
    };
    let title = now.title.clone();
    let started = ConversationEvent::Started(Started {
        kind: Kind::Channel,
        title: title.map(|(of, title)| Personal::new(of, title)),
        creator: Some(now.by),
        members: now.members.iter().map(member).collect(),
        history_visibility: HistoryVisibility::Start,
        channel: Some(ChannelOf {
            space: now.space,
            kind: now.kind,
            space_version: now.version,
        }),
    });
    let closed = ConversationEvent::Archived(ArchiveChanged { by: now.by });
    let closed = now.archived.then_some(closed);
    std::iter::once(started).chain(closed).collect()
}

/// Who goes, then who comes.
fn members(state: &State, now: &ChannelNow) -> Vec<ConversationEvent> {
    let by = now.by;
    let out = state
        .members
        .keys()
        .filter(|user| !now.members.contains(user));
    let out = out.copied().map(|user| {
        if user == by {
            ConversationEvent::MemberLeft(MemberLeft { user })
        } else {
            ConversationEvent::MemberRemoved(MemberRemoved { user, by })
        }
    });
    let members = now.members.iter().copied();
    let new = members.filter(|user| !state.members.contains_key(user));
    let new = new.map(|user| {
        let role = Role::Member;
        ConversationEvent::MemberAdded(MemberAdded { user, role })
    });
    out.chain(new).collect()
}

fn renamed(settings: &Settings, now: &ChannelNow) -> Option<ConversationEvent> {
    let (of, title) = now.title.as_ref()?;
    if settings.title.as_ref() == Some(title) {
        return None;
    }
    let title = Personal::new(*of, title.clone());
    Some(ConversationEvent::Renamed(Renamed { title }))
}

fn closed(settings: &Settings, now: &ChannelNow) -> Option<ConversationEvent> {
    let changed = ArchiveChanged { by: now.by };
    match (settings.archived, now.archived) {
        (false, true) => Some(ConversationEvent::Archived(changed)),
        (true, false) => Some(ConversationEvent::Unarchived(changed)),
        (true, true) | (false, false) => None,
    }
}

impl Asker<'_> {
    /// Whether the asker may what needs `permission`, in a channel; elsewhere roles decide.
    pub(super) fn needs_in_channel(&self, permission: Permission) -> Result<(), Refused> {
        match self.settings.kind {
            Kind::Channel if !self.allowed.has(permission) => {
                Err(Refused::PermissionMissing(permission))
            }
            Kind::Channel | Kind::Direct | Kind::Group => Ok(()),
        }
    }

    /// Whether the asker keeps others in order here: waits for nobody, and writes where few may.
    pub(super) fn keeps_order(&self) -> bool {
        match self.settings.kind {
            Kind::Channel => self.allowed.has(Permission::ManageMessages),
            Kind::Direct | Kind::Group => self.role >= Role::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::ChannelNow;
    use crate::conversation::{
        Act, ArchiveChanged, ChannelKind, Command, Contact, Content, ContentKind, Conversation,
        ConversationEvent, Draft, Kind, MemberAdded, MemberLeft, MemberRemoved, Mention,
        MessageFact, Refused, Role, SettingsChange, SpaceFollowed, State, UserCommand, WhoMayPost,
    };
    use crate::ids::{AttachmentId, SpaceId, UserId, Version};
    use crate::space::{Permission, Permissions};
    use crate::testing::conversation::{body, emoji, given, group_of, sent, title};
    use crate::testing::{ALICE, BOB, CAROL, Given, moment, user};

    fn space() -> SpaceId {
        SpaceId(ALICE.0)
    }

    fn now(version: u64, members: impl IntoIterator<Item = UserId>) -> ChannelNow {
        ChannelNow {
            space: space(),
            kind: ChannelKind::Text,
            version: Version(version),
            by: ALICE,
            title: Some((ALICE, title("general"))),
            members: members.into_iter().collect(),
            archived: false,
        }
    }

    fn follow(now: ChannelNow) -> Command {
        Command::Follow(now.into())
    }

    fn channel(members: impl IntoIterator<Item = UserId>) -> Given<Conversation> {
        let mut channel = given([]);
        let started = channel.accept(&follow(now(5, members)));
        assert_eq!(started.map(|events| events.len()), Ok(1));
        channel
    }

    fn followed(space_version: u64) -> ConversationEvent {
        let space_version = Version(space_version);
        ConversationEvent::SpaceFollowed(SpaceFollowed { space_version })
    }

    fn may(by: UserId, act: Act, allowed: &[Permission]) -> Command {
        Command::User(Box::new(UserCommand {
            by,
            act,
            contact: Contact::Free,
            inherited: Some(Role::Owner),
            allowed: Permissions::of(allowed),
        }))
    }

    fn of_bob() -> MessageFact {
        MessageFact {
            seq: Version(2),
            author: BOB,
            kind: ContentKind::Text,
            thread: None,
        }
    }

    #[test]
    fn a_channel_follows_who_comes_and_goes_what_it_is_called_and_whether_it_is_closed() {
        let added = ConversationEvent::MemberAdded(MemberAdded {
            user: CAROL,
            role: Role::Member,
        });
        let removed = ConversationEvent::MemberRemoved(MemberRemoved {
            user: BOB,
            by: ALICE,
        });
        channel([ALICE, BOB])
            .when(follow(now(6, [ALICE, CAROL])))
            .then([removed, added, followed(6)]);
        let by = BOB;
        channel([ALICE, BOB])
            .when(follow(ChannelNow {
                by,
                ..now(6, [ALICE])
            }))
            .then([
                ConversationEvent::MemberLeft(MemberLeft { user: BOB }),
                followed(6),
            ]);
        let closed = ChannelNow {
            archived: true,
            ..now(6, [ALICE])
        };
        let by = ALICE;
        channel([ALICE]).when(follow(closed)).then([
            ConversationEvent::Archived(ArchiveChanged { by }),
            followed(6),
        ]);
    }

    #[test]
    fn what_comes_late_brings_nobody_back() {
        let mut channel = channel([ALICE, BOB]);
        channel
            .accept(&follow(now(8, [ALICE])))
            .expect("it follows");
        for late in [now(5, [ALICE, BOB]), now(7, [ALICE, BOB]), now(8, [BOB])] {
            assert_eq!(channel.accept(&follow(late)), Ok(vec![]));
        }
        assert_eq!(channel.state.role(BOB), None);
        // Nothing differs, but what is older is late from now on.
        channel.when(follow(now(9, [ALICE]))).then([followed(9)]);
    }

    #[test]
    fn what_is_gone_is_empty_closed_and_does_not_begin_again() {
        let gone = || follow(ChannelNow::gone(space(), Version(6), ALICE));
        let mut channel = channel([ALICE, BOB]);
        channel.accept(&gone()).expect("it goes");
        assert!(channel.state.members.is_empty());
        let later = ChannelNow::gone(space(), Version(9), ALICE);
        assert_eq!(channel.accept(&follow(later)), Ok(vec![]));
        let mut never = given([]);
        assert_eq!(never.accept(&gone()).map(|events| events.len()), Ok(2));
        assert_eq!(never.accept(&follow(now(5, [BOB]))), Ok(vec![]));
        assert!(never.state.members.is_empty());
    }

    #[test]
    fn many_come_in_several_steps_and_the_last_says_so() {
        let many: BTreeSet<UserId> = (0..5_000).map(user).collect();
        let mut channel = channel([ALICE]);
        let mut steps = Vec::new();
        loop {
            let events = channel
                .accept(&follow(now(6, many.clone())))
                .expect("it follows");
            if events.is_empty() {
                break;
            }
            steps.push((events.len(), events.last() == Some(&followed(6))));
        }
        assert_eq!(steps, [(2_000, false), (2_000, false), (1_002, true)]);
        assert!(channel.state.members.keys().eq(&many));
    }

    #[test]
    fn no_other_conversation_follows_a_space() {
        given([group_of(ALICE, &[BOB])])
            .when(follow(now(6, [CAROL])))
            .then_refused(Refused::AlreadyStarted);
        let elsewhere = ChannelNow {
            space: SpaceId(BOB.0),
            ..now(6, [CAROL])
        };
        channel([ALICE])
            .when(follow(elsewhere))
            .then_refused(Refused::AlreadyStarted);
    }

    #[test]
    fn what_the_space_says_the_channel_does_not() {
        for act in [
            Act::Rename {
                title: title("mine"),
            },
            Act::AddMember {
                user: CAROL,
                role: Role::Member,
            },
            Act::RemoveMember { user: BOB },
            Act::RemoveMember { user: ALICE },
            Act::Leave,
            Act::ChangeRole {
                user: BOB,
                role: Role::Admin,
            },
            Act::Archive,
            Act::Unarchive,
            Act::ChangeSettings(SettingsChange {
                who_may_post: Some(WhoMayPost::Admins),
                ..SettingsChange::default()
            }),
        ] {
            channel([ALICE, BOB])
                .when(may(ALICE, act, &Permission::ALL))
                .then_refused(Refused::RunBySpace);
        }
    }

    #[test]
    fn each_act_needs_its_permission_and_a_role_on_the_server_is_none() {
        let message = of_bob();
        let call = Draft {
            mentions: [Mention::Everyone].into(),
            ..Draft::plain(body("hey"), moment(0))
        };
        let slow = SettingsChange {
            slow_mode_s: Some(30),
            ..SettingsChange::default()
        };
        let emoji = emoji("🫖");
        let content = Content::plain(body("tea!"));
        let own = MessageFact {
            author: ALICE,
            ..message
        };
        for (act, permission) in [
            (
                Act::Send(Draft::plain(body("hi"), moment(0))),
                Permission::SendMessages,
            ),
            (
                Act::Edit {
                    message: own,
                    content,
                    attachments: None,
                },
                Permission::SendMessages,
            ),
            (Act::React { message, emoji }, Permission::AddReactions),
            (Act::Pin { message }, Permission::PinMessages),
            (Act::Unpin { message }, Permission::PinMessages),
            (
                Act::Delete {
                    message,
                    reason: None,
                },
                Permission::ManageMessages,
            ),
            (Act::ChangeSettings(slow), Permission::ManageChannels),
        ] {
            let lacking: Vec<_> = Permission::ALL
                .into_iter()
                .filter(|it| *it != permission)
                .collect();
            let mut channel = channel([ALICE, BOB]);
            channel.state = Given::<Conversation>::history(
                channel.events.iter().cloned().chain([sent(BOB, "tea?")]),
            )
            .state;
            let refused = channel.accept(&may(ALICE, act.clone(), &lacking));
            assert_eq!(
                refused,
                Err(Refused::PermissionMissing(permission)),
                "{act:?}"
            );
            let only = may(ALICE, act.clone(), &[permission]);
            assert!(channel.accept(&only).is_ok(), "{act:?}");
        }
        let sending = [Permission::SendMessages];
        channel([ALICE, BOB])
            .when(may(ALICE, Act::Send(call.clone()), &sending))
            .then_refused(Refused::PermissionMissing(Permission::MentionEveryone));
        let calling = [Permission::SendMessages, Permission::MentionEveryone];
        channel([ALICE, BOB])
            .when(may(ALICE, Act::Send(call), &calling))
            .then_some(1);
        channel([ALICE])
            .when(may(CAROL, Act::Leave, &Permission::ALL))
            .then_refused(Refused::NotFound);
    }

    #[test]
    fn files_need_a_permission_of_their_own() {
        let (file, text) = (AttachmentId(BOB.0), || Content::plain(body("tea!")));
        let send = Act::Send(Draft {
            attachments: vec![file],
            ..Draft::plain(body("look"), moment(0))
        });
        let edit = |attachments| Act::Edit {
            message: of_bob(),
            content: text(),
            attachments,
        };
        let said = |act: Act, allowed: &[Permission]| {
            let mut channel = channel([ALICE, BOB]);
            channel.accept(&may(
                BOB,
                Act::Send(Draft::plain(body("tea?"), moment(0))),
                &Permission::ALL,
            ))?;
            channel.accept(&may(BOB, act, allowed))
        };
        let sending = [Permission::SendMessages];
        let attaching = [Permission::SendMessages, Permission::AttachFiles];
        for act in [send, edit(Some(vec![file]))] {
            let refused = said(act.clone(), &sending);
            let missing = Refused::PermissionMissing(Permission::AttachFiles);
            assert_eq!(refused, Err(missing), "{act:?}");
            assert!(said(act.clone(), &attaching).is_ok(), "{act:?}");
        }
        // To take all away, or to leave them, is no attaching.
        for attachments in [Some(vec![]), None] {
            assert!(said(edit(attachments), &sending).is_ok());
        }
    }

    #[test]
    fn in_slow_mode_who_keeps_order_does_not_wait() {
        let settle = |allowed: &'static [Permission]| {
            let mut channel = channel([ALICE]);
            let slow = Act::ChangeSettings(SettingsChange {
                slow_mode_s: Some(30),
                ..SettingsChange::default()
            });
            channel
                .accept(&may(ALICE, slow, &[Permission::ManageChannels]))
                .expect("it is slow");
            let send = may(
                ALICE,
                Act::Send(Draft::plain(body("hi"), moment(0))),
                allowed,
            );
            channel.accept(&send).expect("the first");
            channel.accept(&send)
        };
        let waits = settle(&[Permission::SendMessages]);
        assert_eq!(waits, Err(Refused::TooSoon { wait_s: 30 }));
        assert!(settle(&[Permission::SendMessages, Permission::ManageMessages]).is_ok());
    }

    proptest! {
        /// Whatever comes in whichever order, and however often: the newest is what stays.
        #[test]
        fn the_newest_wins(
            versions in prop::collection::vec((1..20_u64, prop::collection::btree_set(0..6_u128, 0..6)), 1..30),
        ) {
            // Of one version there is one answer.
            let wanted = |version: u64| {
                let found = versions.iter().find(|(it, _)| *it == version);
                found.map(|(_, members)| members.iter().copied().map(user).collect::<BTreeSet<_>>())
            };
            let mut channel = given([]);
            for (version, _) in &versions {
                let members = wanted(*version).unwrap_or_default();
                channel.accept(&follow(now(*version, members))).expect("it follows");
            }
            let newest = versions.iter().map(|(version, _)| *version).max().unwrap_or_default();
            let state: &State = &channel.state;
            prop_assert!(state.members.keys().eq(&wanted(newest).unwrap_or_default()));
            let settings = state.settings.as_ref().expect("it began");
            prop_assert_eq!(settings.kind, Kind::Channel);
            prop_assert_eq!(settings.channel.map(|it| it.space_version), Some(Version(newest)));
        }
    }
}
