//! Which metadata a job asks for.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use statline_platform::Fields;

/// A set of metadata fields in a configuration: a list of names, or one of the words `basic` and `all`.
///
/// The kind of an entry is always among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFields(Fields);

impl StatFields {
    /// These fields, and the kind.
    pub fn new(fields: Fields) -> StatFields {
        StatFields(fields | Fields::KIND)
    }

    /// As the set that backends take.
    pub fn to_fields(self) -> Fields {
        self.0
    }
}

impl Default for StatFields {
    /// What `stat(2)` gives on every Unix.
    fn default() -> StatFields {
        StatFields::new(Fields::BASIC)
    }
}

impl Serialize for StatFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fields::BASIC => serializer.collect_seq(["basic"]),
            Fields::ALL => serializer.collect_seq(["all"]),
            fields => serializer.collect_seq(fields.names()),
        }
    }
}

impl<'de> Deserialize<'de> for StatFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StatFields, D::Error> {
        let names = Vec::<FieldName>::deserialize(deserializer)?;
        Ok(StatFields::new(
            names
                .into_iter()
                .fold(Fields::empty(), |set, name| set | name.0),
        ))
    }
}

/// One name in the list, so that an unknown one is reported at its own place.
struct FieldName(Fields);

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldName, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let fields = match &*name {
            "basic" => Some(Fields::BASIC),
            "all" => Some(Fields::ALL),
            // A field of records, and yet fetched by a call of its own.
            "target" => {
                return Err(de::Error::custom(
                    "targets are no metadata; to read them, set targets = true",
                ));
            }
            name => Fields::from_field_name(name),
        };
        fields
            .map(FieldName)
            .ok_or_else(|| de::Error::unknown_variant(&name, &KNOWN))
    }
}

/// What the list may hold.
static KNOWN: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let words = ["basic", "all"].into_iter();
    words.chain(Fields::ALL.names()).collect()
});

impl JsonSchema for StatFields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatFields".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "items": { "type": "string", "enum": *KNOWN } })
    }
}
