//! The mail with the code that lets somebody choose another password.

use super::letter::Letter;

/// The mail of a server that is called `server`.
pub(super) fn letter(server: &str) -> Letter {
    Letter {
        subject: format!("Choose another password for {server}"),
        what: format!("This is the code with which you choose another password for {server}:"),
        if_not_you: "If it was not you who asked for it, do nothing: your password stays what it \
                     is. Once it is changed, every device is logged out."
            .to_owned(),
    }
}
