//! The account of a bot, which is like others but that nobody logs in to it.

use crate::ids::{ServiceId, UserId};
use crate::personal::Personal;
use crate::user::decide::{Account, Decision};
use crate::user::event::{Registered, ServiceAttached, UserEvent};
use crate::user::refused::Refused;
use crate::values::{DisplayName, Handle};

/// A bot to be made. That the handle is the bot's is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBot {
    /// Whose account.
    pub user: UserId,
    /// The unique name.
    pub handle: Handle,
    /// What to be called.
    pub display_name: DisplayName,
    /// The service that acts as this user.
    pub service: ServiceId,
}

/// Whoever makes a bot that is there hears, of the same bot, that it is done.
pub(super) fn register(account: Option<&Account>, bot: &NewBot) -> Decision {
    if let Some(account) = account {
        let same = account.handle == bot.handle && account.service == Some(bot.service);
        return if same {
            Ok(vec![])
        } else {
            Err(Refused::AlreadyRegistered)
        };
    }
    let registered = Registered {
        email: None,
        display_name: Personal::new(bot.user, bot.display_name.clone()),
        handle: bot.handle.clone(),
        imported_from: None,
    };
    let attached = ServiceAttached {
        service: bot.service,
    };
    Ok(vec![
        UserEvent::Registered(registered),
        UserEvent::ServiceAttached(attached),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, Given};
    use crate::user::testing::registered;
    use crate::user::{Command, SystemRole, User};

    fn given(history: impl IntoIterator<Item = UserEvent>) -> Given<User> {
        Given::history(history)
    }

    fn register(handle: &str) -> Command {
        Command::RegisterBot(NewBot {
            user: ALICE,
            handle: Handle::parse(handle).expect("a good handle"),
            display_name: DisplayName::parse("Alice").expect("a good name"),
            service: ServiceId(ALICE.0),
        })
    }

    #[test]
    fn a_bot_is_made_once_and_has_no_roles() {
        let attached = UserEvent::ServiceAttached(ServiceAttached {
            service: ServiceId(ALICE.0),
        });
        let history = [registered(ALICE), attached];
        given([]).when(register("alice")).then(history.clone());
        given(history.clone()).when(register("alice")).then([]);
        given(history.clone())
            .when(register("robot"))
            .then_refused(Refused::AlreadyRegistered);
        given([registered(ALICE)])
            .when(register("alice"))
            .then_refused(Refused::AlreadyRegistered);
        given(history)
            .when(Command::GrantSystemRole(SystemRole::Auditor))
            .then_refused(Refused::IsService);
    }
}
