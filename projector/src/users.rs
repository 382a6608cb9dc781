//! The fold behind `infra::read_models::users`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::user::UserEvent;
use domain::{Event, UserId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::users::{self, User};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit};

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
        let ids: BTreeSet<UserId> = facts
            .iter()
            .filter_map(|fact| fact.stream.key().parse().ok())
            .collect();
        let mut users: BTreeMap<UserId, User> = users::load(transaction, generation, ids)
            .await?
            .into_iter()
            .map(|user| (user.id, user))
            .collect();
        parking.fold(facts, |fact| fold(&mut users, fact));
        let users: Vec<User> = users.into_values().collect();
        users::store(transaction, generation, &users).await
    }
}

fn fold(users: &mut BTreeMap<UserId, User>, fact: &Fact) -> Result<(), Unfit> {
    let id: UserId = fact
        .stream
        .key()
        .parse()
        .map_err(|_| Unfit::new("the stream is not named after a user"))?;
    let Event::User(event) = &fact.event else {
        return Err(Unfit::new("the event is of another category"));
    };
    if let UserEvent::Registered(registered) = event {
        users.entry(id).or_insert_with(|| User {
            id,
            handle: registered.handle.as_str().to_owned(),
            display_name: registered.display_name.value.as_str().to_owned(),
            email: registered
                .email
                .as_ref()
                .map(|email| email.value.as_str().to_owned()),
            system_roles: BTreeSet::new(),
            imported_from: registered.imported_from.clone(),
            registered_at: fact.at,
            registered_position: fact.position,
        });
    }
    let user = users
        .get_mut(&id)
        .ok_or_else(|| Unfit::new("the user was not registered"))?;
    match event {
        UserEvent::Registered(_)
        | UserEvent::PasswordSet(_)
        | UserEvent::LoggedOutEverywhere(_) => {}
        UserEvent::ProfileChanged(changed) => {
            changed
                .display_name
                .value
                .as_str()
                .clone_into(&mut user.display_name);
        }
        UserEvent::SystemRoleGranted(changed) => {
            user.system_roles.insert(changed.role);
        }
        UserEvent::SystemRoleRevoked(changed) => {
            user.system_roles.remove(&changed.role);
        }
    }
    Ok(())
}
