//! serde's way into the tree.
//!
//! The parser brings a deserializer of its own. This one differs where messages need it: its errors
//! keep their parts and know the way to their value, the keys that no field wants are collected,
//! values that were reported are passed over, and a string that a variable went into may be a
//! number.
//!
//! What must stay true: every error leaves with the steps to the innermost value that it is about.

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::{Fault, FaultKind, Trail};
use super::stand_in::StandIn;
use super::{Session, UnknownKey};
use crate::config::tree::{Entry, Node, Table, Value};

#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'s> {
    node: &'s Node,
    trail: Trail<'s>,
    session: &'s Session,
}

impl<'s> NodeDeserializer<'s> {
    pub(super) fn new(node: &'s Node, trail: Trail<'s>, session: &'s Session) -> Self {
        Self {
            node,
            trail,
            session,
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(value) => visit_integer(*value, visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Datetime(text) => visitor.visit_str(text),
            Value::Array(array) => self.visit_array(array, visitor),
            Value::Table(table) => self.visit_table(table, None, visitor),
            Value::Broken => Err(Fault::silent()),
        }
        .map_err(|fault| fault.at(self.trail))
    }

    fn visit_array<'de, V: Visitor<'de>>(
        self,
        array: &'s [Node],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut elements = Elements {
            parent: self,
            array: array.iter().enumerate(),
            remaining: array.len(),
        };
        let value = visitor.visit_seq(&mut elements)?;
        // A tuple takes as many as it wants.
        match elements.array.next() {
            Some(_) => Err(Fault::new(FaultKind::Expected(format!(
                "an array of length {}",
                array.len() - elements.remaining
            )))),
            None => Ok(value),
        }
    }

    fn visit_table<'de, V: Visitor<'de>>(
        self,
        table: &'s Table,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let steps = self.trail.steps();
        let is_unknown =
            |entry: &Entry| fields.is_some_and(|fields| !fields.contains(&&*entry.key));
        let mut entries = Vec::new();
        for entry in table.iter() {
            if is_unknown(entry) {
                let key = entry.key.clone();
                let unknown = UnknownKey {
                    table: steps.clone(),
                    key,
                    fields: fields.unwrap_or_default(),
                };
                self.session.unknown.borrow_mut().push(unknown);
            } else if !self.is_left_out(Trail::Key(&self.trail, &entry.key)) {
                entries.push(entry);
            }
        }
        let made_up: Vec<_> = self
            .session
            .filled
            .iter()
            .filter(|(table, _)| *table == steps)
            .map(|(_, field)| *field)
            .collect();
        visitor.visit_map(Entries {
            parent: self,
            entries: entries.into_iter(),
            next: None,
            made_up: made_up.into_iter(),
        })
    }

    fn is_left_out(&self, trail: Trail<'_>) -> bool {
        !self.session.left_out.is_empty() && self.session.left_out.contains(&trail.steps())
    }

    /// The number or truth value in a string that a variable went into. Variables are text, and
    /// `threads = "${THREADS:-4}"` is the only way to write one where a number is wanted.
    fn variable_as<T: std::str::FromStr>(self) -> Option<T> {
        match &self.node.value {
            Value::String(text) if self.node.substituted => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn visit_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable_as() {
            Some(value) => visit_integer(value, visitor).map_err(|fault| fault.at(self.trail)),
            None => self.visit(visitor),
        }
    }
}

/// Hands over the smallest type that holds the number, as the visitors of the standard integers
/// like it.
fn visit_integer<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, Fault> {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => visitor.visit_i64(value),
        (_, Ok(value)) => visitor.visit_u64(value),
        _ => visitor.visit_i128(value),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.visit_number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable_as() {
            Some(value) => visitor
                .visit_f64(value)
                .map_err(|fault: Fault| fault.at(self.trail)),
            None => self.visit(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.variable_as() {
            Some(value) => visitor
                .visit_bool(value)
                .map_err(|fault: Fault| fault.at(self.trail)),
            None => self.visit(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor
            .visit_some(self)
            .map_err(|fault| fault.at(self.trail))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|fault| fault.at(self.trail))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(table) => self.visit_table(table, Some(fields), visitor),
            // serde would take an array for a struct; a user who wrote one meant something else.
            Value::Array(_) => Err(Fault::new(FaultKind::Expected("a table".to_owned()))),
            _ => self.visit(visitor),
        }
        .map_err(|fault| fault.at(self.trail))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let wrong = || Fault::new(FaultKind::NoSuchVariant(variants)).at(self.trail);
        match &self.node.value {
            Value::Broken => Err(Fault::silent()),
            Value::String(name) => visitor.visit_enum(Variant {
                parent: self,
                name,
                content: None,
            }),
            Value::Table(table) if table.len() == 1 => {
                let entry = table.iter().next().ok_or_else(wrong)?;
                let trail = Trail::Key(&self.trail, &entry.key);
                match self.is_left_out(trail) {
                    true => Err(wrong()),
                    false => visitor.visit_enum(Variant {
                        parent: self,
                        name: &entry.key,
                        content: Some(&entry.node),
                    }),
                }
            }
            _ => Err(wrong()),
        }
        .map_err(|fault| fault.at(self.trail))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The elements of an array.
struct Elements<'s> {
    parent: NodeDeserializer<'s>,
    array: std::iter::Enumerate<std::slice::Iter<'s, Node>>,
    remaining: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        for (index, node) in self.array.by_ref() {
            self.remaining -= 1;
            let trail = Trail::Index(&self.parent.trail, index);
            if !self.parent.is_left_out(trail) {
                let element = NodeDeserializer::new(node, trail, self.parent.session);
                return seed
                    .deserialize(element)
                    .map(Some)
                    .map_err(|fault| fault.at(trail));
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.remaining)
    }
}

/// The entries of a table, those to be read first and those made up after them.
struct Entries<'s> {
    parent: NodeDeserializer<'s>,
    entries: std::vec::IntoIter<&'s Entry>,
    next: Option<&'s Entry>,
    made_up: std::vec::IntoIter<&'static str>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.next = self.entries.next();
        let (key, trail) = match self.next {
            Some(entry) => (
                entry.key.as_str(),
                Trail::Key(&self.parent.trail, &entry.key),
            ),
            None => match self.made_up.next() {
                Some(field) => (field, self.parent.trail),
                None => return Ok(None),
            },
        };
        let key: StringDeserializer<Fault> = key.to_owned().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|fault| fault.at(trail))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let parent = self.parent;
        match self.next.take() {
            Some(entry) => {
                let trail = Trail::Key(&parent.trail, &entry.key);
                let value = NodeDeserializer::new(&entry.node, trail, parent.session);
                seed.deserialize(value).map_err(|fault| fault.at(trail))
            }
            // Whatever a stand-in lacks is nothing that a user could add.
            None => seed
                .deserialize(StandIn::default())
                .map_err(|_| Fault::silent().at(parent.trail)),
        }
    }
}

/// A variant by its name alone, `"gzip"`, or with content, `{ zstd = { level = 3 } }`.
struct Variant<'s> {
    parent: NodeDeserializer<'s>,
    name: &'s str,
    content: Option<&'s Node>,
}

impl Variant<'_> {
    fn with_content<T>(
        self,
        read: impl FnOnce(NodeDeserializer<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Some(node) = self.content else {
            let message = format!("{:?} needs more: write {{ {} = … }}", self.name, self.name);
            return Err(Fault::new(FaultKind::Custom(message)));
        };
        let trail = Trail::Key(&self.parent.trail, self.name);
        let content = NodeDeserializer::new(node, trail, self.parent.session);
        read(content).map_err(|fault| fault.at(trail))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(_) => {
                let message = format!("{:?} takes no options, write it as a string", self.name);
                Err(Fault::new(FaultKind::Custom(message)))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.with_content(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.with_content(|content| content.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.with_content(|content| content.deserialize_struct("", fields, visitor))
    }
}
