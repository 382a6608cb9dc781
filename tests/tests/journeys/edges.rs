//! What happens at the edge: to those who ask too much, who lie about where they are, who send what no
//! browser would, and who take their time.

mod browsers;
mod limits;
mod secrets;
mod tls;
mod wire;

use reqwest::header::HeaderMap;

/// A header as text; empty where it is not there.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().expect("text").unwrap_or_default()
}
