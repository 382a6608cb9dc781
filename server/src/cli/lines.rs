//! Lines of NDJSON from a server, as they come.

use reqwest::Response;

use crate::cli::CliResult;

/// The longest line, in bytes: an event with its metadata.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The lines of an answer.
pub(super) struct Lines {
    response: Response,
    unread: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The lines of `response`.
    pub(super) const fn of(response: Response) -> Self {
        Self {
            response,
            unread: Vec::new(),
            ended: false,
        }
    }

    /// The next line that is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> CliResult<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.pop();
                if !line.is_empty() {
                    return Ok(Some(line));
                }
            } else if self.ended {
                let line = std::mem::take(&mut self.unread);
                return Ok((!line.is_empty()).then_some(line));
            } else if self.unread.len() > LINE_BYTES_MAX {
                return Err("the server sent a line that is too long".into());
            } else {
                match self.response.chunk().await? {
                    Some(chunk) => self.unread.extend_from_slice(&chunk),
                    None => self.ended = true,
                }
            }
        }
    }
}
