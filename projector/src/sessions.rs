//! The fold behind `infra::read_models::sessions`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::session::SessionEvent;
use domain::{Event, Personal, SessionId};
use infra::database::{DatabaseError, Transaction};
use infra::read_models::Model;
use infra::read_models::sessions::{self, Session};

use crate::Projection;
use crate::fact::{Fact, Parking, Unfit, ids};

/// Folds logins.
pub(crate) struct Sessions;

#[async_trait]
impl Projection for Sessions {
    fn model(&self) -> &'static Model {
        &sessions::MODEL
    }

    async fn apply(
        &self,
        transaction: &mut Transaction,
        generation: u64,
        facts: &[Fact],
        parking: &mut Parking,
    ) -> Result<(), DatabaseError> {
        let ids = ids::<SessionId>(facts);
        let mut sessions: BTreeMap<SessionId, Session> =
            sessions::load(transaction, generation, ids)
                .await?
                .into_iter()
                .map(|session| (session.id, session))
                .collect();
        parking.fold(facts, |fact| fold(&mut sessions, fact));
        let sessions: Vec<Session> = sessions.into_values().collect();
        sessions::store(transaction, generation, &sessions).await
    }
}

fn fold(sessions: &mut BTreeMap<SessionId, Session>, fact: &Fact) -> Result<(), Unfit> {
    let id: SessionId = fact.id("a session")?;
    let Event::Session(event) = &fact.event else {
        return Err(Unfit::new("the event is of another category"));
    };
    let value = |personal: &Option<Personal<String>>| {
        let personal = personal.as_ref();
        personal.map(|personal| personal.value.clone())
    };
    if let SessionEvent::Opened(opened) = event {
        sessions.entry(id).or_insert_with(|| Session {
            id,
            user_id: opened.user,
            device: value(&opened.device),
            address: value(&opened.address),
            opened_at: fact.at,
            opened_position: fact.position,
            last_used_at: fact.at,
            expires_at: opened.expires_at,
            login_epoch: opened.login_epoch,
            revoked_at: None,
        });
    }
    let session = sessions
        .get_mut(&id)
        .ok_or_else(|| Unfit::new("the session was not opened"))?;
    match event {
        SessionEvent::Opened(_) => {}
        SessionEvent::Refreshed(refreshed) => {
            session.last_used_at = fact.at;
            // What was not said this time is as it was.
            session.device = value(&refreshed.device).or(session.device.take());
            session.address = value(&refreshed.address).or(session.address.take());
        }
        SessionEvent::Revoked(_) => {
            session.revoked_at.get_or_insert(fact.at);
        }
    }
    Ok(())
}
