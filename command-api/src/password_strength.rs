//! How easy a password is to guess, by `zxcvbn`: it knows common passwords, words, names, dates, keys in
//! a row, and what is said of the person elsewhere.

use axum::http::StatusCode;
use infra::problem::Problem;
use zxcvbn::{Score, zxcvbn};

/// The lowest score that is taken: about a million guesses and more, which a server that counts wrong
/// logins can stand.
const SCORE_MIN: Score = Score::Two;

/// Why a password is easy to guess, and what would be better; in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weakness(String);

impl From<Weakness> for Problem {
    /// 422 `weak_password`, pointing at `/password`.
    fn from(Weakness(words): Weakness) -> Self {
        let code = "weak_password";
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            code,
            "The password is easy to guess",
        )
        .with_field("/password", code, words)
    }
}

/// What makes `password` easy to guess for somebody who knows the words `known`; `None` where it is not.
/// Takes some milliseconds.
pub(crate) fn weakness(password: &str, known: &[String]) -> Option<Weakness> {
    let known: Vec<&str> = known.iter().flat_map(|text| parts(text)).collect();
    let judged = zxcvbn(password, &known);
    if judged.score() >= SCORE_MIN {
        return None;
    }
    let mut words = Vec::new();
    if let Some(feedback) = judged.feedback() {
        words.extend(feedback.warning().map(|warning| warning.to_string()));
        words.extend(feedback.suggestions().iter().map(ToString::to_string));
    }
    if words.is_empty() {
        words.push("Use more words, or rarer ones.".to_owned());
    }
    Some(Weakness(words.join(" ")))
}

/// The text itself, and what stands between its punctuation: of an address the name and the domain.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let within = text.split(|character: char| !character.is_alphanumeric());
    std::iter::once(text).chain(within.filter(|part| part.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_weak(password: &str, known: &[&str]) -> bool {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        weakness(password, &known).is_some()
    }

    #[test]
    fn what_others_use_and_what_they_know_is_weak() {
        for weak in [
            "password123",
            "qwertyuiop",
            "aaaaaaaaaaaa",
            "1234567890",
            "letmein2024",
        ] {
            assert!(is_weak(weak, &[]), "{weak}");
        }
        let known = ["grumbletop", "grumbletop@tealeaves.example"];
        for weak in [
            "grumbletop1",
            "grumbletop@tealeaves.example",
            "Grumbletop!!",
        ] {
            assert!(is_weak(weak, &known), "{weak}");
        }
        assert!(!is_weak("grumbletop zebra 41", &known));
    }

    #[test]
    fn some_words_in_a_row_are_good() {
        for good in [
            "correct horse battery",
            "correct horse alice",
            "correct horse battery staple",
            "x8!kdP2q-Lm",
        ] {
            assert!(!is_weak(good, &["alice", "alice@example.org"]), "{good}");
        }
    }

    #[test]
    fn the_answer_says_what_would_be_better() {
        let problem = Problem::from(weakness("password123", &[]).unwrap());
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (422, "weak_password")
        );
        assert_eq!(problem.errors[0].pointer, "/password");
        assert!(problem.errors[0].detail.len() > 20, "{problem}");
    }
}
