//! One node, and what others say to it, without connections.

use domain::user::Shown;
use infra::clock::fresh_id;

use super::*;

const AFTER: Duration = Duration::from_secs(5);

/// One user who is here, in one conversation, at some moment.
struct Given {
    known: Known,
    user: UserId,
    conversation: ConversationId,
    began: Instant,
    time: DateTime<Utc>,
}

impl Given {
    fn online() -> Self {
        let mut given = Self {
            known: Known::default(),
            user: UserId(fresh_id()),
            conversation: ConversationId(fresh_id()),
            began: Instant::now(),
            time: DateTime::UNIX_EPOCH,
        };
        given.comes(given.user, &[given.conversation], 1);
        assert_eq!(given.told_at(0), Some(PresenceState::Online));
        given
    }

    fn comes(&mut self, user: UserId, conversations: &[ConversationId], at: u64) {
        let (choice, activity) = (PresenceChoice::default(), Activity::Online);
        self.known
            .came(user, choice, activity, conversations, Position(at));
    }

    fn goes(&mut self, activity: Activity, milliseconds: u64) {
        let at = self.began + Duration::from_millis(milliseconds);
        self.known
            .change(self.user, |local| local.goes(activity, at));
    }

    fn turns(&mut self, from: Activity, to: Activity) {
        self.known.change(self.user, |local| local.turns(from, to));
    }

    fn chooses(&mut self, shown: Shown, until: Option<u64>) {
        let milliseconds = |at: u64| chrono::TimeDelta::milliseconds(at.cast_signed());
        let until = until.map(|until| self.time + milliseconds(until));
        let choice = PresenceChoice { shown, until };
        self.known.change(self.user, |local| local.choice = choice);
    }

    fn settle(&mut self, user: UserId, milliseconds: u64) {
        let now = self.began + Duration::from_millis(milliseconds);
        let time = self.time + chrono::TimeDelta::milliseconds(milliseconds.cast_signed());
        self.known.settle(user, now, time, AFTER);
    }

    /// What others are told of the user `milliseconds` after the beginning, if anything.
    fn told_at(&mut self, milliseconds: u64) -> Option<PresenceState> {
        self.settle(self.user, milliseconds);
        self.untold(self.user)
    }

    fn untold(&mut self, user: UserId) -> Option<PresenceState> {
        let change = self.known.untold.remove(&user)?;
        let to = self.known.shown(user);
        (change.from != to).then_some(to)
    }

    fn is_settled(&self) -> bool {
        !self.known.unsettled.contains(&self.user)
    }
}

fn here(user: UserId, conversation: ConversationId, state: HereState) -> Here {
    Here {
        user,
        conversations: vec![conversation],
        state,
    }
}

#[test]
fn what_changes_within_a_second_is_told_once_and_the_last_counts() {
    let mut given = Given::online();
    given.turns(Activity::Online, Activity::Idle);
    assert_eq!(given.told_at(100), None);
    given.turns(Activity::Idle, Activity::Online);
    assert_eq!(given.told_at(200), None);
    assert!(given.is_settled());
    given.turns(Activity::Online, Activity::Idle);
    assert_eq!(given.told_at(900), None);
    assert!(!given.is_settled());
    assert_eq!(given.told_at(1_000), Some(PresenceState::Idle));
    assert!(given.is_settled());
}

#[test]
fn who_was_gone_for_a_moment_was_there_all_the_time() {
    let mut given = Given::online();
    given.goes(Activity::Online, 2_000);
    assert_eq!(given.told_at(6_999), None);
    assert_eq!(given.told_at(7_000), Some(PresenceState::Offline));
    let known = &given.known;
    assert!(known.here.is_empty() && known.unsettled.is_empty());
    assert!(known.inside.is_empty() && known.with.is_empty());
}

#[test]
fn a_choice_ends_by_itself_and_hides_from_other_nodes() {
    let mut given = Given::online();
    assert_eq!(given.known.take_unsaid().here.len(), 1);
    given.chooses(Shown::Invisible, Some(9_000));
    assert_eq!(given.told_at(2_000), Some(PresenceState::Offline));
    assert_eq!(given.known.take_unsaid().gone, [given.user]);
    assert_eq!(given.known.said(), Some((0, 0)));
    assert_eq!(given.told_at(8_999), None);
    assert_eq!(given.told_at(9_000), Some(PresenceState::Online));
    assert_eq!(given.known.take_unsaid().here.len(), 1);
}

#[test]
fn who_left_unseen_is_not_seen_when_the_choice_ends() {
    let mut given = Given::online();
    given.chooses(Shown::Invisible, Some(9_000));
    assert_eq!(given.told_at(2_000), Some(PresenceState::Offline));
    given.goes(Activity::Online, 8_000);
    for at in [8_000, 9_000, 12_999, 13_000] {
        assert_eq!(given.told_at(at), None, "{at}");
    }
    assert!(given.known.here.is_empty());
}

#[test]
fn who_was_put_out_while_away_is_told_nothing_more_there() {
    let mut given = Given::online();
    let other = UserId(fresh_id());
    given.comes(other, &[given.conversation], 1);
    given.settle(other, 0);
    given.known.take_newcomers();
    let online = HashMap::from([(other, PresenceState::Online)]);
    assert_eq!(given.known.present_with(given.user), online);

    // Back within the five seconds, as of a later moment of the log.
    given.goes(Activity::Online, 1_000);
    given.comes(given.user, &[], 7);
    given.settle(given.user, 1_500);
    assert!(given.known.present_with(given.user).is_empty());
    assert!(given.known.present_with(other).is_empty());
    assert!(given.known.listeners(given.conversation, 9).eq([other]));
    let said = given.known.take_unsaid().here;
    let said = said.iter().find(|here| here.user == given.user);
    assert_eq!(said.map(|here| here.conversations.len()), Some(0));
    // What happened before is no news, and what happens later is.
    let what = Move {
        conversation: given.conversation,
        is_in: true,
    };
    given.known.moves(given.user, what, Position(6));
    assert!(given.known.present_with(given.user).is_empty());
    given.known.moves(given.user, what, Position(8));
    assert_eq!(given.known.present_with(given.user), online);
    let newcomers = given.known.take_newcomers();
    assert!(newcomers.contains(&(given.user, given.conversation)));
    let news = given.known.take_news(given.user);
    let news = news.map(|news| (news.state, news.listeners));
    assert_eq!(news, Some((PresenceState::Online, HashSet::from([other]))));
}

#[test]
fn of_several_nodes_what_was_chosen_wins_and_then_who_does_something() {
    let (online, idle, away) = (HereState::Online, HereState::Idle, HereState::Away);
    for (states, shown) in [
        (&[][..], PresenceState::Offline),
        (&[idle], PresenceState::Idle),
        (&[idle, online], PresenceState::Online),
        (&[online, idle], PresenceState::Online),
        (&[online, away, idle], PresenceState::Away),
        (&[away, online], PresenceState::Away),
    ] {
        assert_eq!(combined(states.iter().copied()), shown, "{states:?}");
    }
}

#[test]
fn another_node_is_told_of_once_and_forgotten_as_a_whole() {
    let mut given = Given::online();
    let (node, user) = (NodeId(fresh_id()), UserId(fresh_id()));
    let (ours, conversation, began) = (given.user, given.conversation, given.began);
    let mut says = |user, state| {
        given
            .known
            .add(node, here(user, conversation, state), began);
        given.untold(user)
    };
    assert_eq!(says(user, HereState::Idle), Some(PresenceState::Idle));
    assert_eq!(says(user, HereState::Idle), None);
    assert_eq!(says(ours, HereState::Idle), None, "online here");
    assert_eq!(says(ours, HereState::Away), Some(PresenceState::Away));
    given.known.forget_nodes(began + SILENT_MAX, AFTER);
    assert_eq!(given.untold(user), Some(PresenceState::Offline));
    assert_eq!(given.untold(ours), Some(PresenceState::Online));
    assert!(given.known.elsewhere.is_empty());
    assert_eq!(given.known.with[&conversation].len(), 1);
}

#[test]
fn the_users_of_a_node_that_ends_have_a_while_and_what_it_says_then_does_not_count() {
    let mut given = Given::online();
    let (node, user) = (NodeId(fresh_id()), UserId(fresh_id()));
    let began = given.began;
    let idle = here(user, given.conversation, HereState::Idle);
    given.known.add(node, idle, began);
    given.untold(user);
    assert!(given.known.heard(node, began));
    given.known.ends(node, began);
    let later = began + AFTER;
    assert!(!given.known.heard(node, later), "it said that it ends");
    given
        .known
        .forget_nodes(began + Duration::from_millis(4_999), AFTER);
    assert_eq!(given.untold(user), None);
    given.known.forget_nodes(later, AFTER);
    assert_eq!(given.untold(user), Some(PresenceState::Offline));
}

#[test]
fn what_was_lost_is_asked_for_and_an_answer_with_gaps_makes_nobody_go() {
    let mut given = Given::online();
    let node = NodeId(fresh_id());
    let [one, two, gone] = [(); 3].map(|()| UserId(fresh_id()));
    let (conversation, mut now) = (given.conversation, given.began);
    let user = |user, state| here(user, conversation, state);
    let idle = HereState::Idle;
    for id in [one, two, gone] {
        given.known.add(node, user(id, idle), now);
    }
    let of = |users: &[Here]| {
        let digest = users.iter().fold(0, |sum, here| sum ^ here.digest());
        (users.len(), Some(digest))
    };
    let (users, digest) = of(&[user(one, idle), user(two, idle), user(gone, idle)]);
    assert!(!given.known.check(node, users, digest, now), "all is known");
    // As many as before, but one does something else.
    let online = user(two, HereState::Online);
    let (users, digest) = of(&[user(one, idle), online.clone(), user(gone, idle)]);
    assert!(given.known.check(node, users, digest, now));
    assert!(
        !given.known.check(node, users, digest, now),
        "it may answer"
    );
    // One goes, and that, too, is lost. Of the answer only a part comes.
    let (users, digest) = of(&[user(one, idle), online.clone()]);
    given.known.add(node, online.clone(), now);
    now += ANSWER_WITHIN;
    assert!(given.known.check(node, users, digest, now));
    assert_eq!(given.known.shown(one), PresenceState::Idle);
    assert_eq!(given.known.shown(gone), PresenceState::Idle);
    for here in [online, user(one, idle)] {
        given.known.add(node, here, now);
    }
    assert!(!given.known.check(node, users, digest, now));
    assert_eq!(given.known.shown(two), PresenceState::Online);
    assert_eq!(given.known.shown(gone), PresenceState::Offline);
}

#[test]
fn a_node_says_of_itself_what_it_has_said() {
    let mut given = Given::online();
    let said = given.known.take_unsaid().here;
    let digest = said.first().map(Here::digest);
    assert_eq!(given.known.said(), digest.map(|digest| (1, digest)));
    given.turns(Activity::Online, Activity::Idle);
    given.told_at(1_000);
    assert_eq!(given.known.said(), digest.map(|digest| (1, digest)));
    given.known.take_unsaid();
    assert_ne!(given.known.said(), digest.map(|digest| (1, digest)));
    given.known.answer_roll_call();
    assert_eq!(given.known.take_called_for().here.len(), 1);
    assert!(given.known.take_called_for().here.is_empty());
    given.known.end();
    given.known.answer_roll_call();
    assert!(given.known.take_called_for().here.is_empty());
    assert_eq!(given.known.said(), None);
}
