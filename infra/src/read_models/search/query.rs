//! What somebody looks for, read from what they typed: words that must all be there, phrases in quotes,
//! and what must not be there, with a minus before it. Matches texts, and says where.

use std::ops::Range;

use super::units::{Sort, Unit, joined_after, units};
use crate::read_models::words::beyond;

/// Characters of a query at most.
const QUERY_CHARACTERS_MAX: usize = 200;

/// Words and phrases of a query at most.
const TERMS_MAX: usize = 12;

/// Tokens that are looked up for a query at most; the rest is only looked for in the texts.
const LOOKUPS_MAX: usize = 16;

/// Characters that the last word must have for longer ones to be found by it.
const BEGINNING_CHARACTERS_MIN: usize = 2;

/// Marks between which a phrase stands.
const QUOTES: [char; 6] = ['"', '“', '”', '„', '«', '»'];

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    all: Vec<Term>,
    none: Vec<Term>,
}

/// Units that must follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    units: Vec<Unit>,
    /// Whether the last word may go on.
    is_beginning: bool,
}

/// Why a query cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryInvalid {
    /// It is too long.
    #[error("a query has at most {QUERY_CHARACTERS_MAX} characters")]
    TooLong,
    /// It asks for too much.
    #[error("a query has at most {TERMS_MAX} words and phrases")]
    TooManyTerms,
}

/// What the index is asked: messages that have one of some tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// One of these.
    OneOf(Vec<String>),
    /// One between these two, without the second.
    Between(String, String),
}

impl Lookup {
    fn beginning(beginning: &str) -> Self {
        Self::Between(beginning.to_owned(), beyond(beginning))
    }
}

/// How a text matches a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Where, in bytes of the text, in its order; none overlaps another.
    pub spans: Vec<Range<usize>>,
    /// How often each term is there.
    pub occurrences: Vec<usize>,
    /// How many units the text has.
    pub length: usize,
}

impl Query {
    /// Reads what somebody typed. What has nothing to look for is an empty query.
    pub fn parse(text: &str) -> Result<Self, QueryInvalid> {
        if text.chars().count() > QUERY_CHARACTERS_MAX {
            return Err(QueryInvalid::TooLong);
        }
        let mut query = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (excluded, after) = match rest.strip_prefix('-') {
                Some(after) => (true, after),
                None => (false, rest),
            };
            let (piece, is_phrase);
            (piece, rest, is_phrase) = if let Some(quoted) = after.strip_prefix(QUOTES) {
                let (piece, later) = quoted.split_once(QUOTES).unwrap_or((quoted, ""));
                (piece, later, true)
            } else {
                let ends = |c: char| c.is_whitespace() || QUOTES.contains(&c);
                let (piece, later) = after.split_at(after.find(ends).unwrap_or(after.len()));
                (piece, later, false)
            };
            let term = Term {
                units: units(piece),
                // Who goes on typing has no space yet.
                is_beginning: rest.is_empty() && !is_phrase && !excluded,
            };
            rest = rest.trim_start();
            if term.units.is_empty() {
                continue;
            }
            let terms = if excluded {
                &mut query.none
            } else {
                &mut query.all
            };
            terms.push(term);
            if query.all.len() + query.none.len() > TERMS_MAX {
                return Err(QueryInvalid::TooManyTerms);
            }
        }
        Ok(query)
    }

    /// Whether there is nothing to look for; what must not be there is nothing.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the index must have of a message that matches. It may have that of others too.
    pub fn lookups(&self) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for term in &self.all {
            for lookup in term.lookups() {
                if lookups.len() < LOOKUPS_MAX && !lookups.contains(&lookup) {
                    lookups.push(lookup);
                }
            }
        }
        lookups
    }

    /// How `text` matches; `None` if it does not.
    pub fn matches(&self, text: &str) -> Option<Match> {
        let units = units(text);
        if self
            .none
            .iter()
            .any(|term| term.found_in(&units).next().is_some())
        {
            return None;
        }
        let mut spans = Vec::new();
        let mut occurrences = Vec::with_capacity(self.all.len());
        for term in &self.all {
            let before = spans.len();
            spans.extend(term.found_in(&units));
            if spans.len() == before {
                return None;
            }
            occurrences.push(spans.len() - before);
        }
        Some(Match {
            spans: merged(spans),
            occurrences,
            length: units.len(),
        })
    }
}

impl Term {
    fn lookups(&self) -> impl Iterator<Item = Lookup> {
        self.units.iter().enumerate().filter_map(|(index, unit)| {
            let is_last = index + 1 == self.units.len();
            match unit.sort {
                Sort::Word if is_last && self.goes_on(unit) => Some(Lookup::beginning(&unit.text)),
                Sort::Word | Sort::Emoji => Some(Lookup::OneOf(vec![unit.text.clone()])),
                Sort::Sign { joined } => match joined_after(&self.units, index) {
                    Some(next) => Some(Lookup::OneOf(vec![format!("{}{}", unit.text, next.text)])),
                    // It is in the pair with the one before.
                    None if joined => None,
                    None => Some(Lookup::beginning(&unit.text)),
                },
            }
        })
    }

    fn goes_on(&self, last: &Unit) -> bool {
        self.is_beginning
            && last
                .text
                .chars()
                .nth(BEGINNING_CHARACTERS_MIN - 1)
                .is_some()
    }

    /// Where in a text with these units.
    fn found_in(&self, text: &[Unit]) -> impl Iterator<Item = Range<usize>> {
        text.windows(self.units.len()).filter_map(|window| {
            let agree = window.iter().zip(&self.units).enumerate();
            let found = agree
                .into_iter()
                .all(|(index, (there, wanted))| self.agrees(index, there, wanted));
            let (first, last) = (window.first()?, window.last()?);
            found.then_some(first.span.start..last.span.end)
        })
    }

    fn agrees(&self, index: usize, there: &Unit, wanted: &Unit) -> bool {
        match (wanted.sort, there.sort) {
            (Sort::Word, Sort::Word) => {
                let is_last = index + 1 == self.units.len();
                there.text == wanted.text
                    || is_last && self.goes_on(wanted) && there.text.starts_with(&wanted.text)
            }
            (Sort::Emoji, Sort::Emoji) => there.text == wanted.text,
            (
                Sort::Sign {
                    joined: wanted_joined,
                },
                Sort::Sign { joined },
            ) => there.text == wanted.text && (joined || !wanted_joined),
            (Sort::Word | Sort::Emoji | Sort::Sign { .. }, _) => false,
        }
    }
}

/// In order, with those that touch or overlap made one.
fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::units::tokens;
    use super::*;

    fn shown(query: &str, text: &str) -> Option<Vec<String>> {
        let found = Query::parse(query).unwrap().matches(text)?;
        let spans = found.spans.into_iter();
        Some(spans.map(|span| text[span].to_owned()).collect())
    }

    #[test]
    fn all_words_must_be_there_and_the_last_may_go_on() {
        let text = "The Tea House at Noon";
        assert_eq!(shown("tea hou", text).unwrap(), ["Tea", "House"]);
        assert_eq!(shown("hou tea", text), None, "only the last one goes on");
        assert_eq!(shown("tea hou ", text), None, "nor after a space");
        assert_eq!(shown("noon tea", text).unwrap(), ["Tea", "Noon"]);
        assert_eq!(shown("tea coffee", text), None);
        assert_eq!(shown("n", text), None, "one letter is no beginning");
    }

    #[test]
    fn phrases_stand_together_and_exclusions_do_not_stand_at_all() {
        let text = "green tea, no coffee";
        assert_eq!(shown("\"tea no\"", text).unwrap(), ["tea, no"]);
        assert_eq!(shown("“no tea”", text), None);
        assert_eq!(shown("tea -coffee", text), None);
        assert_eq!(shown("tea -\"green coffee\"", text).unwrap(), ["tea"]);
        assert_eq!(shown("green-tea", text).unwrap(), ["green tea"]);
        assert_eq!(shown("\"tea", text).unwrap(), ["tea"], "nobody closed it");
    }

    #[test]
    fn any_part_of_what_has_no_spaces_is_found() {
        let text = "東京都でお茶を飲む";
        for query in ["東京", "京都", "都", "お茶を", "飲む", "む", "お茶 東京都"] {
            assert!(shown(query, text).is_some(), "{query}");
        }
        assert_eq!(shown("京東", text), None);
        assert_eq!(shown("東都", text), None);
        assert_eq!(shown("東京", "東、京"), None, "they do not stand together");
        assert!(shown("น้ำ", "อยากกินน้ำเย็น").is_some());
        assert!(shown("커피", "커피를 마셔요").is_some());
    }

    #[test]
    fn what_cannot_be_looked_for_is_said() {
        for nothing in ["", "  ", "…!?", "\"\"", "-", "-tea"] {
            assert!(Query::parse(nothing).unwrap().is_empty(), "{nothing}");
        }
        let long = "x".repeat(QUERY_CHARACTERS_MAX + 1);
        assert_eq!(Query::parse(&long), Err(QueryInvalid::TooLong));
        let many = "a ".repeat(TERMS_MAX + 1);
        assert_eq!(Query::parse(&many), Err(QueryInvalid::TooManyTerms));
    }

    fn is_found(lookup: &Lookup, tokens: &BTreeSet<String>) -> bool {
        match lookup {
            Lookup::OneOf(wanted) => wanted.iter().any(|token| tokens.contains(token)),
            Lookup::Between(from, to) => tokens.range(from.clone()..to.clone()).next().is_some(),
        }
    }

    proptest! {
        #[test]
        fn every_query_is_read_or_refused(text in "[ \"\\-“”a茶ก👍é.@]{0,220}|.{0,220}") {
            if let Ok(query) = Query::parse(&text) {
                prop_assert!(query.lookups().len() <= LOOKUPS_MAX);
                prop_assert!(query.is_empty() || !query.lookups().is_empty());
                let _ = query.matches(&text);
            }
        }

        #[test]
        fn what_matches_is_in_the_index(
            text in "[ab京東茶กิ น้👍é.,-]{0,40}",
            query in "[ab京東茶กิ น้👍é.\"]{0,6}",
        ) {
            let query = Query::parse(&query).unwrap();
            if query.matches(&text).is_some() {
                let tokens = tokens(&units(&text));
                for lookup in query.lookups() {
                    prop_assert!(is_found(&lookup, &tokens), "{lookup:?} in {tokens:?}");
                }
            }
        }

        #[test]
        fn a_text_is_found_by_any_part_of_it_that_has_no_spaces(
            text in "[東京都茶飲お]{1,12}",
            from in 0..12_usize,
            length in 1..12_usize,
        ) {
            let part: String = text.chars().skip(from).take(length).collect();
            if !part.is_empty() {
                prop_assert!(Query::parse(&part).unwrap().matches(&text).is_some());
            }
        }
    }
}
