//! What Markdown may come in: a bound on its nesting, which readers of it follow with their stacks, and
//! on where its links go. Nothing is taken out: what is stored is what was typed. It is `CommonMark`, and
//! clients show raw HTML in it as text.

use pulldown_cmark::{Event, Parser, Tag};

use crate::values::{Invalid, MessageBody};

/// How deep quotes, lists and emphasis may nest.
const DEPTH_MAX: usize = 32;

/// Where links and images may lead; and to places without a scheme.
const SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

impl MessageBody {
    /// Checks a body in Markdown that a client sends.
    ///
    /// # Errors
    /// It is no body, nests too deeply, or leads to where links must not.
    pub fn parse_markdown(text: &str) -> Result<Self, Invalid> {
        let body = Self::parse(text)?;
        let mut depth = 0_usize;
        for event in Parser::new(text) {
            match event {
                Event::Start(tag) => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(Invalid {
                            code: "markdown_too_deep",
                            rule: "Markdown nests at most 32 deep",
                        });
                    }
                    if let Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } = tag
                        && !is_allowed(&dest_url)
                    {
                        return Err(Invalid {
                            code: "link_not_allowed",
                            rule: "links in Markdown are http, https, mailto or tel",
                        });
                    }
                }
                Event::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(body)
    }
}

/// Browsers pass over white space and control characters in a scheme, and so does this.
fn is_allowed(address: &str) -> bool {
    let shown = address
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace());
    let shown: String = shown.collect();
    let Some((scheme, _)) = shown.split_once(':') else {
        return true;
    };
    let is_scheme = scheme
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    !is_scheme || SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_is_kept_as_it_is_typed() {
        for good in [
            "# Tea\n\n- *now*\n- **later** at [the house](https://example.org/a?b=c:d)\n",
            "[write](mailto:a@example.org), [call](tel:+49), [see](/v1/x), [at](./12:30)",
            "<script>alert(1)</script> is text",
            "``javascript:alert(1)`` and javascript:alert(1)",
            "> quoted\n>> twice",
        ] {
            let body = MessageBody::parse_markdown(good).expect(good);
            assert_eq!(body.as_str(), good);
        }
    }

    #[test]
    fn links_do_not_run_programs() {
        for bad in [
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](<java&#10;script:alert(1)>)",
            "![x](data:image/svg+xml;base64,AAAA)",
            "[x][1]\n\n[1]: vbscript:x",
            "<javascript:alert(1)>",
            "[x](file:///etc/passwd)",
        ] {
            let refused = MessageBody::parse_markdown(bad).expect_err(bad);
            assert_eq!(refused.code, "link_not_allowed", "{bad}");
        }
    }

    #[test]
    fn markdown_does_not_nest_without_end() {
        let nested = |depth: usize| format!("{}tea", "> ".repeat(depth));
        assert!(MessageBody::parse_markdown(&nested(DEPTH_MAX - 1)).is_ok());
        for depth in [DEPTH_MAX, 5_000] {
            let refused = MessageBody::parse_markdown(&nested(depth)).expect_err("too deep");
            assert_eq!(refused.code, "markdown_too_deep");
        }
    }

    #[test]
    fn markdown_is_a_body() {
        let refused = MessageBody::parse_markdown(" ").expect_err("no text");
        assert_eq!(refused.code, "empty_body");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_refused(text in r"([\[\]()<>*_`#>!:&;\\ \n-]|[a-z]|\PC){0,200}") {
            if let Ok(body) = MessageBody::parse_markdown(&text) {
                prop_assert_eq!(body.as_str(), text);
            }
        }
    }
}
