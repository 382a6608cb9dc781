//! The mail with the code that shows whose an address is.

use super::letter::Letter;

/// The mail of a server that is called `server`.
pub(super) fn letter(server: &str) -> Letter {
    Letter {
        subject: format!("Verify your address for {server}"),
        what: format!("This is the code that verifies your address for {server}:"),
        if_not_you: format!(
            "If it was not you who gave this address to {server}, somebody mistook theirs. Do \
             nothing: without the code the address stays unverified."
        ),
    }
}
