//! A fault of ours: the source is kept, it is logged once, and outsiders see an opaque 500.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Something that should work did not. Cheap to clone, so that one fault can answer everybody who
/// waited for the same write.
#[derive(Clone)]
pub struct Failure {
    what: &'static str,
    sort: FailureSort,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What may be done about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSort {
    /// No room on the disk. Goes away by itself once there is room (HTTP 507).
    StorageFull,
    /// Something we depend on is away, busy or shutting down; trying again later helps (HTTP 503).
    Unavailable,
    /// Anything else: a broken file, a defect (HTTP 500).
    Internal,
}

impl Failure {
    /// A fault while doing `what` ("append to the log"), caused by `source`.
    pub fn internal(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            what,
            sort: FailureSort::Internal,
            source: Some(Arc::from(source.into())),
        }
    }

    /// Something is away for now while doing `what`.
    pub fn unavailable(
        what: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            what,
            sort: FailureSort::Unavailable,
            source: Some(Arc::from(source.into())),
        }
    }

    /// The disk is full while doing `what`.
    pub fn storage_full(
        what: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            what,
            sort: FailureSort::StorageFull,
            source: Some(Arc::from(source.into())),
        }
    }

    /// What may be done about it.
    pub const fn sort(&self) -> FailureSort {
        self.sort
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {}", self.what)?;
        let mut said = String::new();
        let mut source = self.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Many an error's text ends with that of its source.
            if !said.ends_with(&text) {
                write!(out, ": {text}")?;
                said = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Failure({:?}: {self})", self.sort)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Failure;

    #[derive(Debug, thiserror::Error)]
    #[error("talking to the database failed: {0}")]
    struct Talking(#[source] io::Error);

    #[test]
    fn a_cause_is_said_once() {
        let refused = io::Error::other("connection refused");
        let failure = Failure::unavailable("open the log", Talking(refused));
        assert_eq!(
            failure.to_string(),
            "cannot open the log: talking to the database failed: connection refused"
        );
    }
}
