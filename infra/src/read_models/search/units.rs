//! Text cut into the units by which it is found. Made here and not by a database, so that both find the
//! same, and so that what was found can be shown in the text.
//!
//! A unit is a word, which is what is between everything that is no letter and no digit; one character
//! of a script that puts no spaces between words; or an emoji. Case, accents and compatible forms of
//! characters make no difference. Vowels and other signs without which words of a script cannot be told
//! apart (kana voicing, Indic vowels, Thai tones) do.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// Units of one text at most; what comes after is not found.
pub(super) const UNITS_MAX: usize = 4_000;

/// Characters of a word that count; longer ones are found by as many.
const WORD_CHARACTERS_MAX: usize = 40;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A word.
    Word,
    /// A character of a script without spaces, with the signs on it.
    Sign {
        /// Whether it stands right after another.
        joined: bool,
    },
    /// One emoji.
    Emoji,
}

/// A unit of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Folded: without case, accents and compatible forms.
    pub(super) text: String,
    /// Where it stands in the text, in bytes.
    pub(super) span: Range<usize>,
    /// What it is.
    pub(super) sort: Sort,
}

/// The units of `text`, in its order; the first [`UNITS_MAX`] of them.
pub(super) fn units(text: &str) -> Vec<Unit> {
    let mut cutter = Cutter::default();
    let mut start = 0;
    while start < text.len() && cutter.units.len() < UNITS_MAX {
        let rest = &text[start..];
        let plain = plain_length(rest);
        let end = start
            + if plain > 0 {
                plain
            } else {
                cluster_length(rest)
            };
        let span = start..end;
        if plain > 0 {
            cutter.go_on(&text[span.clone()], span);
        } else if end == start + 1 {
            cutter.pause();
        } else {
            cutter.take_folded(&fold(&text[span.clone()]), &span);
        }
        start = end;
    }
    cutter.units
}

/// How many letters and digits of ASCII `text` begins with, without one that a mark stands on.
fn plain_length(text: &str) -> usize {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let length = text.bytes().take_while(|byte| is_plain(byte)).count();
    match text[length..].chars().next() {
        Some(next) if belongs_to_the_one_before(next) => length.saturating_sub(1),
        Some(_) | None => length,
    }
}

/// The bytes of the first character of `text`, with what belongs to it.
fn cluster_length(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    let next = characters.find(|(_, c)| !belongs_to_the_one_before(*c));
    next.map_or(text.len(), |(at, _)| at)
}

/// The tokens under which a text with these units is found: words and emoji as they are, and of what has
/// no spaces each two neighbours, and the last one alone.
pub(super) fn tokens(units: &[Unit]) -> BTreeSet<String> {
    let mut tokens = BTreeSet::new();
    for (index, unit) in units.iter().enumerate() {
        tokens.insert(match joined_after(units, index) {
            Some(next) => format!("{}{}", unit.text, next.text),
            None => unit.text.clone(),
        });
    }
    tokens
}

/// The sign that stands right after the one at `index`.
pub(super) fn joined_after(units: &[Unit], index: usize) -> Option<&Unit> {
    let next = units.get(index + 1)?;
    matches!(next.sort, Sort::Sign { joined: true }).then_some(next)
}

#[derive(Default)]
struct Cutter {
    units: Vec<Unit>,
    /// Characters of the word that is being read; `None` between words.
    word: Option<usize>,
    /// Whether the last character was a sign.
    after_sign: bool,
}

impl Cutter {
    /// Takes a folded cluster, which may have become several, or none.
    fn take_folded(&mut self, folded: &str, span: &Range<usize>) {
        let mut rest = folded;
        while let Some(base) = rest.chars().next() {
            let signs = &rest[base.len_utf8()..];
            let length = signs
                .find(|c: char| !belongs_to_the_one_before(c))
                .map_or(rest.len(), |signs| base.len_utf8() + signs);
            let (piece, later) = rest.split_at(length);
            self.take(piece, base, span.clone());
            rest = later;
        }
    }

    fn take(&mut self, piece: &str, base: char, span: Range<usize>) {
        if is_sign(base) && base.is_alphanumeric() {
            let joined = std::mem::replace(&mut self.after_sign, true);
            self.word = None;
            self.push(piece, span, Sort::Sign { joined });
            return;
        }
        if base.is_alphanumeric() || is_combining_mark(base) {
            self.go_on(piece, span);
            return;
        }
        self.pause();
        if is_emoji(base) {
            self.push(piece, span, Sort::Emoji);
        }
    }

    /// Goes on with a word, or begins one. Letters of ASCII need not be folded.
    fn go_on(&mut self, piece: &str, span: Range<usize>) {
        self.after_sign = false;
        if self.word.is_none() {
            self.push("", span.clone(), Sort::Word);
        }
        let before = self.word.unwrap_or_default();
        if let Some(unit) = self.units.last_mut() {
            unit.span.end = span.end;
            let counts = piece
                .chars()
                .take(WORD_CHARACTERS_MAX.saturating_sub(before));
            unit.text.extend(counts.map(|c| c.to_ascii_lowercase()));
        }
        self.word = Some(before + piece.chars().count());
    }

    /// What is between words.
    const fn pause(&mut self) {
        self.word = None;
        self.after_sign = false;
    }

    fn push(&mut self, text: &str, span: Range<usize>, sort: Sort) {
        let text = text.to_owned();
        self.units.push(Unit { text, span, sort });
    }
}

/// Whether `c` only says how the character before it is written: accents, vowel signs, the later parts
/// of a Hangul syllable, the voicing of narrow kana. The vowels of Thai and Lao that are a sign and a
/// letter in one are cut like the two.
fn belongs_to_the_one_before(c: char) -> bool {
    is_combining_mark(c)
        || matches!(
            c,
            '\u{e33}' | '\u{eb3}' | '\u{1160}'..='\u{11ff}' | '\u{ff9e}' | '\u{ff9f}'
        )
}

fn fold(cluster: &str) -> String {
    let lower = cluster.nfkd().flat_map(char::to_lowercase).nfkd();
    let mut folded = String::with_capacity(cluster.len());
    for c in lower.filter(|c| !is_invisible(*c) && !is_accent(*c)) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ς' => folded.push('σ'),
            'ı' => folded.push('i'),
            'ł' => folded.push('l'),
            'ø' => folded.push('o'),
            'đ' => folded.push('d'),
            _ => folded.push(c),
        }
    }
    folded.nfc().collect()
}

/// Marks without which a word is the same: of Latin, Greek and Cyrillic, and the points of Hebrew,
/// Arabic and Syriac. The classes are those of the Unicode Character Database.
fn is_accent(c: char) -> bool {
    matches!(canonical_combining_class(c), 1 | 10..=36 | 200..=240)
}

/// What nobody sees: where a word may be broken or must not be, how an emoji is drawn.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{640}'
            | '\u{200c}'..='\u{200f}'
            | '\u{2060}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{1f3fb}'..='\u{1f3ff}'
    )
}

/// Scripts that put no spaces between words, and Hangul, which hangs particles on them.
fn is_sign(c: char) -> bool {
    matches!(
        c,
        // Thai and Lao; Myanmar; Khmer.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            // New Tai Lue, Tai Tham, Myanmar's extensions.
            | '\u{1980}'..='\u{19df}' | '\u{1a20}'..='\u{1aaf}' | '\u{a9e0}'..='\u{a9ff}'
            | '\u{aa60}'..='\u{aadf}'
            // Kana, Bopomofo, Han with its extensions, Yi.
            | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}'
            | '\u{3031}'..='\u{318f}' | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{1b000}'..='\u{1b16f}'
            | '\u{20000}'..='\u{3ffff}'
            // Hangul.
            | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7ff}'
    )
}

fn is_emoji(c: char) -> bool {
    matches!(
        c,
        '\u{231a}'..='\u{23ff}' | '\u{25aa}'..='\u{27bf}' | '\u{2b05}'..='\u{2b55}'
            | '\u{1f000}'..='\u{1faff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens_of(text: &str) -> Vec<String> {
        tokens(&units(text)).into_iter().collect()
    }

    #[test]
    fn words_are_found_without_case_accents_and_forms() {
        for (text, expected) in [
            ("Ångström-Zoë", vec!["angstrom", "zoe"]),
            ("Straße STRASSE", vec!["strasse"]),
            ("ΟΔΟΣ οδός", vec!["οδοσ"]),
            ("İstanbul ıstanbul", vec!["istanbul"]),
            ("ﬁve ℌ Łódź", vec!["five", "h", "lodz"]),
            ("co\u{ad}operate", vec!["cooperate"]),
            ("שָׁלוֹם", vec!["שלום"]),
            (
                "snake_case https://example.org/a-b?x=1",
                vec![
                    "1", "a", "b", "case", "example", "https", "org", "snake", "x",
                ],
            ),
            ("@bob, don't", vec!["bob", "don", "t"]),
            (" -_ …", vec![]),
        ] {
            assert_eq!(tokens_of(text), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_neighbours() {
        for (text, expected) in [
            ("東京都", vec!["京都", "東京", "都"]),
            ("お茶", vec!["お茶", "茶"]),
            ("東、京", vec!["京", "東"]),
            ("3月Rust入門", vec!["3", "rust", "入門", "月", "門"]),
            ("커피를", vec!["를", "커피", "피를"]),
            ("ﾊﾟﾝ", vec!["パン", "ン"]),
            ("か\u{3099}く", vec!["がく", "く"]),
            (
                "กินน้ำ",
                vec!["กิน", "นน\u{e49}\u{e4d}", "น\u{e49}\u{e4d}\u{e32}", "า"],
            ),
            ("㍿", vec!["会社", "式会", "株式", "社"]),
        ] {
            assert_eq!(tokens_of(text), expected, "{text}");
        }
        assert_ne!(
            tokens_of("か"),
            tokens_of("が"),
            "voicing tells words apart"
        );
        assert_ne!(tokens_of("कि"), tokens_of("का"), "and so do vowels");
        assert_eq!(tokens_of("हिन्दी"), ["हिन्दी"]);
    }

    #[test]
    fn emoji_are_found_whatever_their_colour() {
        assert_eq!(tokens_of("👍🏽 👍"), ["👍"]);
        assert_eq!(tokens_of("ok👍ok"), ["ok", "👍"]);
        assert_eq!(tokens_of("❤\u{fe0f}"), ["❤"]);
    }

    #[test]
    fn a_unit_says_where_it_stands() {
        let text = "Żółw, お茶 e\u{301}té";
        let parts: Vec<&str> = units(text)
            .into_iter()
            .map(|unit| &text[unit.span])
            .collect();
        assert_eq!(parts, ["Żółw", "お", "茶", "e\u{301}té"]);
    }

    #[test]
    fn long_words_and_long_texts_have_an_end() {
        let word = "x".repeat(1_000);
        assert_eq!(tokens_of(&word), ["x".repeat(WORD_CHARACTERS_MAX)]);
        assert_eq!(units(&"a ".repeat(10_000)).len(), UNITS_MAX);
    }

    proptest! {
        #[test]
        fn whatever_the_text_its_units_stand_in_it_in_order(text in ".{0,200}") {
            let units = units(&text);
            let mut before = 0;
            for unit in units {
                prop_assert!(!unit.text.is_empty());
                prop_assert!(text.get(unit.span.clone()).is_some());
                prop_assert!(unit.span.start >= before && unit.span.start < unit.span.end);
                before = unit.span.start;
            }
        }

        #[test]
        fn case_makes_no_difference(text in "[a-zäöüéñøłA-ZÄÖÜ ]{0,60}") {
            prop_assert_eq!(tokens_of(&text), tokens_of(&text.to_uppercase()));
        }
    }
}
