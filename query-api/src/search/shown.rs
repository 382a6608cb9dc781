//! What was found, shown in the text.

use std::ops::Range;

use serde::Serialize;
use utoipa::ToSchema;

/// Highlights of one text at most; the first ones.
const HIGHLIGHTS_MAX: usize = 50;

/// Characters of a snippet at most.
const SNIPPET_CHARACTERS_MAX: usize = 160;

/// Characters of it before what was found first.
const SNIPPET_CHARACTERS_BEFORE: usize = 40;

/// A place in a text, in UTF-16 code units: as strings are counted in JavaScript, Java, C#, Swift's
/// `NSString` and Dart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Highlight {
    /// The first unit.
    start: usize,
    /// The one after the last.
    end: usize,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Snippet {
    /// At most 160 characters of the body, as they stand there.
    text: String,
    /// What was found in it.
    highlights: Vec<Highlight>,
    /// Whether the body has more before it.
    cut_before: bool,
    /// Whether the body has more after it.
    cut_after: bool,
}

/// The places of `spans`, which are in bytes, in order, and do not overlap.
pub(super) fn highlights(text: &str, spans: &[Range<usize>]) -> Vec<Highlight> {
    let units = |range: Range<usize>| {
        text.get(range)
            .map_or(0, |part| part.encode_utf16().count())
    };
    let (mut bytes, mut start) = (0, 0);
    let places = spans.iter().take(HIGHLIGHTS_MAX).map(|span| {
        start += units(bytes..span.start);
        let end = start + units(span.clone());
        let highlight = Highlight { start, end };
        (bytes, start) = (span.end, end);
        highlight
    });
    places.collect()
}

impl Snippet {
    /// The piece of `text` about the first of `spans`.
    pub(super) fn of(text: &str, spans: &[Range<usize>]) -> Self {
        let found = spans.first().map_or(0, |span| span.start);
        let from = text[..found]
            .char_indices()
            .rev()
            .take(SNIPPET_CHARACTERS_BEFORE)
            .last()
            .map_or(found, |(at, _)| at);
        // Rather from the beginning of a word, if there is one.
        let from = match text[from..found].find(char::is_whitespace) {
            Some(space) if from > 0 => {
                let rest = &text[from + space..];
                from + space + (rest.len() - rest.trim_start().len())
            }
            _ => from,
        };
        let to = text[from..]
            .char_indices()
            .nth(SNIPPET_CHARACTERS_MAX)
            .map_or(text.len(), |(at, _)| from + at);
        let inside: Vec<Range<usize>> = spans
            .iter()
            .map(|span| span.start.max(from)..span.end.min(to))
            .filter(|span| span.start < span.end)
            .map(|span| span.start - from..span.end - from)
            .collect();
        Self {
            text: text[from..to].to_owned(),
            highlights: highlights(&text[from..to], &inside),
            cut_before: from > 0,
            cut_after: to < text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_javascript_counts() {
        let text = "é👍 tea";
        let highlights = highlights(text, &[2..6, 7..10]);
        let places: Vec<(usize, usize)> = highlights.iter().map(|h| (h.start, h.end)).collect();
        assert_eq!(places, [(1, 3), (4, 7)]);
    }

    #[test]
    fn a_snippet_is_about_what_was_found() {
        let text = format!("{}the tea is ready {}", "é ".repeat(100), "x".repeat(300));
        let at = text.find("tea").unwrap();
        let spans = [at..at + 3, at + 7..at + 12];
        let snippet = Snippet::of(&text, &spans);
        assert_eq!(snippet.text.chars().count(), SNIPPET_CHARACTERS_MAX);
        assert!(snippet.cut_before && snippet.cut_after);
        let units: Vec<u16> = snippet.text.encode_utf16().collect();
        let shown = snippet.highlights.iter();
        let shown: Vec<String> = shown
            .map(|place| String::from_utf16_lossy(&units[place.start..place.end]))
            .collect();
        assert_eq!(shown, ["tea", "ready"]);
        let short = Snippet::of("tea", &[]);
        assert_eq!(
            (&*short.text, short.cut_before, short.cut_after),
            ("tea", false, false)
        );
    }
}
