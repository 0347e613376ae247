//! The schemas in `docs/schemas/`: that they are what the types say, that what is published keeps them, and that they
//! change only as their readers were promised.
//!
//! `make docs` writes them, by running this with `WRITE_SCHEMAS` set.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise has to end the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use shared::{
    domain_event::{self, SCHEMA_VERSION},
    lifecycle::Stage,
    webhook::catalogue,
};
use tests::{
    fixture,
    story::{Published, Story},
};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of every detail. The other files add what is certain for one type.
const DETAIL: &str = "detail.json";

/// The folder of the version that is published.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schemas/v{SCHEMA_VERSION}"))
}

/// The committed schemas by their files' names.
fn committed() -> BTreeMap<String, Value> {
    let Ok(entries) = fs::read_dir(folder()) else { return BTreeMap::new() };
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    };
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

/// The schemas as the types have them, with what the pipeline publishes as examples.
async fn schemas() -> BTreeMap<String, Value> {
    let examples = examples().await;
    let of_type = |(name, certain): (String, Value)| {
        let mut schema = json!({
            "$schema": DRAFT,
            "title": name,
            "allOf": [{ "$ref": DETAIL }, certain],
        });
        if let Some(example) = examples.get(&name) {
            schema["examples"] = json!([example]);
        }
        (format!("{name}.json"), schema)
    };
    let detail = (DETAIL.to_owned(), domain_event::schema());
    types().into_iter().map(of_type).chain([detail]).collect()
}

/// Every type of domain event, with what is certain of its detail.
fn types() -> BTreeMap<String, Value> {
    let at = |kind: &str, phase: &str| json!({ "properties": { "phase": { "const": phase }, "subject": { "properties": { "kind": { "const": kind } } } } });
    let stages: BTreeSet<Stage> = catalogue().flat_map(|entry| entry.stages).collect();
    let mut types: BTreeMap<_, _> =
        stages.iter().map(|stage| (stage.to_string(), at(stage.kind().as_str(), stage.phase()))).collect();
    let mut unknown = at("unknown", "received");
    unknown["properties"]["unknown_reason"] = json!({ "type": "string" });
    types.insert("webhook.unknown".to_owned(), unknown);
    let conflict = json!({ "properties": { "conflicting_amounts": { "minItems": 2 } } });
    types.insert("webhook.conflict".to_owned(), conflict);
    types
}

/// What is published about bodies that come one after the other.
async fn told(bodies: &[impl AsRef<str>]) -> Vec<Published> {
    let story = Story::new();
    for body in bodies {
        story.post(body.as_ref()).await;
        story.drain().await;
    }
    story.published()
}

/// What is published about each bundled body on its own, by the body's name; about one that contradicts another; and
/// about one that is not known.
async fn published() -> Vec<(String, Published)> {
    let mut published = Vec::new();
    for (name, body) in fixture::webhooks() {
        published.extend(told(&[&body]).await.into_iter().map(|event| (name.clone(), event)));
    }
    let paid = fixture::webhook("ewallet.capture");
    let other = paid.replace("\"capture_amount\": 20000", "\"capture_amount\": 19999");
    assert_ne!(paid, other);
    for bodies in [vec![paid, other], vec![r#"{"event":"gift_card.redeemed","data":{"id":"gc-1"}}"#.to_owned()]] {
        published.extend(told(&bodies).await.into_iter().map(|event| (String::new(), event)));
    }
    published
}

/// One event of each type that the bodies lead to: that of the body of the same name, if there is one.
async fn examples() -> BTreeMap<String, Value> {
    let mut published = published().await;
    published.sort_by_key(|(body, event)| *body != event.detail_type);
    let mut examples = BTreeMap::new();
    for (_, event) in published {
        examples.entry(event.detail_type).or_insert(event.detail);
    }
    examples
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

#[tokio::test(start_paused = true)]
async fn the_schemas_are_what_the_types_say() {
    let (committed, schemas) = (committed(), schemas().await);
    if env::var_os("WRITE_SCHEMAS").is_some() {
        for (name, old) in &committed {
            let kept = schemas.get(name).is_some_and(|new| only_gains(old, new));
            assert!(kept, "{name} takes something from its readers: that needs another SCHEMA_VERSION");
        }
        fs::create_dir_all(folder()).unwrap();
        for (name, schema) in &schemas {
            fs::write(folder().join(name), text(schema)).unwrap();
        }
        return;
    }
    let names = |files: &BTreeMap<String, Value>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&schemas), "run `make docs`");
    for (name, schema) in &schemas {
        let written = fs::read_to_string(folder().join(name)).unwrap();
        assert!(
            written == text(schema),
            "docs/schemas/v{SCHEMA_VERSION}/{name} is not what the code says; run `make docs`"
        );
    }
}

/// Whether every event that keeps the new schema keeps the old one, and the other way round: a schema may get
/// properties that need not be there, and definitions. What is written for people may change.
fn only_gains(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return old == new };
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).filter(|key| !FOR_PEOPLE.contains(&key.as_str())).collect();
    keys.into_iter().all(|key| match (old.get(key), new.get(key)) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if key == "properties" || key == "$defs" => {
            old.iter().all(|(name, old)| new.get(name).is_some_and(|new| only_gains(old, new)))
        }
        (Some(old), Some(new)) => only_gains(old, new),
        (None, Some(_)) => key == "$defs",
        _ => false,
    })
}

const FOR_PEOPLE: [&str; 3] = ["title", "description", "examples"];

#[test]
fn a_schema_may_gain_an_optional_property_and_nothing_else() {
    let old = domain_event::schema();
    let changed = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        assert_ne!(new, old);
        only_gains(&old, &new)
    };
    assert!(changed(|new| new["properties"]["fee"] = json!({ "$ref": "#/$defs/Money" })));
    assert!(changed(|new| new["$defs"]["Money"]["properties"]["rounded"] = json!({ "type": "boolean" })));
    assert!(changed(|new| new["properties"]["paid_late"]["description"] = json!("In other words.")));
    assert!(!changed(|new| new["required"].as_array_mut().unwrap().push(json!("fee"))));
    assert!(!changed(|new| drop(new["required"].as_array_mut().unwrap().pop())));
    assert!(!changed(|new| drop(new["properties"].as_object_mut().unwrap().remove("paid_late"))));
    assert!(!changed(|new| new["properties"]["paid_late"]["type"] = json!("string")));
    assert!(!changed(|new| new["$defs"]["Money"]["additionalProperties"] = json!(false)));
}

/// The committed schemas, ready to be asked.
struct Committed {
    registry: Registry<'static>,
}

impl Committed {
    fn read() -> Self {
        let detail = committed().remove(DETAIL).unwrap();
        let registry = Registry::new().add("json-schema:///detail.json", detail).unwrap().prepare().unwrap();
        Self { registry }
    }

    fn of(&self, detail_type: &str) -> Validator {
        let schema = &committed()[&format!("{detail_type}.json")];
        let options = jsonschema::draft202012::options().with_registry(&self.registry);
        options.with_base_uri("json-schema:///type.json").should_validate_formats(true).build(schema).unwrap()
    }

    fn complaints(&self, detail_type: &str, detail: &Value) -> Vec<String> {
        self.of(detail_type).iter_errors(detail).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_that_is_published_keeps_the_schema_of_its_type() {
    let schemas = Committed::read();
    let bodies: Vec<_> = fixture::webhooks().into_iter().map(|(_, body)| body).collect();
    // All in one ledger as well: what comes second has a phase before.
    let together = told(&bodies).await.into_iter().map(|event| ("together".to_owned(), event));
    for (body, event) in published().await.into_iter().chain(together) {
        let complaints = schemas.complaints(&event.detail_type, &event.detail);
        assert!(complaints.is_empty(), "{} of {body}: {complaints:?}", event.detail_type);
    }
}

#[tokio::test(start_paused = true)]
async fn a_detail_that_is_not_as_promised_is_found_out() {
    let schemas = Committed::read();
    let detail = examples().await.remove("invoice.paid").unwrap();
    assert!(schemas.complaints("invoice.paid", &detail).is_empty());
    for (path, wrong) in [
        ("/schema_version", json!(SCHEMA_VERSION + 1)),
        ("/environment", json!("production")),
        ("/subject/kind", json!("payment")),
        ("/phase", json!("expired")),
        ("/paid/amount", json!(510_000)),
        ("/paid/amount", json!("5.1e5")),
        ("/paid/currency", json!("rupiah")),
        ("/received_at", json!("yesterday")),
        ("/version", json!("1")),
        ("/body", json!("{}")),
    ] {
        let mut detail = detail.clone();
        *detail.pointer_mut(path).unwrap() = wrong.clone();
        assert!(!schemas.complaints("invoice.paid", &detail).is_empty(), "{path} {wrong}");
    }
    for key in detail.as_object().unwrap().keys() {
        let mut detail = detail.clone();
        detail.as_object_mut().unwrap().remove(key);
        assert!(!schemas.complaints("invoice.paid", &detail).is_empty(), "without {key}");
    }
}
