//! Mask: makes the copy of a body, a header or an event that the console shows.
//!
//! **Invariant:** pages and the API get no other copy. In it no secret is left, and no character that hides or reorders
//! others: both are replaced, and a body that was JSON still is.

use std::{fmt::Write as _, ops::Range};

use super::json::{Inside, Json};

/// The key under which the e-wallet webhooks of 2019 repeat the callback token.
const TOKEN_KEY: &str = "callback_authentication_token";

/// What stands in place of a secret.
pub(super) const MASK: &str = "[masked]";

/// What ends a value that follows the key in a text that is not JSON.
const ENDS: [char; 12] = ['"', '\'', '\\', ',', '&', ';', '}', ']', ' ', '\t', '\r', '\n'];

/// The secrets that must not be shown.
#[derive(Debug)]
pub(super) struct Masks {
    secrets: Vec<String>,
}

impl Masks {
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self { secrets: secrets.into_iter().filter(|secret| !secret.is_empty()).collect() }
    }

    /// The copy of a body.
    pub(super) fn body(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        self.text(text)
    }

    /// The copy of any text.
    pub(super) fn text(&self, text: &str) -> String {
        let mut hidden = Vec::new();
        let json = Json::parse(text);
        // In JSON a whole value is replaced, quotes included.
        let mask = if json.is_some() { format!("\"{MASK}\"") } else { MASK.to_owned() };
        match json {
            Some(json) => self.hide_in(&json, text, &mut hidden),
            None => hidden.extend(text.match_indices(TOKEN_KEY).map(|(at, key)| value_after(text, at + key.len()))),
        }
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for range in hidden.into_iter().filter(|range| !range.is_empty()) {
            masked.push_str(text.get(end..range.start).unwrap_or_default());
            masked.push_str(&mask);
            end = range.end;
        }
        masked.push_str(text.get(end..).unwrap_or_default());
        let masked = self.secrets.iter().fold(masked, |text, secret| text.replace(secret, MASK));
        visible(&masked)
    }

    /// Finds the values to hide, in the order of the text.
    fn hide_in(&self, json: &Json<'_>, text: &str, hidden: &mut Vec<Range<usize>>) {
        match &json.inside {
            Inside::List(items) => items.iter().for_each(|item| self.hide_in(item, text, hidden)),
            Inside::Object(entries) => {
                for (key, value) in entries {
                    if key == TOKEN_KEY {
                        hidden.push(value.range_in(text));
                    } else {
                        self.hide_in(value, text, hidden);
                    }
                }
            }
            Inside::Nothing => {
                // A string may hold JSON, or write a secret with escapes.
                let decoded = serde_json::from_str::<String>(json.text).unwrap_or_default();
                let is_secret = |text: &str| {
                    text.contains(TOKEN_KEY) || self.secrets.iter().any(|secret| text.contains(secret.as_str()))
                };
                if is_secret(json.text) || is_secret(&decoded) {
                    hidden.push(json.range_in(text));
                }
            }
        }
    }
}

/// Where the value is that follows a key.
fn value_after(text: &str, at: usize) -> Range<usize> {
    let rest = text.get(at..).unwrap_or_default();
    let value = rest.trim_start_matches(['"', '\'', '\\', ':', '=', ' ', '\t', '\r', '\n']);
    let start = at + rest.len() - value.len();
    start..start + value.find(ENDS).unwrap_or(value.len())
}

/// The text with characters that hide or reorder others written as JSON escapes.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' => {
                write_out(&mut shown, c);
            }
            '\r' => {}
            c if c.is_control() => write_out(&mut shown, c),
            c => shown.push(c),
        }
    }
    shown
}

fn write_out(shown: &mut String, c: char) {
    let _ = write!(shown, "\\u{:04x}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Masks::new(["s3cret".to_owned()]).text(text)
    }

    #[test]
    fn the_token_in_a_body_is_masked_and_the_digits_stay() {
        assert_eq!(
            shown(
                r#"{"amount": 10.10, "callback_authentication_token": "abc", "a":[{"callback_authentication_token":{"x":1}}]}"#
            ),
            r#"{"amount": 10.10, "callback_authentication_token": "[masked]", "a":[{"callback_authentication_token":"[masked]"}]}"#
        );
    }

    #[test]
    fn no_spelling_of_a_secret_is_left() {
        for text in [
            r#"{"callback\u005fauthentication_token":"s3cret"}"#,
            r#"{"a":"my s3cret is"}"#,
            r#"{"a":"s3c\u0072et"}"#,
            r#"{"a":"{\"callback_authentication_token\":\"hush\"}"}"#,
            r#"{"s3cret":1}"#,
            "callback_authentication_token=hush&a=1",
            r#"{"callback_authentication_token": "hush", broken"#,
            r#"{"callback_authentication_token":"hush"#,
            "s3cret",
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hush") && !shown.contains("s3cret") && !shown.contains("\\u0072et"), "{shown}");
            assert!(shown.contains(MASK), "{shown}");
            assert_eq!(Json::parse(&shown).is_some(), Json::parse(text).is_some(), "{shown}");
        }
    }

    #[test]
    fn characters_that_hide_others_are_written_out() {
        assert_eq!(shown("{\"a\":\"x\u{202E}y\u{200B}\"}"), r#"{"a":"x\u202ey\u200b"}"#);
        assert_eq!(shown("a\u{7}b\u{2029}\té"), "a\\u0007b\\u2029\té");
    }
}
