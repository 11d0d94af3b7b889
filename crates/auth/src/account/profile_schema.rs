//! Additional profile attributes, defined by a JSON Schema in the configuration.

use std::collections::BTreeSet;
// Without the feature there is no schema.
#[cfg(not(feature = "profile-schema"))]
use std::convert::Infallible as Validator;
use std::sync::Arc;

#[cfg(feature = "profile-schema")]
use jsonschema::Validator;
use model::profile::{FieldError, RESERVED};
use serde_json::{Map, Value};

/// The attributes in addition to country, annual income and time zone. Without a schema there are none, and
/// unknown members of a request are ignored.
#[derive(Clone, Debug, Default)]
pub struct ProfileSchema(Option<Arc<Schema>>);

#[derive(Debug)]
struct Schema {
    validator: Validator,
    names: BTreeSet<String>,
}

const OWN: [&str; 3] = ["country", "annual_income", "timezone"];

impl ProfileSchema {
    /// Reads the attributes that `schema` (an object with `properties`) defines.
    ///
    /// # Errors
    /// A sentence about the error in the schema.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let names: BTreeSet<String> = properties.into_iter().flat_map(Map::keys).cloned().collect();
        if names.is_empty() {
            return Err("it names no properties".into());
        }
        if let Some(name) = names.iter().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(format!("{name} cannot be an attribute: accounts have this member already"));
        }
        let validator = validator(schema)?;
        Ok(Self(Some(Arc::new(Schema { validator, names }))))
    }

    /// Keeps only the members that are attributes.
    pub(crate) fn select(&self, members: &mut Map<String, Value>) {
        members.retain(|name, _| {
            OWN.contains(&name.as_str()) || self.0.as_ref().is_some_and(|schema| schema.names.contains(name))
        });
    }

    /// Validates the additional attributes of a whole profile.
    pub(crate) fn check(&self, extra: &Map<String, Value>) -> Result<(), FieldError> {
        let Some(schema) = &self.0 else { return Ok(()) };
        let instance = Value::Object(extra.clone());
        match mistake(&schema.validator, &instance) {
            None => Ok(()),
            Some(at) => {
                let place = if at.is_empty() { "attributes".to_owned() } else { at };
                Err(FieldError::value("attributes", format!("{place} does not fit the schema of attributes")))
            }
        }
    }
}

#[cfg(feature = "profile-schema")]
fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| error.to_string())
}

#[cfg(not(feature = "profile-schema"))]
fn validator(_: &Value) -> Result<Validator, String> {
    Err("this build reads no JSON Schema: it was made without the feature `profile-schema`".into())
}

/// The place of the first mistake.
#[cfg(feature = "profile-schema")]
fn mistake(validator: &Validator, instance: &Value) -> Option<String> {
    Some(validator.iter_errors(instance).next()?.instance_path().to_string())
}

#[cfg(not(feature = "profile-schema"))]
fn mistake(validator: &Validator, _: &Value) -> Option<String> {
    match *validator {}
}

#[cfg(all(test, not(feature = "profile-schema")))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_the_feature_every_schema_is_refused() {
        let refused = ProfileSchema::new(&json!({"properties": {"plan": {}}})).unwrap_err();
        assert!(refused.contains("profile-schema"), "{refused}");
    }
}

#[cfg(all(test, feature = "profile-schema"))]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_selects_and_checks() {
        let schema = json!({"type": "object", "properties": {"plan": {"enum": ["free", "pro"]}}});
        let attributes = ProfileSchema::new(&schema).unwrap();
        let mut members = json!({"plan": "pro", "other": 1, "country": "US"}).as_object().unwrap().clone();
        attributes.select(&mut members);
        assert_eq!(members.keys().collect::<Vec<_>>(), ["country", "plan"]);
        assert!(attributes.check(json!({"plan": "pro"}).as_object().unwrap()).is_ok());
        let error = attributes.check(json!({"plan": "gold"}).as_object().unwrap()).unwrap_err();
        assert!(error.message.contains("/plan"), "{error}");
    }

    #[test]
    fn a_schema_without_properties_is_refused() {
        assert!(ProfileSchema::new(&json!({"type": "object"})).is_err());
        assert!(ProfileSchema::new(&json!({"properties": {"role": {}}})).is_err());
        assert!(ProfileSchema::new(&json!({"properties": {"a": {"type": 5}}})).is_err());
    }
}
