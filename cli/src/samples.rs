//! Samples: the bundled webhooks, inside the binary, so that the tool needs no checkout for them.

use include_dir::{Dir, include_dir};

static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../events/webhooks");

/// A bundled webhook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The name of its file without `.json`, such as `invoice.paid`.
    pub(crate) name: &'static str,
    pub(crate) body: &'static str,
}

/// All samples, sorted by name.
pub(crate) fn all() -> Vec<Sample> {
    let mut all: Vec<_> = FOLDER
        .files()
        .filter_map(|file| {
            let name = file.path().file_name()?.to_str()?.strip_suffix(".json")?;
            Some(Sample { name, body: file.contents_utf8()? })
        })
        .collect();
    all.sort_unstable_by_key(|sample| sample.name);
    all
}

/// The sample with a name.
pub(crate) fn find(name: &str) -> Option<Sample> {
    all().into_iter().find(|sample| sample.name == name)
}

/// Of several names, the one that is most like a mistyped one, if at most a third of it would have to change.
pub(crate) fn closest<'a>(mistyped: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(mistyped, name), name));
    distances.min().filter(|(distance, name)| distance * 3 <= name.len()).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_found_by_its_name_and_is_json() {
        assert!(all().len() > 90);
        for sample in all() {
            assert_eq!(find(sample.name).map(|found| found.body), Some(sample.body));
            assert!(serde_json::from_str::<serde_json::Value>(sample.body).is_ok(), "{}", sample.name);
        }
        assert!(find("invoice").is_none());
    }

    #[test]
    fn a_mistyped_name_finds_the_nearest_one_or_none() {
        let names = || all().into_iter().map(|sample| sample.name);
        assert_eq!(closest("invoice.payd", names()), Some("invoice.paid"));
        assert_eq!(closest("payout.suceeded", names()), Some("payout.succeeded"));
        assert_eq!(closest("gift_card", names()), None);
    }
}
