//! The bodies in `events/webhooks`.

use std::{collections::BTreeMap, fs, path::Path};

/// Every body, by its file's name without `.json`.
pub(crate) fn bodies() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/webhooks");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}
