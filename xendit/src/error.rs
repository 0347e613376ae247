//! Error: what became of a call that brought no result, so that the caller can decide: ask again later, or tell somebody.
//!
//! **Invariant:** of an answer, only the status, the error code and the request id are kept. Messages may quote addresses and
//! values.

use std::{fmt, time::Duration};

use http::HeaderMap;
use serde::Deserialize;
use shared::api_object::NotObserved;

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Xendit knows no such object. Soon after its webhook, it may be known later; or it belongs to another account, or to the
    /// other environment.
    #[error("Xendit knows no such object, or not yet ({0})")]
    NotFound(Answered),
    /// The key is wrong, or may not do this. Asking again does not help.
    #[error("Xendit refused the API key ({0}); check the key, its permissions and the IP allowlist")]
    Refused(Answered),
    /// Too many calls.
    #[error("Xendit's rate limit is reached{}", in_seconds(*.0))]
    Limited(Option<Duration>),
    /// Xendit cannot answer now. A call that changes something may have been carried out.
    #[error("Xendit's API is not available: {0}")]
    Unavailable(Unavailable),
    /// Xendit does not accept the request. Asking again does not help.
    #[error("Xendit rejected the request ({0})")]
    Rejected(Answered),
    /// The answer cannot be read.
    #[error("Xendit's answer cannot be read: {0}")]
    Unreadable(String),
    /// The answer is about something else than what was asked for.
    #[error("Xendit's answer is about another object: it differs in {0}")]
    Contradicts(&'static str),
}

/// Why there was no answer of Xendit's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There was none.
    #[error("{0}")]
    Unanswered(&'static str),
    /// A server error.
    #[error("{0}")]
    Failed(Answered),
    /// HTML, from a filter or a proxy in front of the API.
    #[error("{0}, with HTML instead of JSON")]
    Html(u16),
    /// A redirect, which is not followed, because it would carry the key elsewhere.
    #[error("{0}, a redirect; check the API's address")]
    Redirect(u16),
}

/// What is kept of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// Xendit's `error_code`.
    pub code: Option<String>,
    /// What Xendit's support asks for.
    pub request_id: Option<String>,
}

impl Error {
    /// Whether the same call may succeed later.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Limited(_) | Self::Unavailable(_))
    }

    pub(crate) fn unreadable(reason: impl fmt::Display) -> Self {
        Self::Unreadable(reason.to_string())
    }

    /// What an answer other than 2xx means.
    pub(crate) fn of(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let answered = Answered::read(status, headers, body);
        let is = |code: &str| answered.code.as_deref() == Some(code);
        match status {
            429 => Self::Limited(reset(headers)),
            300..=399 => Self::Unavailable(Unavailable::Redirect(status)),
            500.. => Self::Unavailable(Unavailable::Failed(answered)),
            _ if is_html(body) => Self::Unavailable(Unavailable::Html(status)),
            401 | 403 => Self::Refused(answered),
            _ if is("UNAUTHORIZED_SENDER_IP") => Self::Refused(answered),
            // Some pages of Xendit's list this code under 404.
            _ if is("RATE_LIMIT_EXCEEDED") => Self::Limited(reset(headers)),
            404 => Self::NotFound(answered),
            _ => Self::Rejected(answered),
        }
    }
}

impl From<NotObserved> for Error {
    fn from(reason: NotObserved) -> Self {
        Self::unreadable(reason)
    }
}

impl Answered {
    fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error_code: Option<String>,
        }

        // Serde would also read a list as the body.
        let is_object = body.trim_ascii_start().first() == Some(&b'{');
        let code = serde_json::from_slice::<Body>(body).ok().filter(|_| is_object).and_then(|body| body.error_code);
        let is_code = |text: &String| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_id =
            |text: &&str| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let request_id = headers.get("request-id").and_then(|value| value.to_str().ok()).filter(is_id);
        Self { status, code: code.filter(is_code), request_id: request_id.map(str::to_owned) }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        Ok(())
    }
}

/// Whether a body is HTML: no JSON begins like this.
pub(crate) fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// When the rate limit is reset. The seconds may have a fraction, which is rounded up.
pub(crate) fn reset(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("rate-limit-reset")?.to_str().ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = whole.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()))?;
    // Longer than any window of Xendit's. A wrong header must not stop the caller for good.
    Some(Duration::from_secs((seconds + u64::from(!fraction.is_empty())).min(3600)))
}

fn in_seconds(after: Option<Duration>) -> String {
    after.map(|after| format!("; ask again in {} seconds", after.as_secs())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Error {
        Error::of(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn the_status_decides_and_not_the_codes_name() {
        for code in ["DATA_NOT_FOUND", "NOT_FOUND", "INVOICE_NOT_FOUND_ERROR"] {
            let error = of(404, &format!(r#"{{"error_code":"{code}","message":"secret"}}"#));
            assert_eq!(error.to_string(), format!("Xendit knows no such object, or not yet (404 {code})"));
            assert!(error.may_pass());
        }
        assert!(matches!(of(404, ""), Error::NotFound(_)));
        assert!(matches!(of(400, r#"{"error_code":"API_VALIDATION_ERROR"}"#), Error::Rejected(_)));
        assert!(matches!(of(503, r#"{"error_code":"CHANNEL_UNAVAILABLE"}"#), Error::Unavailable(_)));
    }

    #[test]
    fn a_refused_key_is_told_apart_from_a_filter_in_front_of_the_api() {
        assert!(matches!(of(401, r#"{"error_code":"INVALID_API_KEY"}"#), Error::Refused(_)));
        assert!(matches!(of(403, r#"{"error_code":"REQUEST_FORBIDDEN_ERROR"}"#), Error::Refused(_)));
        assert!(matches!(of(403, ""), Error::Refused(_)));
        assert!(matches!(of(400, r#"{"error_code":"UNAUTHORIZED_SENDER_IP"}"#), Error::Refused(_)));
        for status in [403, 404] {
            assert_eq!(of(status, " <html>Attention"), Error::Unavailable(Unavailable::Html(status)));
        }
        assert!(!of(401, "").may_pass());
    }

    #[test]
    fn nothing_but_codes_is_kept_of_a_body() {
        for body in [r#"{"error_code":"payer@example.com"}"#, r#"{"error_code":7}"#, r#"["x"]"#, "\u{FFFF}", r#""x"#] {
            let Error::Rejected(answered) = of(400, body) else { panic!("{body}") };
            assert_eq!(answered, Answered { status: 400, code: None, request_id: None }, "{body}");
        }
    }

    #[test]
    fn the_reset_is_whole_seconds_and_no_longer_than_an_hour() {
        let reset = |text: &str| {
            reset(&HeaderMap::from_iter([(http::HeaderName::from_static("rate-limit-reset"), text.parse().unwrap())]))
        };
        assert_eq!(reset("58.37"), Some(Duration::from_secs(59)));
        assert_eq!(reset("7"), Some(Duration::from_secs(7)));
        assert_eq!(reset("99999999999"), Some(Duration::from_hours(1)));
        for text in ["", "soon", "-1", "1e3", "1.x"] {
            assert_eq!(reset(text), None, "{text}");
        }
    }
}
