//! The fold behind `infra::read_models::users`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::user::{ProfileChanged, Registered, UserEvent};
use domain::values::{Locale, Pronouns, StatusText, TimeZone};
use domain::{AttachmentId, Change, Event, Personal, UserId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::users::{self, Avatar, Block, User};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit, ids};

/// Folds accounts.
pub(crate) struct Users;

#[async_trait]
impl Projection for Users {
    fn model(&self) -> &'static Model {
        &users::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids = ids::<UserId>(facts);
        let rows = users::load(transaction, generation, ids).await?;
        let mut batch = Batch {
            users: rows.into_iter().map(|user| (user.id, user)).collect(),
            ..Batch::default()
        };
        parking.fold(facts, |fact| batch.fold(fact));
        batch.store(transaction, generation).await
    }
}

/// The rows that a batch of events is about.
#[derive(Default)]
struct Batch {
    users: BTreeMap<UserId, User>,
    /// Who is called otherwise than before.
    renamed: BTreeSet<UserId>,
    /// By whose and which.
    avatars: BTreeMap<(UserId, AttachmentId), Avatar>,
    /// By blocker and blocked; `None` where it ended.
    blocks: BTreeMap<(UserId, UserId), Option<Block>>,
}

impl Batch {
    async fn store(
        self,
        transaction: &mut Transaction,
        generation: u64,
    ) -> Result<(), DatabaseError> {
        let users: Vec<User> = self.users.into_values().collect();
        users::store(transaction, generation, &users).await?;
        let is_renamed = |user: &&User| self.renamed.contains(&user.id);
        let renamed: Vec<&User> = users.iter().filter(is_renamed).collect();
        users::store_words(transaction, generation, &renamed).await?;
        let avatars: Vec<Avatar> = self.avatars.into_values().collect();
        users::store_avatars(transaction, generation, &avatars).await?;
        let (mut made, mut ended) = (Vec::new(), Vec::new());
        for (pair, block) in self.blocks {
            match block {
                Some(block) => made.push(block),
                None => ended.push(pair),
            }
        }
        users::store_blocks(transaction, generation, &made, &ended).await
    }

    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let id: UserId = fact.id("a user")?;
        let Event::User(event) = &fact.event else {
            return Err(Unfit::new("the event is of another category"));
        };
        if let UserEvent::Registered(registered) = event {
            self.users
                .entry(id)
                .or_insert_with(|| begun(id, registered, fact));
            self.renamed.insert(id);
        }
        let user = self
            .users
            .get_mut(&id)
            .ok_or_else(|| Unfit::new("the user was not registered"))?;
        match event {
            UserEvent::Registered(_)
            | UserEvent::PasswordSet(_)
            | UserEvent::CodeIssued(_)
            | UserEvent::CodeRefused(_)
            | UserEvent::CodeUsed(_)
            // By whose word one comes in, and whose sessions have ended, is asked of the log.
            | UserEvent::ExternalIdentityUnlinked(_)
            | UserEvent::LoggedOutEverywhere(_)
            // And what their second factors are.
            | UserEvent::TotpBegun(_)
            | UserEvent::TotpEnrolled(_)
            | UserEvent::TotpUsed(_)
            | UserEvent::TotpRemoved(_)
            | UserEvent::RecoveryCodesMade(_)
            | UserEvent::RecoveryCodeUsed(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRenamed(_)
            | UserEvent::PasskeyUsed(_)
            | UserEvent::PasskeySuspected(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::SecondFactorRefused(_)
            | UserEvent::SecondFactorsRemoved(_) => {}
            UserEvent::ProfileChanged(changed) => {
                change_profile(user, changed);
                self.renamed.insert(id);
            }
            UserEvent::AvatarChanged(changed) => {
                let changed = change_avatar(user, changed.avatar, fact);
                self.avatars.extend(changed);
            }
            UserEvent::ExternalIdentityUpdated(updated) => {
                if let Some(name) = &updated.display_name {
                    name.value.as_str().clone_into(&mut user.display_name);
                    self.renamed.insert(id);
                }
                if let Some(email) = &updated.email {
                    user.email = Some(email.value.as_str().to_owned());
                    user.verified_email.clone_from(&user.email);
                }
            }
            UserEvent::ExternalIdentityLinked(linked) => {
                let vouched = linked.email.as_ref().map(|email| email.value.as_str());
                if vouched.is_some() && vouched == user.email.as_deref() {
                    user.verified_email.clone_from(&user.email);
                }
            }
            UserEvent::EmailVerified(verified) => {
                user.verified_email = Some(verified.email.value.as_str().to_owned());
            }
            UserEvent::SystemRoleGranted(changed) => {
                user.system_roles.insert(changed.role);
            }
            UserEvent::SystemRoleRevoked(changed) => {
                user.system_roles.remove(&changed.role);
            }
            UserEvent::PreferencesChanged(changed) => {
                user.preferences = changed.preferences.value.text();
                user.discoverable = changed.preferences.value.discoverable();
            }
            UserEvent::Blocked(changed) => {
                let block = Block {
                    blocker: id,
                    blocked: changed.user,
                    blocked_at: fact.at,
                };
                self.blocks.insert((id, changed.user), Some(block));
            }
            UserEvent::Unblocked(changed) => {
                self.blocks.insert((id, changed.user), None);
            }
            UserEvent::Suspended(suspended) => {
                user.suspended = true;
                user.suspended_until = suspended.until;
            }
            UserEvent::Reinstated(_) => {
                user.suspended = false;
                user.suspended_until = None;
            }
            UserEvent::Deactivated(_) => user.deactivated = true,
            UserEvent::Reactivated(_) => user.deactivated = false,
            UserEvent::ServiceAttached(attached) => user.service = Some(attached.service),
        }
        Ok(())
    }
}

/// The row of an account that begins.
fn begun(id: UserId, registered: &Registered, fact: &Fact) -> User {
    User {
        id,
        handle: registered.handle.as_str().to_owned(),
        display_name: registered.display_name.value.as_str().to_owned(),
        email: registered
            .email
            .as_ref()
            .map(|email| email.value.as_str().to_owned()),
        verified_email: None,
        system_roles: BTreeSet::new(),
        imported_from: registered.imported_from.clone(),
        registered_at: fact.at,
        registered_position: fact.position,
        status_text: None,
        time_zone: None,
        locale: None,
        pronouns: None,
        preferences: "{}".to_owned(),
        discoverable: true,
        suspended: false,
        suspended_until: None,
        deactivated: false,
        service: None,
        avatar: None,
    }
}

/// What becomes of the picture before, and of the one from now on.
fn change_avatar(
    user: &mut User,
    avatar: Option<AttachmentId>,
    fact: &Fact,
) -> impl Iterator<Item = ((UserId, AttachmentId), Avatar)> {
    let owner = user.id;
    let before = std::mem::replace(&mut user.avatar, avatar);
    let ended = before.map(|attachment| (attachment, Some(fact.position)));
    let now = avatar.map(|attachment| (attachment, None));
    ended
        .into_iter()
        .chain(now)
        .map(move |(attachment, ended_position)| {
            let avatar = Avatar {
                owner,
                attachment,
                ended_position,
            };
            ((owner, attachment), avatar)
        })
}

fn change_profile(user: &mut User, changed: &ProfileChanged) {
    if let Some(name) = &changed.display_name {
        name.value.as_str().clone_into(&mut user.display_name);
    }
    change(
        &mut user.status_text,
        &changed.status_text,
        StatusText::as_str,
    );
    change(&mut user.time_zone, &changed.time_zone, TimeZone::as_str);
    change(&mut user.locale, &changed.locale, Locale::as_str);
    change(&mut user.pronouns, &changed.pronouns, Pronouns::as_str);
}

fn change<T>(field: &mut Option<String>, change: &Change<Personal<T>>, text: impl Fn(&T) -> &str) {
    match change {
        Change::Keep => {}
        Change::Clear => *field = None,
        Change::Set(personal) => *field = Some(text(&personal.value).to_owned()),
    }
}
