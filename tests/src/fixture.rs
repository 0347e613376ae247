//! Fixtures: the files in `events/`, and requests built from them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use receiver::verify::TOKEN_HEADER;
use serde_json::Value;
use shared::envelope::{Delivery, Environment};

/// The callback token in the files of `events/`. Only local stacks accept it.
pub const LOCAL_TOKEN: &str = "xendit-hooks-local-token-0123456789";

/// The value of `CALLBACK_TOKENS` that accepts `LOCAL_TOKEN`: its label and its digest.
pub const LOCAL_TOKENS: &str = "local=6b6f7ba2da608e751eb7e8a572d296b42956650139724808744fb32fa76f2709";

/// The folder `events/` of the repository.
pub fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

/// A file in `events/`.
pub fn event(name: &str) -> String {
    let path = events().join(name);
    fs::read_to_string(&path).unwrap_or_else(|reason| panic!("events/{name}: {reason}"))
}

/// A delivery with only the required fields.
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

/// The event that API Gateway creates for a request. A body that is not text is sent as base64.
pub fn api_event(token: &str, body: &[u8]) -> String {
    let mut event: Value = serde_json::from_str(&event("api-token-right.json")).unwrap();
    let text = str::from_utf8(body).ok();
    event["rawPath"] = "/webhook".into();
    event["headers"][TOKEN_HEADER] = token.into();
    event["isBase64Encoded"] = text.is_none().into();
    event["body"] = text.map_or_else(|| BASE64.encode(body), str::to_owned).into();
    event.to_string()
}

/// The files in `events/` whose names start with a prefix.
pub fn events_named(prefix: &str) -> Vec<String> {
    names("").into_iter().filter(|name| name.starts_with(prefix)).map(|name| event(&name)).collect()
}

/// A body in `events/webhooks/`.
pub fn webhook(name: &str) -> String {
    event(&format!("webhooks/{name}.json"))
}

/// The names of the entries in a folder of `events/`, sorted.
pub fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(events().join(folder)).expect("a folder in events/");
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every body in `events/webhooks/`, with its name.
pub fn webhooks() -> Vec<(String, String)> {
    let names = names("webhooks");
    assert!(!names.is_empty(), "events/webhooks/ is empty");
    let body = |file: String| {
        let name = file.strip_suffix(".json").unwrap_or_else(|| panic!("events/webhooks/{file} is not a .json file"));
        (name.to_owned(), webhook(name))
    };
    names.into_iter().map(body).collect()
}
