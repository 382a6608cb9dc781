//! What holds of every conversation, whatever is asked of it, by whom and in which order.

use proptest::prelude::*;

use crate::conversation::state::DELETED_REMEMBERED_MAX;
use crate::conversation::{
    Act, Command, Content, ContentKind, Conversation, ConversationEvent, Draft, HistoryVisibility,
    ImportedFact, Kind, Mention, MentionedRole, MessageFact, Role, SettingsChange, State,
    WhoMayPost,
};
use crate::decider::Decider as _;
use crate::ids::{SpaceRoleId, UserId, Version};
use crate::testing::conversation::{body, emoji, given, inheriting, title};
use crate::testing::{Given, moment, user};
use crate::values::Emoji;

const USERS: u128 = 5;

fn who() -> impl Strategy<Value = UserId> {
    (0..USERS).prop_map(user)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)]
}

fn visibility() -> impl Strategy<Value = HistoryVisibility> {
    prop_oneof![
        Just(HistoryVisibility::Joined),
        Just(HistoryVisibility::Start)
    ]
}

fn message() -> impl Strategy<Value = MessageFact> {
    (1..30_u64, who()).prop_map(|(seq, author)| MessageFact {
        seq: Version(seq),
        author,
        kind: ContentKind::Text,
        thread: None,
    })
}

fn reaction() -> impl Strategy<Value = Emoji> {
    "[a-c]".prop_map(|text| emoji(&text))
}

fn draft() -> impl Strategy<Value = Draft> {
    let mentions = prop::collection::btree_set(mention(), 0..3);
    (1..30_u64, mentions, 0..120_i64).prop_map(|(seq, mentions, at)| Draft {
        reply_to: Some(Version(seq)),
        mentions,
        ..Draft::plain(body("hi"), moment(at))
    })
}

fn settings() -> impl Strategy<Value = SettingsChange> {
    let who = prop_oneof![Just(WhoMayPost::Members), Just(WhoMayPost::Admins)];
    let pause = prop::option::of(prop_oneof![Just(0), Just(30)]);
    (prop::option::of(visibility()), pause, prop::option::of(who)).prop_map(
        |(history_visibility, slow_mode_s, who_may_post)| SettingsChange {
            history_visibility,
            slow_mode_s,
            who_may_post,
        },
    )
}

fn mention() -> impl Strategy<Value = Mention> {
    prop_oneof![
        who().prop_map(Mention::User),
        Just(Mention::Everyone),
        Just(Mention::Here),
        Just(Mention::Role(MentionedRole::Admin)),
        who().prop_map(|user| Mention::SpaceRole(SpaceRoleId(user.0))),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let members = || prop::collection::vec(who(), 0..4);
    prop_oneof![
        1 => who().prop_map(|with| Act::StartDirect { with }),
        2 => (members(), visibility()).prop_map(|(members, history_visibility)| {
            Act::StartGroup { title: title("Tea"), members, history_visibility }
        }),
        2 => "[a-c]".prop_map(|text| Act::Rename { title: title(&text) }),
        1 => settings().prop_map(Act::ChangeSettings),
        6 => (who(), role()).prop_map(|(user, role)| Act::AddMember { user, role }),
        3 => who().prop_map(|user| Act::RemoveMember { user }),
        3 => Just(Act::Leave),
        6 => (who(), role()).prop_map(|(user, role)| Act::ChangeRole { user, role }),
        4 => draft().prop_map(Act::Send),
        2 => message().prop_map(|message| {
            Act::Edit { message, content: Content::plain(body("hello")), attachments: None }
        }),
        3 => message().prop_map(|message| Act::Delete { message, reason: None }),
        2 => (message(), reaction()).prop_map(|(message, emoji)| Act::React { message, emoji }),
        1 => (message(), reaction()).prop_map(|(message, emoji)| Act::Unreact { message, emoji }),
        3 => message().prop_map(|message| Act::Pin { message }),
        1 => message().prop_map(|message| Act::Unpin { message }),
        1 => message().prop_map(|root| {
            let thread = Some(root);
            Act::Send(Draft { thread, ..Draft::plain(body("hi"), moment(0)) })
        }),
        1 => message().prop_map(|root| Act::FollowThread { root }),
        1 => message().prop_map(|root| Act::UnfollowThread { root }),
        1 => Just(Act::Archive),
        2 => Just(Act::Unarchive),
    ]
}

fn imported() -> impl Strategy<Value = ImportedFact> {
    prop_oneof![
        (who(), prop::collection::vec(who(), 0..4)).prop_map(|(titled_by, members)| {
            ImportedFact::Started {
                title: title("Tea"),
                titled_by,
                members,
            }
        }),
        who().prop_map(|author| ImportedFact::Message {
            author,
            body: body("hi"),
            thread: None,
        }),
        message().prop_map(|message| ImportedFact::Edited {
            message,
            body: body("hello")
        }),
        (message(), who(), reaction()).prop_map(|(message, member, emoji)| {
            ImportedFact::Reaction {
                message: message.seq,
                member,
                emoji,
            }
        }),
    ]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = prop_oneof![
        7 => (who(), act()).prop_map(|(by, act)| Command::by(by, act)),
        2 => (who(), act(), role()).prop_map(|(by, act, role)| inheriting(by, act, role)),
        1 => imported().prop_map(Command::Import),
    ];
    prop::collection::vec(command, 0..80)
}

/// Whether the state tells a repeat of `command`. What is said, put otherwise and reacted, and who
/// follows which thread, is not in the state; who has left is told nothing.
fn is_known_when_repeated(command: &Command) -> bool {
    match command {
        Command::User(command) => match &command.act {
            Act::Send(_)
            | Act::Edit { .. }
            | Act::React { .. }
            | Act::Unreact { .. }
            | Act::FollowThread { .. }
            | Act::UnfollowThread { .. }
            | Act::Leave => false,
            Act::RemoveMember { user } => *user != command.by,
            Act::StartDirect { .. }
            | Act::StartGroup { .. }
            | Act::Rename { .. }
            | Act::ChangeSettings(_)
            | Act::AddMember { .. }
            | Act::ChangeRole { .. }
            | Act::Delete { .. }
            | Act::Pin { .. }
            | Act::Unpin { .. }
            | Act::Archive
            | Act::Unarchive => true,
        },
        Command::Import(fact) => match fact {
            ImportedFact::Started { .. } => true,
            ImportedFact::Message { .. }
            | ImportedFact::Edited { .. }
            | ImportedFact::Reaction { .. } => false,
        },
        Command::Follow(_) => true,
    }
}

fn owners(state: &State) -> usize {
    state
        .members
        .values()
        .filter(|member| member.role == Role::Owner)
        .count()
}

fn check(state: &State) -> Result<(), TestCaseError> {
    prop_assert!(state.members.len() <= Conversation::MEMBERS_MAX);
    prop_assert!(state.deleted.len() <= DELETED_REMEMBERED_MAX);
    prop_assert!(state.pins.len() <= Conversation::PINS_MAX);
    prop_assert!(state.pins.iter().all(|pin| !state.deleted.contains(pin)));
    match state.settings.as_ref().map(|settings| settings.kind) {
        None => prop_assert!(state.members.is_empty()),
        Some(Kind::Direct) => {
            prop_assert_eq!(state.members.len(), 2);
            prop_assert_eq!(owners(state), 0);
        }
        Some(Kind::Channel) => prop_assert!(false, "no space is followed here"),
        Some(Kind::Group) => {
            prop_assert_eq!(owners(state), usize::from(!state.members.is_empty()));
        }
    }
    Ok(())
}

fn run(commands: &[Command]) -> Result<Given<Conversation>, TestCaseError> {
    let mut given = given([]);
    for command in commands {
        let before = given.state.clone();
        let Ok(events) = given.accept(command) else {
            prop_assert_eq!(&before, &given.state);
            continue;
        };
        check(&given.state)?;
        if before.settings.as_ref().map(|settings| settings.kind) == Some(Kind::Direct) {
            prop_assert_eq!(&before.members, &given.state.members);
        }
        if events.is_empty() {
            prop_assert_eq!(&before, &given.state);
        }
        if is_known_when_repeated(command) {
            let again = given.accept(command);
            prop_assert_eq!(again, Ok(vec![]), "{:?}", command);
        }
    }
    Ok(given)
}

/// Who runs a group does not wait in slow mode, so that when they wrote need not be known.
fn without_moments(mut events: Vec<ConversationEvent>) -> Vec<ConversationEvent> {
    for event in &mut events {
        if let ConversationEvent::MessageSent(sent) = event {
            sent.at = None;
        }
    }
    events
}

proptest! {
    #[test]
    fn its_invariants_hold_whatever_is_asked(commands in commands()) {
        let given = run(&commands)?;
        prop_assert_eq!(given.state.version, Version::ZERO.plus(given.events.len()));
        let starts = given.events.iter().filter(|e| matches!(e, ConversationEvent::Started(_)));
        prop_assert!(starts.count() <= 1);
    }

    /// What one may by one's own role one may with every inherited one, and the same comes of it; who is
    /// in no group gains nothing.
    #[test]
    fn an_inherited_role_takes_nothing_away_and_lets_nobody_in(
        commands in commands(),
        by in who(),
        act in act(),
        role in role(),
    ) {
        let state = run(&commands)?.state;
        let alone = Conversation::decide(&state, &Command::by(by, act.clone()));
        let inherited = Conversation::decide(&state, &inheriting(by, act, role));
        let is_in_group = state.role(by).is_some()
            && state.settings.as_ref().is_some_and(|set| set.kind == Kind::Group);
        if alone.is_ok() || !is_in_group || state.role(by) >= Some(role) {
            prop_assert_eq!(alone.map(without_moments), inherited.map(without_moments));
        }
    }

    /// The same events folded from a state that was stored half way, as snapshots do.
    #[test]
    fn a_state_survives_being_stored(commands in commands(), half in 0..80_usize) {
        let given = run(&commands)?;
        let half = half.min(given.events.len());
        let (first, second) = given.events.split_at(half);
        let stored = serde_json::to_string(&Given::<Conversation>::history(first.to_vec()).state)
            .expect("a state is JSON");
        let mut state: State = serde_json::from_str(&stored).expect("a state is JSON");
        for (index, event) in second.iter().enumerate() {
            state = state.evolve(Version::ZERO.plus(half + index + 1), event);
        }
        prop_assert_eq!(state, given.state);
    }

    /// Not every list of events can come to be, but every list can be folded.
    #[test]
    fn events_fold_in_any_order(commands in commands(), seed in any::<u64>()) {
        let mut events = run(&commands)?.events;
        let mut next = seed;
        for index in (1..events.len()).rev() {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            events.swap(index, usize::try_from(next >> 33).unwrap_or(0) % (index + 1));
        }
        let state = given(events).state;
        prop_assert!(state.deleted.len() <= DELETED_REMEMBERED_MAX);
        prop_assert!(state.pins.len() <= Conversation::PINS_MAX);
    }
}
