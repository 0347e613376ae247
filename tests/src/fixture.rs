//! Fixtures: the files in `events/`, and what is made of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use receiver::verify::TOKEN_HEADER;
use serde_json::Value;
use shared::envelope::{Delivery, Environment};

/// The token that the files in `events/` carry. It opens nothing but a laptop.
pub const LOCAL_TOKEN: &str = "xendit-hooks-local-token-0123456789";

/// The folder `events/` of the repository.
pub fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// A file in `events/`.
pub fn event(name: &str) -> String {
    let path = events().join(name);
    fs::read_to_string(&path).unwrap_or_else(|reason| panic!("events/{name}: {reason}"))
}

/// What is known of a delivery at the very least.
pub fn delivery() -> Delivery {
    Delivery {
        id: "d-1".to_owned(),
        received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        environment: Environment::Test,
        token: "local".to_owned(),
        topic: None,
        webhook_id: None,
        api_version: None,
        content_type: None,
    }
}

/// The event that API Gateway makes of a request with a token and a body, which it encodes unless it is text.
pub fn api_event(token: &str, body: &[u8]) -> String {
    let mut event: Value = serde_json::from_str(&event("api-token-right.json")).unwrap();
    let text = str::from_utf8(body).ok();
    event["rawPath"] = "/webhook".into();
    event["headers"][TOKEN_HEADER] = token.into();
    event["isBase64Encoded"] = text.is_none().into();
    event["body"] = text.map_or_else(|| BASE64.encode(body), str::to_owned).into();
    event.to_string()
}

/// A body in `events/webhooks/`.
pub fn webhook(name: &str) -> String {
    event(&format!("webhooks/{name}.json"))
}

/// The names of what is in a folder of `events/`, sorted.
pub fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(events().join(folder)).expect("a folder in events/");
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every body in `events/webhooks/`, with its name.
pub fn webhooks() -> Vec<(String, String)> {
    let names = names("webhooks");
    assert!(!names.is_empty(), "there is nothing in events/webhooks/");
    let body = |file: String| {
        let name = file.strip_suffix(".json").unwrap_or_else(|| panic!("events/webhooks/{file} is no body"));
        (name.to_owned(), webhook(name))
    };
    names.into_iter().map(body).collect()
}
