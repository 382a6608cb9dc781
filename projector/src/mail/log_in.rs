//! The mail with the code that lets somebody in without a password.

use super::letter::Letter;

/// The mail of a server that is called `server`.
pub(super) fn letter(server: &str) -> Letter {
    Letter {
        subject: format!("Log in to {server}"),
        what: format!("This is the code that logs you in to {server}:"),
        if_not_you: "If it was not you who asked for it, do nothing: without the code nobody gets \
                     in. Whoever asked knows your address, and need not know more."
            .to_owned(),
    }
}
