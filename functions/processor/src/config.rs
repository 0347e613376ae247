//! Configuration: what the template gives the processor.

use std::collections::{BTreeMap, BTreeSet};

use runtime::settings::{BadSetting, optional, required};
use shared::{
    envelope::{Environment, is_token_label},
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
    /// The accounts that each token is bound to.
    pub token_accounts: TokenAccounts,
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
            token_accounts: optional(TOKEN_ACCOUNTS, TokenAccounts::parse)?,
        })
    }
}

/// The Xendit accounts that tokens are bound to, by label. Empty: every token is accepted for every account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenAccounts(BTreeMap<String, BTreeSet<String>>);

/// Stands for every account.
const ANY: &str = "*";

impl TokenAccounts {
    /// Parses `label=account` pairs. A label may have several, or `*` for any.
    pub fn parse(text: &str) -> Option<Self> {
        let mut accounts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (label, account) = pair.split_once('=')?;
            let is_account = !account.is_empty() && !account.contains(char::is_whitespace);
            if !is_token_label(label) || !is_account {
                return None;
            }
            accounts.entry(label.to_owned()).or_default().insert(account.to_owned());
        }
        Some(Self(accounts))
    }

    /// The accounts that a token is bound to. `None`: it is accepted for every account.
    ///
    /// Once one label is bound, a label that is not listed is accepted for no account: a misspelt label must not open what
    /// it was meant to close.
    pub fn of(&self, label: &str) -> Option<BTreeSet<String>> {
        if self.0.is_empty() {
            return None;
        }
        let accounts = self.0.get(label).cloned().unwrap_or_default();
        Some(accounts).filter(|accounts| !accounts.contains(ANY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_bound_to_the_accounts_beside_it_and_one_that_is_not_listed_to_none() {
        let bound = TokenAccounts::parse("shop=a1, shop=a2,other=b,any=*,").unwrap();
        let accounts = |label: &str| bound.of(label).map(|accounts| accounts.into_iter().collect::<Vec<_>>());
        assert_eq!(accounts("shop").unwrap(), ["a1", "a2"]);
        assert_eq!(accounts("other").unwrap(), ["b"]);
        assert_eq!(accounts("any"), None);
        assert_eq!(accounts("shopp").unwrap(), Vec::<String>::new());
        assert_eq!(TokenAccounts::parse("").unwrap().of("shop"), None, "nothing is bound");
    }

    #[test]
    fn a_list_with_a_mistake_is_refused() {
        for wrong in ["shop", "shop=", "=a", "shop=a,x", "shop =a", "Shop=a", "shop= a"] {
            assert_eq!(TokenAccounts::parse(wrong), None, "{wrong}");
        }
    }
}
