//! Configuration: what the template gives the processor.

use std::collections::{BTreeMap, BTreeSet};

use runtime::settings::{BadSetting, optional, required};
use shared::{
    envelope::Environment,
    stack::{BUS_NAME, DLQ_URL, ENVIRONMENT, INBOX_BUCKET, LEDGER_TABLE, QUEUE_URL, TOKEN_ACCOUNTS},
};

/// The processor's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ledger's table.
    pub ledger_table: String,
    /// The bus of the domain events.
    pub bus_name: String,
    /// The webhook queue.
    pub queue_url: String,
    /// The dead-letter queue.
    pub dlq_url: String,
    /// The inbox.
    pub inbox_bucket: String,
    /// Which of Xendit's two environments this is.
    pub environment: Environment,
    /// The accounts that a token may speak for, by its label.
    pub token_accounts: BTreeMap<String, BTreeSet<String>>,
}

impl Config {
    /// Reads all settings. The first that is missing or wrong is the error.
    pub fn from_env() -> Result<Self, BadSetting> {
        Ok(Self {
            ledger_table: required(LEDGER_TABLE)?,
            bus_name: required(BUS_NAME)?,
            queue_url: required(QUEUE_URL)?,
            dlq_url: required(DLQ_URL)?,
            inbox_bucket: required(INBOX_BUCKET)?,
            environment: required(ENVIRONMENT)?,
            token_accounts: optional(TOKEN_ACCOUNTS, token_accounts)?,
        })
    }
}

/// Reads `label=account` pairs. A label may have several.
fn token_accounts(text: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let mut accounts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (label, account) =
            pair.trim().split_once('=').filter(|(label, account)| !label.is_empty() && !account.is_empty())?;
        accounts.entry(label.to_owned()).or_default().insert(account.to_owned());
    }
    Some(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_bound_to_the_accounts_beside_it() {
        let accounts = token_accounts("shop=a1, shop=a2,other=b").unwrap();
        assert_eq!(accounts["shop"], BTreeSet::from(["a1".to_owned(), "a2".to_owned()]));
        assert_eq!(accounts.len(), 2);
        assert_eq!(token_accounts(""), Some(BTreeMap::new()));
        for wrong in ["shop", "shop=", "=a", "shop=a,x"] {
            assert_eq!(token_accounts(wrong), None, "{wrong}");
        }
    }
}
