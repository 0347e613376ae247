//! Facts: what the ledger's state says about a subject, by name, as text. The pages show them and compare them.

use std::fmt::Display;

use ledger::{
    state::{GivenUp, State},
    stated::Stated,
};
use serde::Serialize;
use shared::observation::Mark;

/// How many characters of a digest are shown.
const DIGEST_CHARS: usize = 12;

/// Something that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A fact that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChangedFact {
    pub(super) name: &'static str,
    /// `None`: nothing was known.
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// What a state says, without what it does not say.
pub(super) fn facts(state: &State) -> Vec<Fact> {
    let captures = state.captures.iter().map(|(id, amounts)| format!("{id}: {}", answers(amounts).unwrap_or_default()));
    let captures = captures.collect::<Vec<_>>().join(", ");
    let given_up = state.given_up.map(|given_up| match given_up {
        GivenUp::At(time) => time.to_string(),
        GivenUp::Undated => "at an unknown time".to_owned(),
    });
    let all = [
        ("stage", Some(state.stage.as_str().to_owned())),
        ("status", state.status.clone()),
        ("event", Some(state.event.clone())),
        ("paid", answers(&state.paid)),
        ("requested", answers(&state.requested)),
        ("captures", Some(captures).filter(|captures| !captures.is_empty())),
        ("reference", answers(&state.reference)),
        ("account", state.account.clone()),
        ("channel", state.channel.clone()),
        ("failure code", state.failure_code.clone()),
        ("occurred at", state.occurred_at.map(|time| time.to_string())),
        ("money at", state.money_at.map(|time| time.to_string())),
        ("given up", given_up),
        ("mark", state.mark.as_ref().map(mark)),
    ];
    all.into_iter().filter_map(|(name, value)| value.map(|value| Fact { name, value })).collect()
}

/// What differs between two states.
pub(super) fn changes(before: Option<&State>, after: &State) -> Vec<ChangedFact> {
    let (before, after) = (before.map(facts).unwrap_or_default(), facts(after));
    let value = |facts: &[Fact], name| facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone());
    let gone = before.iter().filter(|fact| value(&after, fact.name).is_none());
    let names: Vec<_> = after.iter().chain(gone).map(|fact| fact.name).collect();
    let changed = |name| ChangedFact { name, before: value(&before, name), after: value(&after, name) };
    names.into_iter().map(changed).filter(|fact| fact.before != fact.after).collect()
}

fn answers<T: Ord + Display>(stated: &Stated<T>) -> Option<String> {
    let answers: Vec<_> = stated.answers().map(ToString::to_string).collect();
    (!answers.is_empty()).then(|| answers.join(" ≠ "))
}

fn mark(mark: &Mark) -> String {
    match mark {
        Mark::Count(count) => count.to_string(),
        Mark::At(time) => time.to_string(),
        Mark::AtBecause(time, reason) => format!("{time}, {reason}"),
        Mark::Text(digest) => format!("{}…", digest.chars().take(DIGEST_CHARS).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use shared::webhook::Webhook;

    use super::*;

    fn state(body: &str) -> State {
        State::from(&Webhook::parse(body.as_bytes(), None).unwrap().observe())
    }

    fn invoice(status: &str, paid: &str) -> State {
        state(&format!(
            r#"{{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","status":"{status}","currency":"IDR","amount":10.10{paid}}}"#
        ))
    }

    #[test]
    fn a_change_names_what_was_and_what_is() {
        let (expired, paid) = (invoice("EXPIRED", ""), invoice("PAID", r#","paid_amount":10.10"#));
        let after = expired.clone().merge(paid);
        let changes = changes(Some(&expired), &after);
        let shown = |name| {
            let fact = changes.iter().find(|fact| fact.name == name).unwrap();
            (fact.before.as_deref(), fact.after.as_deref())
        };
        assert_eq!(shown("stage"), (Some("invoice.expired"), Some("invoice.paid")));
        assert_eq!(shown("paid"), (None, Some("IDR 10.10")));
        assert!(changes.iter().all(|fact| fact.name != "requested"), "{changes:?}");
    }

    #[test]
    fn contradicting_answers_are_shown_side_by_side() {
        let paid = |amount: &str| invoice("PAID", &format!(r#","paid_amount":{amount}"#));
        let both = paid("1").merge(paid("2"));
        assert!(facts(&both).iter().any(|fact| fact.value == "IDR 1 ≠ IDR 2"), "{:?}", facts(&both));
        assert_eq!(super::changes(None, &both).len(), facts(&both).len());
    }
}
