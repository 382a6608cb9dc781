//! Words by which something is found. Made here and not by a database, so that both find the same.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The words of `text`, in its order: what is between everything that is no letter and no digit,
/// without accents and in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> + use<> {
    let folded: String = text
        .nfkd()
        .flat_map(char::to_lowercase)
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .collect();
    let words: Vec<String> = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// What comes after every word that begins with `beginning`, and before every other one that comes
/// after it: both databases compare text by its bytes in UTF-8.
pub fn beyond(beginning: &str) -> String {
    format!("{beginning}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_make_no_difference() {
        for (text, expected) in [
            ("Ångström-Zoë", vec!["angstrom", "zoe"]),
            ("anna.b-2_x", vec!["anna", "b", "2", "x"]),
            ("İstanbul", vec!["istanbul"]),
            ("ﬁve ℌ", vec!["five", "h"]),
            ("名前 ", vec!["名前"]),
            (" -_ ", vec![]),
        ] {
            let found: Vec<String> = words(text).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_beginning_ends_before_the_next_one() {
        assert!("anna" < &*beyond("an") && "an" < &*beyond("an"));
        assert!("ao" > &*beyond("an"));
    }
}
