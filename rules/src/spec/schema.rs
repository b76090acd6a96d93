//! JSON Schemas (draft 7) of rule files, by which editors complete and check them: written from the shapes that the parser
//! reads by. A schema sees less than the parser: not what several sections mean for each other.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::shape::{Bond, If, Key, Kind, NAME, Names, Section};
use super::{capability, flags};

/// The schema of a capability's file.
pub fn of_rules() -> String {
    schema("Ficus: the rules of a capability", "rules/NAME.toml, see docs/rules.md", &capability::FILE)
}

/// The schema of `flags.toml`.
pub fn of_flags() -> String {
    schema("Ficus: feature flags", "rules/flags.toml, see docs/rules.md", &flags::FILE)
}

fn schema(title: &'static str, description: &'static str, file: &Section) -> String {
    let mut definitions = BTreeMap::new();
    let mut whole: Object = vec![
        ("$schema", Node::from("http://json-schema.org/draft-07/schema#")),
        ("title", title.into()),
        ("description", description.into()),
    ];
    whole.extend(section(file, &mut definitions));
    whole.push(("definitions", Node::Object(definitions.into_iter().collect())));
    let mut text = serde_json::to_string_pretty(&Node::Object(whole)).expect("names and values are JSON");
    text.push('\n');
    text
}

/// What schemas have in several places, by name.
type Definitions = BTreeMap<&'static str, Node>;

/// Keys in the order in which they are told, as [`Value`] would not keep them.
type Object = Vec<(&'static str, Node)>;

enum Node {
    Value(Value),
    List(Vec<Node>),
    Object(Object),
}

impl<T: Into<Value>> From<T> for Node {
    fn from(value: T) -> Node {
        Node::Value(value.into())
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Value(value) => value.serialize(serializer),
            Node::List(nodes) => nodes.serialize(serializer),
            Node::Object(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (name, node) in pairs {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
        }
    }
}

fn section(section: &Section, definitions: &mut Definitions) -> Object {
    let mut object: Object = vec![("type", "object".into())];
    match &section.named {
        Some((names, kind)) => {
            match names {
                Names::Any => {}
                Names::Like(pattern) => object.push(("propertyNames", json!({ "pattern": pattern }).into())),
                Names::Not(names) => object.push(("propertyNames", json!({ "not": { "enum": names } }).into())),
            }
            let mut one = takes(kind, definitions);
            one.extend(kind.section().filter(|inner| !inner.about.is_empty()).map(|inner| ("description", inner.about.into())));
            object.push(("additionalProperties", Node::Object(one)));
        }
        None => object.push(("additionalProperties", false.into())),
    }
    if section.least > 0 {
        object.push(("minProperties", section.least.into()));
    }
    if !section.keys.is_empty() {
        object.push(("properties", Node::Object(section.keys.iter().map(|one| (one.name, key(one, definitions))).collect())));
    }
    let required: Vec<&str> = section.keys.iter().filter(|key| key.must).map(|key| key.name).collect();
    if !required.is_empty() {
        object.push(("required", required.into()));
    }
    if !section.bonds.is_empty() {
        object.push(("allOf", section.bonds.iter().flat_map(bond).collect::<Vec<Value>>().into()));
    }
    object
}

fn key(key: &Key, definitions: &mut Definitions) -> Node {
    let mut object = takes(&key.kind, definitions);
    if object.iter().any(|(name, _)| *name == "$ref") {
        // Beside a reference nothing else is looked at.
        object = vec![("allOf", Node::List(vec![Node::Object(object)]))];
    }
    if key.must && matches!(key.kind, Kind::Tables(_)) {
        object.push(("minItems", 1.into()));
    }
    object.push(("description", key.about.into()));
    object.extend(key.default.map(|default| ("default", default.json().into())));
    Node::Object(object)
}

fn takes(kind: &Kind, definitions: &mut Definitions) -> Object {
    let plain = |name: &str| vec![("type", name.into())];
    match *kind {
        Kind::Boolean => plain("boolean"),
        Kind::True => vec![("const", true.into())],
        Kind::Off => vec![("const", false.into()), ("description", "Turns the file's off.".into())],
        Kind::Natural(least, most) => {
            let most = most.map(|most| ("maximum", most.into()));
            vec![("type", "integer".into()), ("minimum", least.into())].into_iter().chain(most).collect()
        }
        Kind::Number => plain("number"),
        Kind::Positive => vec![("type", "number".into()), ("exclusiveMinimum", 0.into())],
        Kind::Text => plain("string"),
        Kind::Filled => vec![("type", "string".into()), ("minLength", 1.into())],
        Kind::Like(pattern) => like(pattern),
        Kind::Word(words) => vec![("enum", words.into())],
        Kind::Status(numbers) => vec![("enum", numbers.into())],
        Kind::Strings(one) => one_or_list(one, Vec::new(), definitions),
        Kind::Several(one) => one_or_list(one, vec![("minItems", 1.into())], definitions),
        Kind::Set(one) => one_or_list(one, vec![("minItems", 1.into()), ("uniqueItems", true.into())], definitions),
        Kind::List(one) => {
            vec![("type", "array".into()), ("minItems", 1.into()), ("items", Node::Object(takes(one, definitions)))]
        }
        Kind::User => vec![("type", json!(["string", "integer"]).into())],
        Kind::Value => vec![("type", json!(["string", "integer", "number", "boolean"]).into())],
        Kind::Anything => Vec::new(),
        Kind::Table(inner) => match inner.shared {
            Some(name) => defined(name, definitions, |definitions| section(inner, definitions)),
            None => section(inner, definitions),
        },
        Kind::Tables(inner) => vec![("type", "array".into()), ("items", Node::Object(section(inner, definitions)))],
        Kind::Either(kinds) => {
            let kinds = kinds.iter().map(|kind| Node::Object(takes(kind, definitions)));
            vec![("oneOf", Node::List(kinds.collect()))]
        }
        Kind::Share | Kind::Duration | Kind::Size | Kind::Name | Kind::Identifier | Kind::Windows | Kind::Users => {
            well_known(kind, definitions)
        }
    }
}

/// Kinds that have a name of their own, in schemas as in the reference.
fn well_known(kind: &Kind, definitions: &mut Definitions) -> Object {
    const SHARE: &str = r"^\s*(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)\s*%\s*$";
    const WINDOW: &str = r"^\s*[a-z,-]+\s+[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}\s+[A-Za-z0-9_+/-]+\s*$";
    let (name, about) = match kind {
        Kind::Share => ("share", "A percentage with at most four decimals: \"5%\", \"0.5%\"."),
        Kind::Duration => ("duration", "A whole number and a unit: 500ms, 30s, 15m, 1h, 7d."),
        Kind::Size => ("size", "A whole number and a unit: 64KiB, 10MiB, 1GiB."),
        Kind::Windows => ("windows", "Days, hours and a zone; one, or a list."),
        Kind::Name => ("name", "Lower-case letters, digits, `-` and `_`, beginning with a letter."),
        Kind::Identifier => ("identifier", "Letters, digits and `_`."),
        _ => ("users", "Ids of users, as strings or integers."),
    };
    defined(name, definitions, |definitions| {
        let mut object = match kind {
            Kind::Share => like(SHARE),
            Kind::Duration => like("^[0-9]+(ms|s|m|h|d)$"),
            Kind::Size => like("^[0-9]+(B|KiB|MiB|GiB)$"),
            Kind::Windows => one_or_list(&Kind::Like(WINDOW), Vec::new(), definitions),
            Kind::Name => like(NAME),
            Kind::Identifier => like("^[A-Za-z0-9_]{1,63}$"),
            _ => vec![("type", "array".into()), ("items", Node::Object(takes(&Kind::User, definitions)))],
        };
        object.push(("description", about.into()));
        object
    })
}

fn like(pattern: &str) -> Object {
    vec![("type", "string".into()), ("pattern", pattern.into())]
}

fn one_or_list(one: &Kind, more: Object, definitions: &mut Definitions) -> Object {
    let mut list: Object = vec![("type", "array".into()), ("items", Node::Object(takes(one, definitions)))];
    list.extend(more);
    vec![("oneOf", Node::List(vec![Node::Object(takes(one, definitions)), Node::Object(list)]))]
}

fn defined(name: &'static str, definitions: &mut Definitions, make: impl FnOnce(&mut Definitions) -> Object) -> Object {
    if !definitions.contains_key(name) {
        let made = make(definitions);
        definitions.insert(name, Node::Object(made));
    }
    vec![("$ref", format!("#/definitions/{name}").into())]
}

/// What holds between keys, as schemas that all hold.
fn bond(bond: &Bond) -> Vec<Value> {
    let given = |keys: &[&'static str]| -> Vec<Value> { keys.iter().map(|key| holds(If::Given(key))).collect() };
    match *bond {
        Bond::One(keys) => vec![json!({ "oneOf": given(keys) })],
        Bond::Any(keys) => vec![json!({ "anyOf": given(keys) })],
        Bond::Apart(keys) => {
            let pairs = keys.iter().enumerate().flat_map(|(at, one)| keys[at + 1..].iter().map(move |other| [*one, *other]));
            pairs.map(|pair| json!({ "not": { "required": pair } })).collect()
        }
        Bond::Needs(one, others) => {
            let others: Vec<Value> = others.iter().map(|other| holds(*other)).collect();
            vec![json!({ "if": holds(one), "then": { "anyOf": others } })]
        }
        Bond::Never(one, other) => vec![json!({ "not": { "allOf": [holds(one), holds(other)] } })],
        Bond::Json(text) => vec![serde_json::from_str(text).expect("what is declared as JSON is")],
    }
}

fn holds(condition: If) -> Value {
    match condition {
        If::Given(key) => json!({ "required": [key] }),
        If::Is(key, value) => json!({ "required": [key], "properties": { key: { "const": value.json() } } }),
    }
}
