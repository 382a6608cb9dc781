//! The fold behind `infra::read_models::notifications`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::notifications::NotificationsEvent;
use domain::{Event, UserId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::notifications::{
    self, Changes, ConversationRule, PushSubscription, RuleKey, SubscriptionKey, UserSettings,
};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit, ids};

/// Folds what users want to be told.
pub(crate) struct Notifications;

#[async_trait]
impl Projection for Notifications {
    fn model(&self) -> &'static Model {
        &notifications::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids = ids::<UserId>(facts);
        let settings = notifications::load_settings(transaction, generation, ids).await?;
        let mut batch = Batch {
            settings: settings.into_iter().map(|it| (it.user_id, it)).collect(),
            ..Batch::default()
        };
        parking.fold(facts, |fact| batch.fold(fact));
        notifications::store(transaction, generation, &batch.into_changes()).await
    }
}

/// The rows that a batch of events is about; `None` where there is none any more.
#[derive(Default)]
struct Batch {
    settings: BTreeMap<UserId, UserSettings>,
    rules: BTreeMap<RuleKey, Option<ConversationRule>>,
    subscriptions: BTreeMap<SubscriptionKey, Option<PushSubscription>>,
}

impl Batch {
    fn fold(&mut self, fact: &Fact) -> Result<(), Unfit> {
        let user_id: UserId = fact.id("a user")?;
        let Event::Notifications(event) = &fact.event else {
            return Err(Unfit::new("the event is of another category"));
        };
        match event {
            NotificationsEvent::RuleChanged(changed) => {
                let key = RuleKey {
                    user_id,
                    conversation: changed.conversation,
                };
                let row = ConversationRule {
                    user_id,
                    conversation: changed.conversation,
                    level: changed.rule.level,
                    muted_until: changed.rule.muted_until,
                };
                let row = (!changed.rule.is_empty()).then_some(row);
                self.rules.insert(key, row);
            }
            NotificationsEvent::SettingsChanged(changed) => {
                self.settings(user_id).set(&changed.settings.value);
            }
            NotificationsEvent::ReadUpTo(read) => {
                let settings = self.settings(user_id);
                settings.read_position = settings.read_position.max(read.position);
            }
            NotificationsEvent::PushSubscriptionAdded(added) => {
                let key = SubscriptionKey {
                    user_id,
                    id: added.subscription,
                };
                let row = PushSubscription {
                    user_id,
                    id: added.subscription,
                    target: added.target.value.clone(),
                    session: added.session,
                    added_at: added.at,
                };
                self.subscriptions.insert(key, Some(row));
            }
            NotificationsEvent::PushSubscriptionRemoved(removed) => {
                let key = SubscriptionKey {
                    user_id,
                    id: removed.subscription,
                };
                self.subscriptions.insert(key, None);
            }
            NotificationsEvent::DigestIssued(issued) => {
                self.settings(user_id).digest_at = Some(issued.issued_at);
            }
        }
        Ok(())
    }

    fn settings(&mut self, user_id: UserId) -> &mut UserSettings {
        let settings = self.settings.entry(user_id);
        settings.or_insert_with(|| UserSettings::of(user_id))
    }

    fn into_changes(self) -> Changes {
        let mut changes = Changes {
            settings: self.settings.into_values().collect(),
            ..Changes::default()
        };
        for (key, row) in self.rules {
            match row {
                Some(row) => changes.rules.push(row),
                None => changes.rules_gone.push(key),
            }
        }
        for (key, row) in self.subscriptions {
            match row {
                Some(row) => changes.subscriptions.push(row),
                None => changes.subscriptions_gone.push(key),
            }
        }
        changes
    }
}
