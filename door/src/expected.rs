//! What a client expects of a stream, in the protocol's several forms, and where the stream is.

use domain::Version;

use crate::proto::streams::{append_req, append_resp, batch_append_req, delete_req, tombstone_req};

/// What must be true of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    Any,
    NoStream,
    Exists,
    Revision(u64),
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// There is none, or it was deleted.
    NoStream,
    /// Its last revision.
    At(u64),
}

impl Head {
    /// Of a stream whose last event has this version.
    pub(crate) fn of(version: Version) -> Self {
        version.0.checked_sub(1).map_or(Self::NoStream, Self::At)
    }

    pub(crate) const fn revision(self) -> Option<u64> {
        match self {
            Self::NoStream => None,
            Self::At(revision) => Some(revision),
        }
    }
}

impl Expectation {
    /// As trailers say it.
    pub(crate) fn to_number(self) -> i128 {
        match self {
            Self::NoStream => -1,
            Self::Any => -2,
            Self::Exists => -4,
            Self::Revision(revision) => revision.into(),
        }
    }

    /// Whether a stream that is at `head` is as expected.
    pub(crate) fn is_met(self, head: Head) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => head == Head::NoStream,
            Self::Exists => head != Head::NoStream,
            Self::Revision(revision) => head == Head::At(revision),
        }
    }

    /// The answer to an append that found the stream at `head`.
    pub(crate) fn wrong(self, head: Head) -> append_resp::WrongExpectedVersion {
        use append_resp::wrong_expected_version::{
            CurrentRevisionOption, CurrentRevisionOption2060, ExpectedRevisionOption,
            ExpectedRevisionOption2060,
        };
        let nothing = crate::proto::shared::Empty {};
        let (current, current_before) = match head {
            Head::At(revision) => (
                CurrentRevisionOption::CurrentRevision(revision),
                CurrentRevisionOption2060::CurrentRevision2060(revision),
            ),
            Head::NoStream => (
                CurrentRevisionOption::CurrentNoStream(nothing),
                CurrentRevisionOption2060::NoStream2060(nothing),
            ),
        };
        let (expected, expected_before) = match self {
            Self::Any => (
                ExpectedRevisionOption::ExpectedAny(nothing),
                Some(ExpectedRevisionOption2060::Any2060(nothing)),
            ),
            Self::Exists => (
                ExpectedRevisionOption::ExpectedStreamExists(nothing),
                Some(ExpectedRevisionOption2060::StreamExists2060(nothing)),
            ),
            // The old form cannot say it.
            Self::NoStream => (ExpectedRevisionOption::ExpectedNoStream(nothing), None),
            Self::Revision(revision) => (
                ExpectedRevisionOption::ExpectedRevision(revision),
                Some(ExpectedRevisionOption2060::ExpectedRevision2060(revision)),
            ),
        };
        append_resp::WrongExpectedVersion {
            current_revision_option: Some(current),
            expected_revision_option: Some(expected),
            current_revision_option_20_6_0: Some(current_before),
            expected_revision_option_20_6_0: expected_before,
        }
    }
}

macro_rules! expectation_from {
    ($($request:ident),+ $(,)?) => {
        $(
            impl From<$request::options::ExpectedStreamRevision> for Expectation {
                fn from(choice: $request::options::ExpectedStreamRevision) -> Self {
                    use $request::options::ExpectedStreamRevision as Choice;
                    match choice {
                        Choice::Revision(revision) => Self::Revision(revision),
                        Choice::NoStream(_) => Self::NoStream,
                        Choice::Any(_) => Self::Any,
                        Choice::StreamExists(_) => Self::Exists,
                    }
                }
            }
        )+
    };
}

expectation_from!(append_req, delete_req, tombstone_req);

impl From<batch_append_req::options::ExpectedStreamPosition> for Expectation {
    fn from(choice: batch_append_req::options::ExpectedStreamPosition) -> Self {
        use batch_append_req::options::ExpectedStreamPosition as Choice;
        match choice {
            Choice::StreamPosition(revision) => Self::Revision(revision),
            Choice::NoStream(()) => Self::NoStream,
            Choice::Any(()) => Self::Any,
            Choice::StreamExists(()) => Self::Exists,
        }
    }
}
