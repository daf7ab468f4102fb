//! The names of a configuration's fields, without a value of it.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::Fault;

/// The keys that `C` knows, as serde calls them and with their aliases; none when it is no struct.
pub(crate) fn field_names<C: DeserializeOwned>() -> Vec<&'static str> {
    let mut names = Vec::new();
    // It always fails, once it has seen what it came for.
    let _ = C::deserialize(Capture { names: &mut names });
    names
}

/// A deserializer that gives nothing and notes what is asked of it.
struct Capture<'n> {
    names: &'n mut Vec<&'static str>,
}

impl Capture<'_> {
    fn refuse<T>(self) -> Result<T, Fault> {
        Err(Fault::silent())
    }
}

impl<'de> Deserializer<'de> for Capture<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        self.refuse()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        self.names.extend(fields);
        self.refuse()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
