//! Which request the current task works for, in the terms of W3C Trace Context.

use std::fmt;
use std::future::Future;

tokio::task_local! {
    static CURRENT: TraceParent;
}

/// A `traceparent`: which trace, and which span in it is ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    sampled: bool,
}

impl TraceParent {
    /// A trace that begins here.
    pub fn fresh() -> Self {
        // Zero is not a valid id.
        Self {
            trace: rand::random_range(1..=u128::MAX),
            span: rand::random_range(1..=u64::MAX),
            sampled: true,
        }
    }

    /// Our span in the trace that `header` names; a trace of our own where it names none. Versions
    /// after 00 are read as 00, as the recommendation asks.
    pub fn continuing(header: Option<&str>) -> Self {
        let fresh = Self::fresh();
        match header.and_then(Self::parse) {
            Some(parent) => Self {
                span: fresh.span,
                ..parent
            },
            None => fresh,
        }
    }

    /// Reads a `traceparent`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let well_formed = hex(version, 2)
            && version != "ff"
            && hex(trace, 32)
            && hex(span, 16)
            && hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        if !well_formed {
            return None;
        }
        let parsed = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (parsed.trace != 0 && parsed.span != 0).then_some(parsed)
    }

    /// The trace's id: 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// Runs `work` as part of this trace.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The trace the current task works for, if it works for one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn a_trace_is_continued_under_a_span_of_our_own() {
        let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let ours = TraceParent::continuing(Some(theirs));
        assert_eq!(ours.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(ours.to_string(), theirs);
    }

    #[test]
    fn what_is_no_traceparent_begins_a_new_trace() {
        for text in [
            "",
            "00",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        assert_eq!(TraceParent::parse(zero), None);
    }
}
