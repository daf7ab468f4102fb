//! The names of a configuration's fields, without a value of it.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::Fault;

/// The keys that `C` knows, as serde calls them and with their aliases; `None` when it is no struct.
pub(super) fn fields<C: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    // It always fails, once it has seen what it came for.
    let _ = C::deserialize(Capture {
        fields: &mut fields,
    });
    fields
}

/// The same, and no keys when it is no struct.
pub(crate) fn field_names<C: DeserializeOwned>() -> &'static [&'static str] {
    fields::<C>().unwrap_or_default()
}

/// A deserializer that gives nothing and notes what is asked of it.
struct Capture<'n> {
    fields: &'n mut Option<&'static [&'static str]>,
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
        *self.fields = Some(fields);
        self.refuse()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
