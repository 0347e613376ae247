//! Key: the secret API key of a Xendit account.
//!
//! **Invariant:** the key leaves this file only as the header of a request, marked as sensitive. It is erased when it is
//! dropped.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use shared::envelope::Environment;
use zeroize::Zeroizing;

const TEST: &str = "xnd_development_";
const LIVE: &str = "xnd_production_";
const PUBLIC: &str = "xnd_public_";

/// A secret API key.
pub struct SecretKey(Zeroizing<String>);

/// The text is no secret key. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASecretKey {
    /// It is empty, or holds a character that no key has.
    #[error("this is not an API key; copy a secret key from Xendit's dashboard under Settings, API keys")]
    Malformed,
    /// It is a public key, which can only tokenise cards.
    #[error("this is a public API key; create a secret one in Xendit's dashboard under Settings, API keys")]
    Public,
}

impl SecretKey {
    /// A key, without the whitespace around it.
    pub fn new(key: &str) -> Result<Self, NotASecretKey> {
        let key = key.trim();
        if key.starts_with(PUBLIC) {
            return Err(NotASecretKey::Public);
        }
        // Basic authentication ends the user's name at a colon.
        let is_valid = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if is_valid { Ok(Self(Zeroizing::new(key.to_owned()))) } else { Err(NotASecretKey::Malformed) }
    }

    /// The environment of the key, which chooses between test and live data. `None`: the key does not say.
    pub fn environment(&self) -> Option<Environment> {
        if self.0.starts_with(TEST) {
            Some(Environment::Test)
        } else {
            self.0.starts_with(LIVE).then_some(Environment::Live)
        }
    }

    /// The header of a request: the key as the user, without a password.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let user = Zeroizing::new(format!("{}:", *self.0));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(user.as_bytes())));
        #[expect(clippy::expect_used, reason = "Base64 is ASCII")]
        let mut header = HeaderValue::from_str(&text).expect("ASCII is a header");
        header.set_sensitive(true);
        header
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let key = SecretKey::new("xnd_development_hidden").unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey(…)");
        assert!(!format!("{:?}", key.authorization()).contains(&STANDARD.encode("xnd_development_hidden:")));
        assert!(!format!("{:?}", SecretKey::new("xnd hidden")).contains("hidden"));
    }

    #[test]
    fn a_key_is_the_user_without_a_password() {
        let key = SecretKey::new(" xnd_development_1\n").unwrap();
        assert_eq!(key.authorization(), format!("Basic {}", STANDARD.encode("xnd_development_1:")));
    }

    #[test]
    fn the_prefix_names_the_environment() {
        let environment = |key: &str| SecretKey::new(key).unwrap().environment();
        assert_eq!(environment("xnd_development_1"), Some(Environment::Test));
        assert_eq!(environment("xnd_production_1"), Some(Environment::Live));
        assert_eq!(environment("another"), None);
    }

    #[test]
    fn what_is_no_secret_key_is_refused() {
        for text in ["", " ", "a:b", "a b", "é"] {
            assert_eq!(SecretKey::new(text).unwrap_err(), NotASecretKey::Malformed, "{text}");
        }
        assert_eq!(SecretKey::new("xnd_public_development_1").unwrap_err(), NotASecretKey::Public);
    }
}
