//! Stack: the names that the parts of a deployment know each other by. `template.yaml` gives the functions these variables;
//! whoever else starts a function (the local stack, the tests) sets the same.

/// An environment variable of a function, and what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What it must hold, for the message when it does not.
    pub holds: &'static str,
}

macro_rules! variables {
    ($( $constant:ident $name:literal $holds:literal; )+) => {
        $(
            #[doc = $holds]
            pub const $constant: Variable = Variable { name: $name, holds: $holds };
        )+

        /// Every variable of this project's own.
        pub const VARIABLES: &[Variable] = &[$( $constant ),+];
    };
}

variables! {
    CALLBACK_TOKENS "CALLBACK_TOKENS"
        "label=digest pairs separated by commas, such as live=<64 hex digits>: `xendit-hooks token digest` makes the digest of a token";
    TOKEN_ACCOUNTS "TOKEN_ACCOUNTS"
        "nothing, or label=account pairs separated by commas: a token with such a label may speak for these Xendit accounts only";
    ENVIRONMENT "ENVIRONMENT" "`test` or `live`";
    LOG_LEVEL "LOG_LEVEL" "`error`, `warn`, `info`, `debug` or `trace`";
    QUEUE_URL "QUEUE_URL" "the URL of the webhook queue";
    DLQ_URL "DLQ_URL" "the URL of the dead-letter queue";
    INBOX_BUCKET "INBOX_BUCKET" "the name of the S3 bucket that takes what the queue cannot";
    LEDGER_TABLE "LEDGER_TABLE" "the name of the DynamoDB table that is the ledger";
    BUS_NAME "BUS_NAME" "the name of the EventBridge bus that domain events go to";
}

/// The ledger's index from the merchant's reference to the subjects under it.
pub const INDEX_BY_REFERENCE: &str = "by-reference";

/// The ledger's index of the subjects that are still open.
pub const INDEX_OPEN: &str = "open";
