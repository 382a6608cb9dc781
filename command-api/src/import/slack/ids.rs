//! Ids that an import derives from Slack's, so that the same export, or a newer one of the same
//! workspace, always names the same things. An export does not always say of which workspace it
//! is, and Slack's own ids are unique among workspaces in practice: where two exports name the same
//! Slack id, it is taken for the same thing.

use domain::{CommandId, ConversationId, UserId};
use uuid::Uuid;

/// Never changes: everything ever imported is named by it.
const SLACK: Uuid = Uuid::from_u128(0x2b6c_8f0e_41d7_5a93_9c1e_77d0_35ab_e862);

fn derived(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&SLACK, format!("{kind}/{key}").as_bytes())
}

/// The account of a Slack user or bot.
pub(super) fn user(slack_id: &str) -> UserId {
    UserId(derived("user", slack_id))
}

/// The conversation of a Slack channel. Direct ones are named by their two users instead.
pub(super) fn conversation(slack_id: &str) -> ConversationId {
    ConversationId(derived("conversation", slack_id))
}

/// The command that does `what` to `key`.
pub(super) fn command(what: &str, key: &str) -> CommandId {
    CommandId(derived(what, key))
}

/// The command that imports the message that was sent at `ts` in the Slack channel `channel`.
pub(super) fn message(channel: &str, ts: &str) -> CommandId {
    command("message", &format!("{channel}/{ts}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These stand in every log with imported history: they never change.
    #[test]
    fn derived_ids_are_the_same_for_ever() {
        let ids = [
            user("U1").0,
            conversation("C1").0,
            message("C1", "1524308079.000117").0,
        ];
        assert_eq!(
            ids.map(|id| id.to_string()),
            [
                "43f3bcf8-5a0c-5126-bc86-49d762f4f714",
                "b27f8270-a11f-5bf6-8cd6-2711d5811925",
                "0d41ffe6-21fc-5d4d-8b5f-a808717dcf92"
            ]
        );
    }
}
