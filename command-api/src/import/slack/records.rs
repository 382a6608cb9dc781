//! The records of a file: a JSON array, taken apart before it is parsed, so that a broken record
//! costs itself and not the rest of the file.

use serde::de::DeserializeOwned;

/// Where a record is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// Its number in the array, from 1.
    pub(super) record: u64,
    /// The line it begins in or, where it is broken, the line of what is wrong; from 1.
    pub(super) line: u64,
}

/// A record, or why it cannot be read.
pub(super) type Record<T> = (At, Result<T, String>);

/// All records of the array in `bytes`. What is no array at all is one broken record.
pub(super) fn records<T: DeserializeOwned>(bytes: &[u8]) -> Vec<Record<T>> {
    let mut scanner = Scanner {
        bytes,
        index: if bytes.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        },
        line: 1,
        line_start: 0,
    };
    scanner.skip_blanks();
    let mut at = At {
        record: 0,
        line: scanner.line,
    };
    if scanner.peek() != Some(b'[') {
        return vec![(at, Err("the file is not a JSON array".to_owned()))];
    }
    scanner.advance();
    let mut records = Vec::new();
    loop {
        scanner.skip_blanks();
        at.line = scanner.line;
        match scanner.peek() {
            Some(b']') => return records,
            Some(b',') => scanner.advance(),
            Some(_) => {
                at.record += 1;
                let element = scanner.element();
                let parsed = serde_json::from_slice(element).map_err(|error| {
                    let place = error.line() as u64;
                    (place.saturating_sub(1), without_place(&error))
                });
                records.push(match parsed {
                    Ok(value) => (at, Ok(value)),
                    Err((lines, why)) => {
                        let line = at.line + lines;
                        (At { line, ..at }, Err(why))
                    }
                });
            }
            None => {
                at.record += 1;
                records.push((at, Err("the file ends within the array".to_owned())));
                return records;
            }
        }
    }
}

/// The message without its place, which is one within the record.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    index: usize,
    line: u64,
    /// Where the line at hand begins.
    line_start: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.index).copied()
    }

    fn advance(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
            self.line_start = self.index + 1;
        }
        self.index += 1;
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.advance();
        }
    }

    /// The bytes up to the comma or bracket that ends the element. A string that does not end in
    /// its line, as JSON's do, breaks the element: it lasts until another begins in the same column.
    fn element(&mut self) -> &'a [u8] {
        let start = self.index;
        let column = start - self.line_start;
        let (mut depth, mut in_string, mut broken) = (0_u32, false, false);
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    broken |= in_string;
                    in_string = false;
                    if broken && self.next_line_begins_record(column) {
                        break;
                    }
                }
                b'\\' if in_string && self.bytes.get(self.index + 1) != Some(&b'\n') => {
                    self.advance();
                }
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b',' | b']' if depth == 0 => break,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
        }
        let end = self.index.min(self.bytes.len());
        &self.bytes[start..end]
    }

    /// Whether the line after this newline has nothing but blanks before a `{` in `column`.
    fn next_line_begins_record(&self, column: usize) -> bool {
        let line = &self.bytes[self.index + 1..];
        line.get(column) == Some(&b'{') && line[..column].iter().all(|byte| *byte == b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, u64, Result<serde_json::Value, String>)> {
        records(text.as_bytes())
            .into_iter()
            .map(|(at, value)| (at.record, at.line, value))
            .collect()
    }

    fn good(text: &str) -> Result<serde_json::Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn records_know_their_number_and_line() {
        let text = "\u{feff}[\n{\"a\": \"] , \\\" {\"},\n{\"b\":\n [1, {}]}\n]\n";
        assert_eq!(
            read(text),
            [
                (1, 2, good(r#"{"a": "] , \" {"}"#)),
                (2, 3, good(r#"{"b": [1, {}]}"#)),
            ]
        );
        assert_eq!(read("[]"), []);
    }

    #[test]
    fn a_broken_record_costs_only_itself() {
        let text = "[\n{\"a\": 1},\n{\"b\":\n oops},\n{\"c\": \"no end},\n{\"d\": 4}\n]";
        let read = read(text);
        assert_eq!(read.len(), 4);
        assert_eq!(read[0], (1, 2, good(r#"{"a": 1}"#)));
        assert_eq!((read[1].0, read[1].1), (2, 4));
        assert_eq!(read[1].2, Err("expected value".to_owned()));
        assert!(read[2].2.is_err());
        assert_eq!(read[2].1, 5);
        assert_eq!(read[3], (4, 6, good(r#"{"d": 4}"#)));
    }

    #[test]
    fn a_file_that_ends_too_early_keeps_what_is_whole() {
        let read = read("[\n{\"a\": 1},\n{\"b\": \"tw");
        assert_eq!(read[0], (1, 2, good(r#"{"a": 1}"#)));
        assert_eq!((read[1].0, read[1].1), (2, 3));
        assert!(read[1].2.is_err());
        assert_eq!(read[2].2, Err("the file ends within the array".to_owned()));
    }

    #[test]
    fn a_file_in_one_line_is_gone_through_once() {
        // Going back to the start of the line for each record would take many minutes.
        let text = format!("[{}1]", "1,".repeat(1_000_000));
        let records = records::<u8>(text.as_bytes());
        assert_eq!(records.len(), 1_000_001);
    }

    #[test]
    fn what_is_no_array_is_one_broken_record() {
        for text in ["", "{}", "garbage", "\u{feff}"] {
            let read = read(text);
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].2, Err("the file is not a JSON array".to_owned()));
        }
    }

    proptest::proptest! {
        /// Whatever the bytes, reading ends and finds no more records than there are bytes.
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let found = records::<serde_json::Value>(&bytes);
            proptest::prop_assert!(found.len() <= bytes.len() + 1);
        }

        /// A well-formed array reads as the parser reads it as a whole.
        #[test]
        fn a_good_array_is_read_whole(texts in proptest::collection::vec(".*", 0..10), pretty: bool) {
            let whole: Vec<serde_json::Value> = texts
                .iter()
                .map(|text| serde_json::json!({"text": text, "list": [text, {"deep": [text]}]}))
                .collect();
            let bytes = if pretty { serde_json::to_vec_pretty(&whole) } else { serde_json::to_vec(&whole) };
            let read: Result<Vec<serde_json::Value>, String> =
                records(&bytes.unwrap()).into_iter().map(|(_, value)| value).collect();
            proptest::prop_assert_eq!(read, Ok(whole));
        }
    }
}
