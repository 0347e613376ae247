//! API Gateway: converts its events to requests, and responses back.
//!
//! Anyone can send these, so the few fields needed are read tolerantly. `lambda_http` builds a URL from untrusted headers, and
//! panics on some. A malformed field leads to an error response later, never to an error here.
//!
//! **Invariant:** total over JSON objects. Nothing in a request can end the process or the invocation.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lambda_http::{
    aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of a decoded path that a URI must not hold.
const NOT_IN_A_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// An event in payload format 2.0, each field as received.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    raw_path: Option<Box<RawValue>>,
    headers: Option<Box<RawValue>>,
    body: Option<Box<RawValue>>,
    is_base64_encoded: Option<Box<RawValue>>,
    request_context: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Context {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

impl Event {
    /// The request. An invalid method or path becomes `GET /`, which has no route.
    pub fn into_request(self) -> Request<Vec<u8>> {
        let method = read::<Context>(self.request_context.as_deref())
            .and_then(|context| Method::from_bytes(context.http.method.as_bytes()).ok());
        // API Gateway decodes the path, so it may hold characters that no URI has.
        let path = read::<String>(self.raw_path.as_deref())
            .and_then(|path| utf8_percent_encode(&path, NOT_IN_A_PATH).to_string().parse::<Uri>().ok());
        let mut request = Request::new(body(self.body.as_deref(), self.is_base64_encoded.as_deref()));
        *request.method_mut() = method.unwrap_or_default();
        *request.uri_mut() = path.unwrap_or_default();
        *request.headers_mut() = headers(self.headers.as_deref());
        request
    }
}

/// A field, or `None` if it has another type.
fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// The valid headers. API Gateway joins repeated ones with commas.
fn headers(raw: Option<&RawValue>) -> HeaderMap {
    let all: BTreeMap<String, Box<RawValue>> = read(raw).unwrap_or_default();
    let header = |(name, value): (String, Box<RawValue>)| {
        let value: String = read(Some(&value))?;
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&value).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in all.into_iter().filter_map(header) {
        // Names that differ in case are one header, sent twice.
        headers.append(name, value);
    }
    headers
}

/// The body's bytes. A body wrongly marked as base64 is kept as it is; one that is not a string, as JSON.
fn body(raw: Option<&RawValue>, is_base64: Option<&RawValue>) -> Vec<u8> {
    let text: String = read(raw).or_else(|| raw.map(ToString::to_string)).unwrap_or_default();
    let decoded = read::<bool>(is_base64).filter(|is_base64| *is_base64).and_then(|_| BASE64.decode(&text).ok());
    decoded.unwrap_or_else(|| text.into_bytes())
}

/// The receiver's response, as API Gateway reads it.
pub fn answer(response: Response<String>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = parts.status.as_u16().into();
    answer.headers = parts.headers;
    answer.body = Some(body.into());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(event: &str) -> Request<Vec<u8>> {
        serde_json::from_str::<Event>(event).unwrap().into_request()
    }

    fn hostile(headers: &str) -> Request<Vec<u8>> {
        request(&format!(
            r#"{{"version":"2.0","rawPath":"/webhook","headers":{headers},"requestContext":{{"http":{{"method":"POST"}}}},"body":"{{}}"}}"#
        ))
    }

    #[test]
    fn an_event_becomes_the_request_that_was_sent() {
        let text = request(
            r#"{"rawPath":"/webhook/invoice","rawQueryString":"a=1","headers":{"x-callback-token":"t","webhook-id":"w"},
                "requestContext":{"http":{"method":"POST"}},"body":"{\"a\":1}","isBase64Encoded":false}"#,
        );
        assert_eq!((text.method(), text.uri().path()), (&Method::POST, "/webhook/invoice"));
        assert_eq!(text.headers()["x-callback-token"], "t");
        assert_eq!(text.body(), br#"{"a":1}"#);
        let binary = request(r#"{"body":"/wA=","isBase64Encoded":true}"#);
        assert_eq!(binary.body(), &[0xFF, 0]);
    }

    #[test]
    fn a_decoded_path_is_a_path_whatever_it_holds() {
        for path in ["fva paid", "a?b", "a#b", "\\u20ac", "%", "{}", "\\u0000"] {
            let request = request(&format!(r#"{{"rawPath":"/webhook/{path}"}}"#));
            assert!(request.uri().path().starts_with("/webhook/") && request.uri().query().is_none(), "{path}");
        }
    }

    #[test]
    fn hostile_headers_are_headers_or_nothing() {
        for headers in [
            r#"{"x-forwarded-proto":"https, https"}"#,
            r#"{"host":"["}"#,
            r#"{"host":"a b","x-forwarded-proto":"://"}"#,
            r#"{"":"","\u0000":"\u0000","a b":"c","x":"\u00e9\n"}"#,
            r#"{"x-callback-token":7,"y":null,"z":{"a":[]}}"#,
            "[]",
            "7",
            "null",
        ] {
            let request = hostile(headers);
            assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/webhook"), "{headers}");
            assert!(!request.headers().contains_key("x-callback-token"), "{headers}");
        }
    }

    #[test]
    fn a_token_that_was_sent_twice_is_there_twice() {
        let request = hostile(r#"{"x-callback-token":"a","X-Callback-Token":"b"}"#);
        assert_eq!(request.headers().get_all("x-callback-token").iter().count(), 2);
    }

    #[test]
    fn an_event_of_another_form_is_a_request_without_a_route() {
        for event in [
            "{}",
            r#"{"rawPath":7,"requestContext":7,"headers":7,"body":7,"isBase64Encoded":7}"#,
            r#"{"rawPath":"no path","requestContext":{"http":{"method":"P O S T"}}}"#,
            r#"{"rawPath":"","requestContext":{"http":null}}"#,
        ] {
            let request = request(event);
            assert_eq!(request.method(), &Method::GET, "{event}");
        }
    }

    #[test]
    fn a_body_is_kept_whatever_it_is() {
        assert_eq!(request(r#"{"body":"*","isBase64Encoded":true}"#).body(), b"*", "wrongly marked");
        assert_eq!(request(r#"{"body":"{\ud800}"}"#).body(), br#""{\ud800}""#, "half a character");
        assert_eq!(request(r#"{"body":{"a":1}}"#).body(), br#"{"a":1}"#);
        assert!(request(r#"{"body":null}"#).body().is_empty() && request("{}").body().is_empty());
    }
}
