//! Channels: conversations of a space. The space says who is in one, what it is called and whether it is
//! closed; the channel follows in its own stream, so that its history is whole by itself. What its
//! members may do comes with each command, as the space has it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::conversation::decide::{Asker, Conversation, Decision};
use crate::conversation::event::{
    ArchiveChanged, ChannelKind, ChannelOf, ConversationEvent, HistoryVisibility, Kind,
    MemberAdded, MemberLeft, MemberRemoved, MemberRole, Renamed, Role, SpaceFollowed, Started,
};
use crate::conversation::refused::Refused;
use crate::conversation::state::{Settings, State};
use crate::ids::{ConversationId, SpaceId, UserId, Version};
use crate::personal::Personal;
use crate::space::{self, ChannelRemoved, Permission};
use crate::values::Title;

impl Conversation {
    /// The most members who come and go in one step of following a space. A longer way is gone in
    /// several, each of which says which version it follows, and the last that it is done.
    pub const FOLLOW_MEMBERS_MAX: usize = 2_000;
}

/// What a channel is by its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelNow {
    /// Of which space.
    pub space: SpaceId,
    /// Text or voice.
    pub kind: ChannelKind,
    /// Who created it.
    pub creator: UserId,
    /// The event of the space that changed the channel last.
    pub version: Version,
    /// Who made it.
    pub by: UserId,
    /// What it is called, and who named it; `None` of one that is gone.
    pub title: Option<(UserId, Title)>,
    /// Who sees it.
    pub viewers: Viewers,
    /// Whether it is closed.
    pub archived: bool,
}

/// Who sees a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewers {
    /// These.
    These(BTreeSet<UserId>),
    /// Those to whom the space shows it. Looked up where the channel decides, which knows what it has
    /// followed, and so mostly of few people.
    Of(Arc<space::State>, ConversationId),
}

impl Viewers {
    fn all(&self) -> Cow<'_, BTreeSet<UserId>> {
        match self {
            Self::These(users) => Cow::Borrowed(users),
            Self::Of(state, channel) => {
                let space = state.space.as_ref();
                Cow::Owned(space.map(|it| it.viewers(*channel)).unwrap_or_default())
            }
        }
    }

    /// Of those for whom it may have changed after the space's event `followed`, whether they see it;
    /// `None` where that may be everybody.
    fn changed_since(&self, followed: Version) -> Option<BTreeMap<UserId, bool>> {
        match self {
            Self::These(_) => None,
            Self::Of(state, channel) => state.space.as_ref()?.changed_since(*channel, followed),
        }
    }
}

impl ChannelNow {
    /// A channel that `space` does not have any more since its event `version`.
    pub const fn gone(space: SpaceId, version: Version, removed: &ChannelRemoved) -> Self {
        Self {
            space,
            kind: removed.kind,
            creator: removed.creator,
            version,
            by: removed.by,
            title: None,
            viewers: Viewers::These(BTreeSet::new()),
            archived: true,
        }
    }
}

/// The next step to what the channel is `now`. What is older than what the channel has followed, or is in
/// the middle of following, comes late and changes nothing: so nobody who was put out comes back by it.
pub(super) fn follow(state: &State, now: &ChannelNow) -> Decision {
    follow_by(state, now, Conversation::FOLLOW_MEMBERS_MAX)
}

/// The same, where at most `members_max` come and go in one step.
fn follow_by(state: &State, now: &ChannelNow, members_max: usize) -> Decision {
    let Some(settings) = &state.settings else {
        return Ok(start(now, members_max));
    };
    let channel = settings.channel.filter(|it| it.space == now.space);
    let followed = channel.ok_or(Refused::AlreadyStarted)?.space_version;
    let is_half_way = settings.follows_more;
    if now.version < followed || (now.version == followed && !is_half_way) {
        return Ok(vec![]);
    }
    let few = if is_half_way {
        None
    } else {
        now.viewers.changed_since(followed)
    };
    let mut events = match few {
        Some(few) => some_members(state, now, &few),
        None => all_members(state, now),
    };
    let more = events.len() > members_max;
    events.truncate(members_max);
    events.extend(renamed(settings, now));
    events.extend(closed(settings, now));
    events.push(ConversationEvent::SpaceFollowed(SpaceFollowed {
        space_version: now.version,
        more,
    }));
    Ok(events)
}

/// One that is gone before it began begins too, and is closed: so nobody begins it who comes late.
fn start(now: &ChannelNow, members_max: usize) -> Vec<ConversationEvent> {
    let member = |user: &UserId| MemberRole {
        user: *user,
        role: Role::Member,
    };
    let title = now.title.clone();
    let viewers = now.viewers.all();
    let started = ConversationEvent::Started(Started {
        kind: Kind::Channel,
        title: title.map(|(of, title)| Personal::new(of, title)),
        creator: Some(now.creator),
        members: viewers.iter().take(members_max).map(member).collect(),
        history_visibility: HistoryVisibility::Start,
        channel: Some(ChannelOf {
            space: now.space,
            kind: now.kind,
            space_version: now.version,
        }),
    });
    let closed = ConversationEvent::Archived(ArchiveChanged { by: now.by });
    let closed = now.archived.then_some(closed);
    let more = ConversationEvent::SpaceFollowed(SpaceFollowed {
        space_version: now.version,
        more: true,
    });
    let more = (viewers.len() > members_max).then_some(more);
    std::iter::once(started).chain(closed).chain(more).collect()
}

/// Who goes, then who comes.
fn all_members(state: &State, now: &ChannelNow) -> Vec<ConversationEvent> {
    let viewers = now.viewers.all();
    let there = state.members.keys().copied();
    let out = there.filter(|user| !viewers.contains(user));
    let new = viewers.iter().copied();
    let new = new.filter(|user| !state.members.contains_key(user));
    out.map(|user| goes(user, now.by))
        .chain(new.map(comes))
        .collect()
}

/// The same, where it is known of whom it may differ, and whether they see the channel.
fn some_members(
    state: &State,
    now: &ChannelNow,
    few: &BTreeMap<UserId, bool>,
) -> Vec<ConversationEvent> {
    let differing = |sees: bool| {
        let users = few.iter().filter(move |(_, it)| **it == sees);
        let users = users.map(|(user, _)| *user);
        users.filter(move |user| state.members.contains_key(user) != sees)
    };
    differing(false)
        .map(|user| goes(user, now.by))
        .chain(differing(true).map(comes))
        .collect()
}

fn goes(user: UserId, by: UserId) -> ConversationEvent {
    if user == by {
        ConversationEvent::MemberLeft(MemberLeft { user })
    } else {
        ConversationEvent::MemberRemoved(MemberRemoved { user, by })
    }
}

fn comes(user: UserId) -> ConversationEvent {
    let role = Role::Member;
    ConversationEvent::MemberAdded(MemberAdded { user, role })
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
            Kind::Channel if !self.allowed.permissions.has(permission) => {
                Err(Refused::PermissionMissing(permission))
            }
            Kind::Channel | Kind::Direct | Kind::Group => Ok(()),
        }
    }

    /// Whether the asker keeps others in order here: waits for nobody, and writes where few may.
    pub(super) fn keeps_order(&self) -> bool {
        match self.settings.kind {
            Kind::Channel => self.allowed.permissions.has(Permission::ManageMessages),
            Kind::Direct | Kind::Group => self.role >= Role::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{ChannelNow, Viewers, follow_by};
    use crate::conversation::{
        Act, Allowed, ArchiveChanged, ChannelKind, Command, Contact, Content, ContentKind,
        Conversation, ConversationEvent, Draft, Kind, MemberAdded, MemberLeft, MemberRemoved,
        Mention, MentionedRole, MessageFact, Refused, Role, SettingsChange, SpaceFollowed, State,
        UserCommand, WhoMayPost,
    };
    use crate::decider::Decider as _;
    use crate::ids::{AttachmentId, ConversationId, SpaceId, SpaceRoleId, UserId, Version};
    use crate::space::{ChannelRemoved, Permission, Permissions};
    use crate::testing::conversation::{body, emoji, given, group_of, sent, title};
    use crate::testing::{ALICE, BOB, CAROL, Given, moment, user};

    fn space() -> SpaceId {
        SpaceId(ALICE.0)
    }

    fn now(version: u64, members: impl IntoIterator<Item = UserId>) -> ChannelNow {
        ChannelNow {
            space: space(),
            kind: ChannelKind::Text,
            creator: ALICE,
            version: Version(version),
            by: ALICE,
            title: Some((ALICE, title("general"))),
            viewers: Viewers::These(members.into_iter().collect()),
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

    fn follows(space_version: u64, more: bool) -> ConversationEvent {
        let space_version = Version(space_version);
        ConversationEvent::SpaceFollowed(SpaceFollowed {
            space_version,
            more,
        })
    }

    fn followed(space_version: u64) -> ConversationEvent {
        follows(space_version, false)
    }

    /// Carol has removed it, which Bob had created as a voice channel.
    fn gone(version: u64) -> ChannelNow {
        let removed = ChannelRemoved {
            channel: ConversationId(ALICE.0),
            kind: ChannelKind::Voice,
            creator: BOB,
            by: CAROL,
        };
        ChannelNow::gone(space(), Version(version), &removed)
    }

    fn may(by: UserId, act: Act, allowed: &[Permission]) -> Command {
        may_call(by, act, allowed, [])
    }

    /// The same, where the space has these roles.
    fn may_call(
        by: UserId,
        act: Act,
        allowed: &[Permission],
        roles: impl IntoIterator<Item = SpaceRoleId>,
    ) -> Command {
        Command::User(Box::new(UserCommand {
            by,
            act,
            contact: Contact::Free,
            inherited: Some(Role::Owner),
            allowed: Allowed {
                permissions: Permissions::of(allowed),
                callable_roles: roles.into_iter().collect(),
            },
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
        let mut channel = channel([ALICE, BOB]);
        channel.accept(&follow(gone(6))).expect("it goes");
        assert!(channel.state.members.is_empty());
        assert_eq!(channel.accept(&follow(gone(6))), Ok(vec![]));
        let mut never = given([]);
        let begun = never.accept(&follow(gone(6))).expect("it begins");
        let [ConversationEvent::Started(started), closed] = &begun[..] else {
            panic!("{begun:?}")
        };
        let kind = started.channel.map(|it| it.kind);
        assert_eq!(
            (started.creator, kind),
            (Some(BOB), Some(ChannelKind::Voice))
        );
        let by = CAROL;
        assert_eq!(*closed, ConversationEvent::Archived(ArchiveChanged { by }));
        assert_eq!(never.accept(&follow(now(5, [BOB]))), Ok(vec![]));
        assert!(never.state.members.is_empty());
    }

    fn steps(channel: &mut Given<Conversation>, now: &ChannelNow) -> Vec<(usize, bool)> {
        let mut steps = Vec::new();
        loop {
            let events = channel.accept(&follow(now.clone())).expect("it follows");
            let Some(last) = events.last() else {
                return steps;
            };
            let is_done = *last == follows(now.version.0, false);
            assert!(
                is_done || *last == follows(now.version.0, true),
                "each says which version it follows"
            );
            steps.push((events.len(), is_done));
        }
    }

    #[test]
    fn many_come_in_several_steps_and_the_last_says_so() {
        let many: BTreeSet<UserId> = (0..5_000).map(user).collect();
        let mut channel = channel([ALICE]);
        let taken = steps(&mut channel, &now(6, many.clone()));
        assert_eq!(taken, [(2_001, false), (2_001, false), (1_002, true)]);
        assert!(channel.state.members.keys().eq(&many));
    }

    #[test]
    fn a_channel_that_begins_with_many_begins_in_several_steps() {
        let many: BTreeSet<UserId> = (0..5_000).map(user).collect();
        let mut channel = given([]);
        let taken = steps(&mut channel, &now(6, many.clone()));
        assert_eq!(taken, [(2, false), (2_001, false), (1_001, true)]);
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
        let role = Draft {
            mentions: [Mention::Role(MentionedRole::Admin)].into(),
            ..Draft::plain(body("hey"), moment(0))
        };
        channel([ALICE, BOB])
            .when(may(ALICE, Act::Send(role), &Permission::ALL))
            .then_refused(Refused::NoRolesInChannel);
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
    fn a_role_of_the_space_is_called_by_who_may_call_everyone() {
        let (cooks, waiters) = (SpaceRoleId(BOB.0), SpaceRoleId(CAROL.0));
        let call = |roles: &[SpaceRoleId]| {
            let mentions = roles.iter().copied().map(Mention::SpaceRole);
            Act::Send(Draft {
                mentions: mentions.collect(),
                ..Draft::plain(body("hey"), moment(0))
            })
        };
        let sending = [Permission::SendMessages];
        channel([ALICE])
            .when(may_call(ALICE, call(&[cooks]), &sending, [cooks]))
            .then_refused(Refused::PermissionMissing(Permission::MentionEveryone));
        let calling = [Permission::SendMessages, Permission::MentionEveryone];
        channel([ALICE])
            .when(may_call(ALICE, call(&[cooks]), &calling, [cooks, waiters]))
            .then_some(1);
        channel([ALICE])
            .when(may_call(ALICE, call(&[cooks, waiters]), &calling, [cooks]))
            .then_refused(Refused::RoleNotFound);
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

    /// What versions of a space say of who is in a channel: a list of steps, each of some version.
    fn said() -> impl Strategy<Value = Vec<(u64, BTreeSet<u128>)>> {
        let members = prop::collection::btree_set(0..6_u128, 0..6);
        prop::collection::vec((1..20_u64, members), 1..40)
    }

    /// Of one version there is one answer.
    fn wanted(said: &[(u64, BTreeSet<u128>)], version: u64) -> BTreeSet<UserId> {
        let found = said.iter().find(|(it, _)| *it == version);
        let members = found.into_iter().flat_map(|(_, members)| members);
        members.copied().map(user).collect()
    }

    proptest! {
        /// Whatever comes in whichever order, and however often: the newest is what stays.
        #[test]
        fn the_newest_wins(said in said()) {
            let mut channel = given([]);
            for (version, _) in &said {
                let members = wanted(&said, *version);
                channel.accept(&follow(now(*version, members))).expect("it follows");
            }
            let newest = said.iter().map(|(version, _)| *version).max().unwrap_or_default();
            let state: &State = &channel.state;
            prop_assert!(state.members.keys().eq(&wanted(&said, newest)));
            let settings = state.settings.as_ref().expect("it began");
            prop_assert_eq!(settings.kind, Kind::Channel);
            prop_assert_eq!(settings.channel.map(|it| it.space_version), Some(Version(newest)));
        }

        /// Many nodes take steps of different versions in between each other's: nobody comes whom the
        /// newest version that anybody began to follow does not let in, and it is gone to its end.
        #[test]
        fn nobody_comes_back_between_the_steps_of_others(said in said(), members_max in 1..4_usize) {
            let mut state = State::default();
            let mut newest = 0;
            let take = |state: State, version: u64| {
                let now = now(version, wanted(&said, version));
                let events = follow_by(&state, &now, members_max).expect("it follows");
                let is_done = events.is_empty();
                let state = events.iter().fold(state, |state, event| {
                    let version = state.version.next();
                    Conversation::evolve(state, version, event)
                });
                (state, events, is_done)
            };
            for (version, _) in &said {
                let (next, events, _) = take(state, *version);
                state = next;
                newest = newest.max(*version);
                for event in &events {
                    if let ConversationEvent::MemberAdded(added) = event {
                        prop_assert!(wanted(&said, newest).contains(&added.user));
                    }
                }
            }
            // Nobody more than there are comes or goes, and one step may do both.
            for _ in 0..20 {
                let (next, _, is_done) = take(state, newest);
                state = next;
                if is_done {
                    break;
                }
            }
            prop_assert!(state.members.keys().eq(&wanted(&said, newest)));
            let settings = state.settings.as_ref().expect("it began");
            prop_assert!(!settings.follows_more);
        }
    }
}
