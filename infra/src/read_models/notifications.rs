//! Of what users want to be told, which of their browsers take pushes, and how far they have read the list
//! of what concerned them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::notifications::{Level, Place, QuietHours, Rule, Settings};
use domain::{
    ConversationId, Position, PushSubscriptionId, SessionId, SpaceId, SpaceRoleId, UserId,
};
use serde::Serialize;

use crate::database::{
    AsJson, DatabaseError, Index, Row, Table, Transaction, Value, flag, id, int, micros,
    micros_if_any, text, time,
};
use crate::read_models::spaces::{GIVEN_ROLES, ROLE_IS_THERE};
use crate::read_models::{Model, ReadError, Snapshot, parse_stored};

/// The read model.
pub const MODEL: Model = Model {
    name: "notifications",
    version: 1,
    category: "notifications",
    tables: &[&SETTINGS, &RULES, &SUBSCRIPTIONS],
};

const SETTINGS: Table = Table {
    name: "notification_settings",
    columns: &[
        id("user_id"),
        text("direct_level"),
        text("group_level").nullable(),
        text("quiet_hours").nullable(),
        int("digest_after_s").nullable(),
        flag("include_text"),
        int("read_position"),
        time("digest_at").nullable(),
    ],
    key: &["user_id"],
    indexes: &[
        Index {
            name: "digests",
            columns: "user_id",
            condition: Some("digest_after_s IS NOT NULL"),
        },
        Index {
            name: "quiet",
            columns: "quiet_hours, user_id",
            condition: Some("quiet_hours IS NOT NULL"),
        },
    ],
};

const RULES: Table = Table {
    name: "notification_rules",
    columns: &[
        id("user_id"),
        id("conversation"),
        text("level").nullable(),
        time("muted_until").nullable(),
    ],
    key: &["user_id", "conversation"],
    indexes: &[],
};

const SUBSCRIPTIONS: Table = Table {
    name: "push_subscriptions",
    columns: &[
        id("user_id"),
        id("id"),
        text("target"),
        id("session"),
        time("added_at"),
    ],
    key: &["user_id", "id"],
    indexes: &[],
};

/// A row of `notification_settings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserSettings {
    /// Whose.
    pub user_id: UserId,
    /// Of how much they are told of direct conversations.
    pub direct_level: Level,
    /// And of groups; by their size where it is absent.
    pub group_level: Option<Level>,
    /// When they want to be left alone.
    pub quiet_hours: Option<AsJson<QuietHours>>,
    /// After how long an absence, in seconds, they want a mail.
    pub digest_after_s: Option<u64>,
    /// Whether pushes have the text of messages.
    pub include_text: bool,
    /// Up to where the list is read.
    pub read_position: Position,
    /// When they had their last digest.
    #[serde(serialize_with = "micros_if_any")]
    pub digest_at: Option<DateTime<Utc>>,
}

/// A row of `notification_rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConversationRule {
    /// Whose.
    pub user_id: UserId,
    /// For which conversation.
    pub conversation: ConversationId,
    /// Of how much they are told.
    pub level: Option<Level>,
    /// Until when they are told nothing.
    #[serde(serialize_with = "micros_if_any")]
    pub muted_until: Option<DateTime<Utc>>,
}

/// A row of `push_subscriptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushSubscription {
    /// Whose browser.
    pub user_id: UserId,
    /// Which.
    pub id: PushSubscriptionId,
    /// Where pushes go, sealed.
    pub target: String,
    /// The login that it ends with.
    pub session: SessionId,
    /// Since when, with this target and login.
    #[serde(serialize_with = "micros")]
    pub added_at: DateTime<Utc>,
}

/// Names a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleKey {
    /// Whose.
    pub user_id: UserId,
    /// For which conversation.
    pub conversation: ConversationId,
}

/// Names a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SubscriptionKey {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub id: PushSubscriptionId,
}

#[derive(Serialize)]
struct UserKey {
    user_id: UserId,
}

fn user_keys(users: impl IntoIterator<Item = UserId>) -> Vec<UserKey> {
    let keys = users.into_iter().map(|user_id| UserKey { user_id });
    keys.collect()
}

fn level_if_any(row: &Row, name: &str) -> Result<Option<Level>, DatabaseError> {
    let level: Option<String> = row.get(name)?;
    level.map(|level| parse_stored(&level)).transpose()
}

impl UserSettings {
    /// Of somebody who has set nothing.
    pub fn of(user_id: UserId) -> Self {
        let Settings {
            direct,
            groups,
            include_text,
            ..
        } = Settings::default();
        Self {
            user_id,
            direct_level: direct,
            group_level: groups,
            quiet_hours: None,
            digest_after_s: None,
            include_text,
            read_position: Position::ZERO,
            digest_at: None,
        }
    }

    /// Has these settings from now on.
    pub fn set(&mut self, settings: &Settings) {
        self.direct_level = settings.direct;
        self.group_level = settings.groups;
        self.quiet_hours = settings.quiet_hours.clone().map(AsJson);
        self.digest_after_s = settings.digest_after_s.map(u64::from);
        self.include_text = settings.include_text;
    }

    /// What is set.
    pub fn settings(&self) -> Settings {
        Settings {
            direct: self.direct_level,
            groups: self.group_level,
            quiet_hours: self.quiet_hours.clone().map(|AsJson(hours)| hours),
            digest_after_s: self.digest_after_s.and_then(|it| u32::try_from(it).ok()),
            include_text: self.include_text,
        }
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            direct_level: parse_stored(&row.get::<String>("direct_level")?)?,
            group_level: level_if_any(row, "group_level")?,
            quiet_hours: row.get("quiet_hours")?,
            digest_after_s: row.get("digest_after_s")?,
            include_text: row.get("include_text")?,
            read_position: row.get("read_position")?,
            digest_at: row.get("digest_at")?,
        })
    }
}

impl ConversationRule {
    /// What is set.
    pub const fn rule(&self) -> Rule {
        Rule {
            level: self.level,
            muted_until: self.muted_until,
        }
    }

    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            conversation: row.get("conversation")?,
            level: level_if_any(row, "level")?,
            muted_until: row.get("muted_until")?,
        })
    }
}

impl PushSubscription {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            user_id: row.get("user_id")?,
            id: row.get("id")?,
            target: row.get("target")?,
            session: row.get("session")?,
            added_at: row.get("added_at")?,
        })
    }
}

/// The settings of `users` as they stand in a generation.
pub async fn load_settings(
    transaction: &mut Transaction,
    generation: u64,
    users: impl IntoIterator<Item = UserId>,
) -> Result<Vec<UserSettings>, DatabaseError> {
    SETTINGS
        .load(transaction, generation, SETTINGS.key, &user_keys(users))
        .await?
        .iter()
        .map(UserSettings::from_row)
        .collect()
}

/// What a batch changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Settings that are new or others.
    pub settings: Vec<UserSettings>,
    /// Rules that there are now.
    pub rules: Vec<ConversationRule>,
    /// Rules that are gone.
    pub rules_gone: Vec<RuleKey>,
    /// Browsers that take pushes now.
    pub subscriptions: Vec<PushSubscription>,
    /// Browsers that take none any more.
    pub subscriptions_gone: Vec<SubscriptionKey>,
}

/// Writes what a batch changed.
pub async fn store(
    transaction: &mut Transaction,
    generation: u64,
    changes: &Changes,
) -> Result<(), DatabaseError> {
    SETTINGS
        .upsert(transaction, generation, &changes.settings)
        .await?;
    RULES
        .upsert(transaction, generation, &changes.rules)
        .await?;
    let gone = &changes.rules_gone;
    RULES
        .delete(transaction, generation, RULES.key, gone)
        .await?;
    SUBSCRIPTIONS
        .upsert(transaction, generation, &changes.subscriptions)
        .await?;
    let gone = &changes.subscriptions_gone;
    SUBSCRIPTIONS
        .delete(transaction, generation, SUBSCRIPTIONS.key, gone)
        .await
}

/// What is set by `users`; those who set nothing are left out.
pub async fn settings(
    snapshot: &mut Snapshot,
    users: &[UserId],
) -> Result<BTreeMap<UserId, UserSettings>, ReadError> {
    let keys = user_keys(users.iter().copied());
    let rows = snapshot.keyed(&SETTINGS, SETTINGS.key, &keys).await?;
    let rows = rows.iter().map(UserSettings::from_row);
    let settings: Result<_, DatabaseError> = rows
        .map(|row| row.map(|settings| (settings.user_id, settings)))
        .collect();
    Ok(settings?)
}

/// The rules of a user, in the order of conversations.
pub async fn rules(
    snapshot: &mut Snapshot,
    user: UserId,
) -> Result<Vec<ConversationRule>, ReadError> {
    let rows = snapshot
        .keyed(&RULES, &["user_id"], &user_keys([user]))
        .await?;
    let rules = rows.iter().map(ConversationRule::from_row);
    let mut rules: Vec<ConversationRule> = rules.collect::<Result<_, _>>()?;
    rules.sort_unstable_by_key(|rule| rule.conversation);
    Ok(rules)
}

/// The browsers of `users` that take pushes, in the order of users and ids.
pub async fn subscriptions(
    snapshot: &mut Snapshot,
    users: &[UserId],
) -> Result<Vec<PushSubscription>, ReadError> {
    let keys = user_keys(users.iter().copied());
    let rows = snapshot.keyed(&SUBSCRIPTIONS, &["user_id"], &keys).await?;
    let found = rows.iter().map(PushSubscription::from_row);
    let mut found: Vec<PushSubscription> = found.collect::<Result<_, _>>()?;
    found.sort_unstable_by_key(|one| (one.user_id, one.id));
    Ok(found)
}

/// The quiet hours that anybody has set, each once.
pub async fn all_quiet_hours(snapshot: &mut Snapshot) -> Result<Vec<QuietHours>, ReadError> {
    let sql = "SELECT DISTINCT quiet_hours FROM notification_settings \
               WHERE quiet_hours IS NOT NULL ORDER BY quiet_hours";
    let rows = snapshot.all(sql, &[]).await?;
    let hours = |row: &Row| row.get("quiet_hours").map(|AsJson(hours)| hours);
    Ok(rows.iter().map(hours).collect::<Result<_, _>>()?)
}

/// Who has one of these quiet hours and a browser that takes pushes, and may come in, in the order of ids: up
/// to `limit`, those after `after`. Needs this model and users.
pub async fn with_quiet_hours(
    snapshot: &mut Snapshot,
    hours: &[QuietHours],
    after: UserId,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<UserSettings>, ReadError> {
    #[derive(Serialize)]
    struct Key {
        quiet_hours: AsJson<QuietHours>,
    }
    let keys = hours.iter().cloned().map(|hours| Key {
        quiet_hours: AsJson(hours),
    });
    let keys: Vec<Key> = keys.collect();
    let columns: Vec<String> = SETTINGS
        .column_list()
        .map(|column| format!("t.{column}"))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} CROSS JOIN notification_settings AS t \
         JOIN users AS u ON u.id = t.user_id AND NOT u.deactivated \
            AND (NOT u.suspended OR u.suspended_until <= $3) \
         WHERE t.quiet_hours = k.quiet_hours AND t.user_id > $2 \
            AND EXISTS (SELECT 1 FROM push_subscriptions AS p WHERE p.user_id = t.user_id) \
         ORDER BY t.user_id LIMIT $4",
        columns.join(", "),
        SETTINGS.keys_of(snapshot.dialect(), &["quiet_hours"]),
    );
    let values = [
        crate::database::json(&keys)?,
        after.into(),
        now.into(),
        limit.into(),
    ];
    let rows = snapshot.all(&sql, &values).await?;
    let rows = rows.iter().map(UserSettings::from_row);
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Who wants digests, in the order of ids: up to `limit`, those after `after`.
pub async fn with_digests(
    snapshot: &mut Snapshot,
    after: UserId,
    limit: usize,
) -> Result<Vec<UserSettings>, ReadError> {
    let columns: Vec<&str> = SETTINGS.column_list().collect();
    let sql = format!(
        "SELECT {} FROM notification_settings WHERE digest_after_s IS NOT NULL AND user_id > $1 \
         ORDER BY user_id LIMIT $2",
        columns.join(", ")
    );
    let rows = snapshot.all(&sql, &[after.into(), limit.into()]).await?;
    let rows = rows.iter().map(UserSettings::from_row);
    Ok(rows.collect::<Result<_, _>>()?)
}

/// In which of `conversations` anybody is who has a browser that takes pushes. Needs this model and
/// members.
pub async fn with_browsers(
    snapshot: &mut Snapshot,
    conversations: &BTreeSet<ConversationId>,
) -> Result<BTreeSet<ConversationId>, ReadError> {
    #[derive(Serialize)]
    struct Key {
        conversation: ConversationId,
    }
    let keys = conversations.iter().map(|id| Key { conversation: *id });
    let keys: Vec<Key> = keys.collect();
    let sql = format!(
        "SELECT k.conversation FROM {} WHERE EXISTS (SELECT 1 FROM members AS m \
            WHERE m.conversation = k.conversation AND m.left_seq IS NULL AND EXISTS (\
                SELECT 1 FROM push_subscriptions AS p WHERE p.user_id = m.member))",
        RULES.keys_of(snapshot.dialect(), &["conversation"]),
    );
    let rows = snapshot.all(&sql, &[crate::database::json(&keys)?]).await?;
    let found = rows.iter().map(|row| row.get("conversation"));
    Ok(found.collect::<Result<_, _>>()?)
}

/// Somebody who may be told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub user: UserId,
    /// What they are in the conversation.
    pub role: domain::conversation::Role,
    /// Whether they have a role of its space that the message calls.
    pub called_role: CalledRole,
    /// What they set for the conversation.
    pub rule: Rule,
    /// What they set for all.
    pub settings: Settings,
    /// Whether they follow the thread of the message.
    pub follows: bool,
    /// Whether they have seen the message.
    pub is_seen: bool,
    /// Whether they block its author.
    pub is_blocked: bool,
}

/// Whether somebody has a role that is called, or any of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledRole {
    /// They have.
    Held,
    /// They have not, or none is called.
    NotHeld,
}

/// A message of which people may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub conversation: ConversationId,
    /// The space of that, if it is a channel.
    pub space: Option<SpaceId>,
    /// Which.
    pub seq: domain::Seq,
    /// By whom.
    pub author: UserId,
    /// In which thread.
    pub thread: Option<domain::Seq>,
    /// Where, as far as it counts.
    pub place: Place,
    /// Whom it calls.
    pub calls: Calls,
}

/// Whom a message calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Every member.
    pub everyone: bool,
    /// The admins, and the owner.
    pub admins: bool,
    /// The owner.
    pub owner: bool,
    /// Those with these roles of the space.
    pub roles: BTreeSet<SpaceRoleId>,
    /// By name, and whose message it answers.
    pub users: BTreeSet<UserId>,
}

/// That `m` has a role of the space that the message calls, and that there is; adds what it compares with to
/// `values`.
fn has_called_role(message: &Message, values: &mut Vec<Value>) -> String {
    let Some(space) = message.space.filter(|_| !message.calls.roles.is_empty()) else {
        return "FALSE".to_owned();
    };
    values.push(Value::Id(space.0));
    let of_space = values.len();
    let role = |role: &SpaceRoleId| {
        values.push(Value::Id(role.0));
        format!("${}", values.len())
    };
    let roles: Vec<String> = message.calls.roles.iter().map(role).collect();
    format!(
        "EXISTS (SELECT 1 FROM {GIVEN_ROLES} WHERE h.space = ${of_space} \
            AND h.member = m.member AND h.role IN ({}) AND {ROLE_IS_THERE})",
        roles.join(", ")
    )
}

/// Active members of the conversation, except the author, with a browser that takes pushes, whom the
/// message calls or who want to be told of everything there, in the order of ids: up to `limit`, those after
/// `after`. Needs this model, members, messages, receipts, spaces and users.
pub async fn candidates(
    snapshot: &mut Snapshot,
    message: &Message,
    after: UserId,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Candidate>, ReadError> {
    let columns: Vec<String> = SETTINGS
        .column_list()
        .map(|column| format!("s.{column}"))
        .collect();
    let by_setting = match message.place {
        Place::Direct => "s.direct_level, 'all'",
        Place::SmallGroup => "s.group_level, 'all'",
        Place::LargeGroup => "s.group_level, 'mentions'",
    };
    let calls = &message.calls;
    let mut values = vec![
        crate::database::json(&user_keys(calls.users.iter().copied()))?,
        message.conversation.into(),
        message.seq.into(),
        message.author.into(),
        // No message has the seq 0.
        message.thread.unwrap_or(domain::Seq::ZERO).into(),
        after.into(),
        now.into(),
        limit.into(),
    ];
    let has_called_role = has_called_role(message, &mut values);
    let mut called = format!(
        "COALESCE(r.level, {by_setting}) = 'all' OR f.member IS NOT NULL OR {has_called_role} \
         OR m.member IN (SELECT k.user_id FROM {})",
        SETTINGS.keys_of(snapshot.dialect(), SETTINGS.key)
    );
    for (calls, condition) in [
        (calls.everyone, " OR TRUE"),
        (calls.admins, " OR m.role IN ('admin', 'owner')"),
        (calls.owner, " OR m.role = 'owner'"),
    ] {
        if calls {
            called.push_str(condition);
        }
    }
    let sql = format!(
        "SELECT m.member, m.role, r.level, r.muted_until, {}, f.member AS follower, \
            {has_called_role} AS has_called_role, \
            EXISTS (SELECT 1 FROM receipts AS x WHERE x.conversation = $2 AND x.member = m.member \
                AND x.kind = 'seen' AND x.seq >= $3) \
            OR EXISTS (SELECT 1 FROM thread_receipts AS x WHERE x.conversation = $2 \
                AND x.thread = $5 AND x.member = m.member AND x.seq >= $3) AS is_seen, \
            EXISTS (SELECT 1 FROM blocks AS b WHERE b.blocker = m.member AND b.blocked = $4) \
                AS is_blocked \
         FROM members AS m \
         JOIN users AS u ON u.id = m.member AND NOT u.deactivated \
            AND (NOT u.suspended OR u.suspended_until <= $7) \
         LEFT JOIN notification_rules AS r ON r.user_id = m.member AND r.conversation = $2 \
         LEFT JOIN notification_settings AS s ON s.user_id = m.member \
         LEFT JOIN thread_followers AS f ON f.conversation = $2 AND f.thread = $5 \
            AND f.member = m.member \
         WHERE m.conversation = $2 AND m.left_seq IS NULL AND m.joined_seq <= $3 \
            AND m.member > $6 AND m.member <> $4 AND ({called}) \
            AND EXISTS (SELECT 1 FROM push_subscriptions AS p WHERE p.user_id = m.member) \
         ORDER BY m.member LIMIT $8",
        columns.join(", ")
    );
    let rows = snapshot.all(&sql, &values).await?;
    let candidate = |row: &Row| -> Result<Candidate, DatabaseError> {
        let user: UserId = row.get("member")?;
        let settings = match row.get::<Option<UserId>>("user_id")? {
            Some(_) => UserSettings::from_row(row)?.settings(),
            None => Settings::default(),
        };
        Ok(Candidate {
            user,
            role: parse_stored(&row.get::<String>("role")?)?,
            called_role: if row.get("has_called_role")? {
                CalledRole::Held
            } else {
                CalledRole::NotHeld
            },
            rule: Rule {
                level: level_if_any(row, "level")?,
                muted_until: row.get("muted_until")?,
            },
            settings,
            follows: row.get::<Option<UserId>>("follower")?.is_some(),
            is_seen: row.get("is_seen")?,
            is_blocked: row.get("is_blocked")?,
        })
    };
    Ok(rows.iter().map(candidate).collect::<Result<_, _>>()?)
}

/// When `user` was last here: when a login of theirs was opened, refreshed or ended, or they said what
/// they had seen, there or in a thread that they follow. Marks that only they see count, which do not where
/// others are told when they were here. `None` where they never were. Needs members, messages, receipts and
/// sessions.
pub async fn last_here(
    snapshot: &mut Snapshot,
    user: UserId,
) -> Result<Option<DateTime<Utc>>, ReadError> {
    let sql = "SELECT max(v.at) AS at FROM (\
            SELECT CASE WHEN revoked_at > last_used_at THEN revoked_at ELSE last_used_at END AS at \
                FROM sessions WHERE user_id = $1 \
            UNION ALL SELECT (SELECT r.at FROM receipts AS r \
                WHERE r.conversation = m.conversation AND r.member = m.member AND r.kind = 'seen' \
                ORDER BY r.seq DESC LIMIT 1) AS at FROM members AS m WHERE m.member = $1 \
            UNION ALL SELECT (SELECT r.at FROM thread_receipts AS r \
                WHERE r.conversation = f.conversation AND r.thread = f.thread AND r.member = f.member \
                ORDER BY r.seq DESC LIMIT 1) AS at FROM thread_followers AS f WHERE f.member = $1) AS v";
    let row = snapshot.first(sql, &[user.into()]).await?;
    Ok(row.map_or(Ok(None), |row| row.get("at"))?)
}
