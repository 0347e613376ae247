//! What Xendit says about a subject, beside what the ledger knows.
//!
//! **Invariant:** the key comes from the environment or a prompt, and from a local stack only if it is the fake's. It is in no
//! output.

use std::env;

use anyhow::{Context as _, Result};
use ledger::state::State;
use serde::Serialize;
use shared::{
    envelope::Environment,
    lifecycle::{Order, Stage},
    money::Money,
};
use xendit::{Client, SecretKey, XENDIT, objects::ObjectRef};

use super::Story;
use crate::{fake_xendit::KEY_VARIABLE, stack::Stack};

/// The variable with another address of Xendit's API.
const URL_VARIABLE: &str = "XENDIT_API_URL";

/// What Xendit answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// It knows the subject.
    Says {
        stage: Stage,
        /// What was paid in all.
        paid: Option<Money>,
        /// Where it says something else than the ledger. Empty: they agree.
        differs_in: Vec<&'static str>,
    },
    /// It says nothing, for this reason.
    Nothing { error: String },
}

impl Answer {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Nothing { error } => error.clone(),
            Self::Says { stage, paid, differs_in } => {
                let paid = paid.as_ref().map(|money| format!(", {money}")).unwrap_or_default();
                let verdict = match differs_in.as_slice() {
                    [] => "agrees".to_owned(),
                    differs_in => format!("DIFFERS in {}", differs_in.join(" and ")),
                };
                format!("{verdict}: {stage}{paid}")
            }
        }
    }
}

/// A client of the stack's Xendit API.
pub(super) fn client(stack: &Stack) -> Result<Client> {
    let address = stack.xendit_api_url.clone().or_else(|| env::var(URL_VARIABLE).ok());
    let key = match &stack.xendit_api_key {
        Some(key) => key.clone(),
        None => match env::var(KEY_VARIABLE) {
            Ok(key) => key,
            Err(_) => rpassword::prompt_password("Xendit API key (not shown): ")
                .with_context(|| format!("cannot ask for the key; set {KEY_VARIABLE}"))?,
        },
    };
    let key = SecretKey::new(&key).context("cannot use the key")?;
    Client::new(address.as_deref().unwrap_or(XENDIT), key).context("cannot use the address")
}

/// Asks Xendit about a subject.
pub(super) async fn ask(client: &Client, story: &Story<'_>, known: &State) -> Answer {
    let nothing = |error: String| Answer::Nothing { error };
    let is_live = client.environment().map(|environment| environment == Environment::Live);
    if is_live.is_some_and(|is_live| is_live != (story.environment == "live")) {
        return nothing(format!("not asked, because the key is not one for {} mode", story.environment));
    }
    let event = story.history.last().map_or("", |change| change.event);
    let Some(object) = ObjectRef::by_id(event, &story.id, story.within.as_deref()) else {
        return nothing("not asked, because its API does not return such an object by its id alone".to_owned());
    };
    match client.read(&object).await {
        Ok(seen) => compare(known, &State::from(&seen)),
        Err(error) => nothing(error.to_string()),
    }
}

/// Xendit may know more: that a paid invoice was settled. It differs if it knows less, or something else.
fn compare(known: &State, said: &State) -> Answer {
    let is_behind = match known.stage.kind().order() {
        Order::ByRank => said.stage < known.stage,
        Order::ByTime => said.occurred_at < known.occurred_at,
    };
    let paid = said.paid_in_all();
    let is_other = |ours: Option<&Money>, theirs: Option<&Money>| ours.zip(theirs).is_some_and(|(a, b)| a != b);
    let differences = [
        ("the phase", is_behind),
        ("what was paid", is_other(known.paid_in_all().as_ref(), paid.as_ref())),
        ("what was requested", is_other(known.requested.only(), said.requested.only())),
        ("the reference", known.reference.only().zip(said.reference.only()).is_some_and(|(a, b)| a != b)),
    ];
    let differs_in = differences.into_iter().filter(|(_, differs)| *differs).map(|(about, _)| about).collect();
    Answer::Says { stage: said.stage, paid, differs_in }
}
