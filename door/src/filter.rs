//! Which events of the whole log a reader wants: by the stream's name or the type, by prefixes or by
//! a regular expression. Expressions are those of the clients, which use lookahead; they are not
//! anchored.

use fancy_regex::{Regex, RegexBuilder};
use infra::event_store::RecordedEvent;
use tonic::Status;

use crate::limits::{CHECKPOINT_EVENTS_MAX, PREFIXES_MAX, REGEX_BYTES_MAX, REGEX_STEPS_MAX};
use crate::proto::streams::read_req::filter_options::{self, Window};
use crate::proto::streams::read_req::{Expression, FilterOptions};
use crate::statuses::invalid;

/// Events between two checkpoints, per unit of the multiplier, where the client names no window.
const WINDOW: u32 = 32;

/// A filter of the client's.
pub(crate) struct Filter {
    on: On,
    wanted: Wanted,
    /// Events that are considered between two checkpoints.
    pub(crate) checkpoint_every: u64,
}

enum On {
    Stream,
    Type,
}

enum Wanted {
    Prefixes(Vec<String>),
    Matching(Box<Regex>),
}

impl Filter {
    /// Takes a filter as it came.
    pub(crate) fn parse(options: FilterOptions) -> Result<Self, Status> {
        let (on, expression) = match options.filter {
            Some(filter_options::Filter::StreamIdentifier(expression)) => (On::Stream, expression),
            Some(filter_options::Filter::EventType(expression)) => (On::Type, expression),
            None => return Err(invalid("a filter is on streams or on types")),
        };
        let window = match options.window {
            Some(Window::Max(0)) => return Err(invalid("a window has at least one event")),
            Some(Window::Max(window)) => window,
            Some(Window::Count(_)) | None => WINDOW,
        };
        let multiplier = options.checkpoint_interval_multiplier.max(1);
        let checkpoint_every = u64::from(window).saturating_mul(multiplier.into());
        Ok(Self {
            on,
            wanted: Wanted::parse(expression)?,
            checkpoint_every: checkpoint_every.min(CHECKPOINT_EVENTS_MAX),
        })
    }

    /// Whether `event` is wanted; an error where the expression takes too long to tell.
    pub(crate) fn takes(&self, event: &RecordedEvent) -> Result<bool, Status> {
        let name = match self.on {
            On::Stream => event.stream.as_str(),
            On::Type => &event.event_type,
        };
        match &self.wanted {
            Wanted::Prefixes(prefixes) => {
                Ok(prefixes.iter().any(|prefix| name.starts_with(prefix)))
            }
            Wanted::Matching(regex) => regex
                .is_match(name)
                .map_err(|error| invalid(format!("the filter takes too long: {error}"))),
        }
    }
}

impl Wanted {
    fn parse(expression: Expression) -> Result<Self, Status> {
        let prefixes = expression.prefix;
        let too_long = |text: &String| text.len() > REGEX_BYTES_MAX;
        if prefixes.len() > PREFIXES_MAX
            || prefixes.iter().any(too_long)
            || too_long(&expression.regex)
        {
            return Err(invalid("the filter is too large"));
        }
        if !prefixes.is_empty() {
            return Ok(Self::Prefixes(prefixes));
        }
        let regex = RegexBuilder::new(&expression.regex)
            .backtrack_limit(REGEX_STEPS_MAX)
            .build()
            .map_err(|error| invalid(format!("the filter cannot be read: {error}")))?;
        Ok(Self::Matching(Box::new(regex)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{EventId, Position, StreamName, Version};
    use uuid::Uuid;

    use super::*;

    fn event(stream: &str, event_type: &str) -> RecordedEvent {
        RecordedEvent {
            position: Position(1),
            stream: StreamName::parse(stream).unwrap(),
            version: Version(1),
            id: EventId(Uuid::nil()),
            event_type: Arc::from(event_type),
            schema: 1,
            data: "{}".into(),
            metadata: "{}".into(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn on_types(regex: &str, prefixes: &[&str]) -> Result<Filter, Status> {
        let expression = Expression {
            regex: regex.to_owned(),
            prefix: prefixes.iter().map(ToString::to_string).collect(),
        };
        Filter::parse(FilterOptions {
            filter: Some(filter_options::Filter::EventType(expression)),
            window: Some(Window::Max(32)),
            checkpoint_interval_multiplier: 5,
        })
    }

    #[test]
    fn the_expressions_of_the_clients_leave_system_events_out() {
        for regex in [
            r"^[^\$].*",
            r"^(?!(\$.+$|PersistentConfig\d+$))",
            r"^(?!\$)",
        ] {
            let filter = on_types(regex, &[]).unwrap();
            assert_eq!(filter.checkpoint_every, 160);
            for (event_type, wanted) in [("$metadata", false), ("message-sent", true)] {
                let taken = filter.takes(&event("$$s", event_type)).unwrap();
                assert_eq!(taken, wanted, "{regex} {event_type}");
            }
        }
    }

    #[test]
    fn prefixes_are_alternatives() {
        let filter = on_types("", &["message-", "member-"]).unwrap();
        for (event_type, wanted) in [("message-sent", true), ("member-left", true), ("x", false)] {
            assert_eq!(filter.takes(&event("s", event_type)).unwrap(), wanted);
        }
    }

    #[test]
    fn an_expression_that_takes_too_long_ends_the_call() {
        let filter = on_types(r"^(?:(a|aa)\1?)+$", &[]).unwrap();
        let name = format!("{}b", "a".repeat(200));
        let refused = filter.takes(&event("s", &name)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        let broken = on_types("(", &[]).err().map(|status| status.code());
        assert_eq!(broken, Some(tonic::Code::InvalidArgument));
        let large = on_types(&"a".repeat(REGEX_BYTES_MAX + 1), &[]).err();
        assert!(large.is_some());
    }
}
