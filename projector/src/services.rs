//! The fold behind `infra::read_models::services`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::service::ServiceEvent;
use domain::{Event, ServiceId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::services::{self, Service};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit, ids};

/// Folds service accounts.
pub(crate) struct Services;

#[async_trait]
impl Projection for Services {
    fn model(&self) -> &'static Model {
        &services::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids = ids::<ServiceId>(facts);
        let mut services: BTreeMap<ServiceId, Service> =
            services::load(transaction, generation, ids)
                .await?
                .into_iter()
                .map(|service| (service.id, service))
                .collect();
        parking.fold(facts, |fact| fold(&mut services, fact));
        let services: Vec<Service> = services.into_values().collect();
        services::store(transaction, generation, &services).await
    }
}

fn fold(services: &mut BTreeMap<ServiceId, Service>, fact: &Fact) -> Result<(), Unfit> {
    let id: ServiceId = fact.id("a service")?;
    let Event::Service(event) = &fact.event else {
        return Err(Unfit::new("the event is of another category"));
    };
    if let ServiceEvent::Created(created) = event {
        services.entry(id).or_insert_with(|| Service {
            id,
            name: created.name.as_str().to_owned(),
            scopes: created.scopes.clone(),
            account: created.account,
            created_by: created.by.to_string(),
            created_at: fact.at,
            created_position: fact.position,
            generation: 0,
            issued_at: None,
            expires_at: None,
            revoked_at: None,
        });
    }
    let service = services
        .get_mut(&id)
        .ok_or_else(|| Unfit::new("the service was not created"))?;
    match event {
        ServiceEvent::Created(_) => {}
        ServiceEvent::TokenIssued(issued) => {
            service.generation = issued.generation.into();
            service.issued_at = Some(fact.at);
            service.expires_at = issued.expires_at;
        }
        ServiceEvent::Revoked(_) => {
            service.revoked_at.get_or_insert(fact.at);
        }
    }
    Ok(())
}
