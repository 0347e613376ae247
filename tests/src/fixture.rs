//! Fixtures: the files in `events/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
