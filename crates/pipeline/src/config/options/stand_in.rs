//! A made-up value for a required key that is missing or wrong.
//!
//! serde tells of one missing field and stops. With something in its place it goes on to the next,
//! so that a user learns of all of them at once. What is read this way is thrown away.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::fault::Fault;
use crate::quantity::{ByteSize, Period};

/// Types that need more than this to be made up are those that hold themselves.
const DEEPEST: usize = 8;

/// The plainest value of whatever type is asked for.
#[derive(Clone, Copy, Default)]
pub(super) struct StandIn {
    depth: usize,
}

impl StandIn {
    fn inside(self) -> Result<Self, Fault> {
        if self.depth >= DEEPEST {
            return Err(Fault::silent());
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

macro_rules! visit {
    ($($method:ident $visit:ident($value:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for StandIn {
    type Error = Fault;

    visit! {
        deserialize_any visit_str("");
        deserialize_bool visit_bool(false);
        deserialize_i8 visit_i64(1);
        deserialize_i16 visit_i64(1);
        deserialize_i32 visit_i64(1);
        deserialize_i64 visit_i64(1);
        deserialize_i128 visit_i64(1);
        deserialize_u8 visit_i64(1);
        deserialize_u16 visit_i64(1);
        deserialize_u32 visit_i64(1);
        deserialize_u64 visit_i64(1);
        deserialize_u128 visit_i64(1);
        deserialize_f32 visit_f64(1.0);
        deserialize_f64 visit_f64(1.0);
        deserialize_char visit_char('a');
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match name {
            ByteSize::NAME => visitor.visit_str("1B"),
            Period::NAME => visitor.visit_str("1s"),
            _ => visitor.visit_newtype_struct(self.inside()?),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Values {
            value: self.inside()?,
            remaining: 0,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_seq(Values {
            value: self.inside()?,
            remaining: length,
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Fields {
            value: self.inside()?,
            fields: [].iter(),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(Fields {
            value: self.inside()?,
            fields: fields.iter(),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let name = variants.first().copied().unwrap_or_default();
        visitor.visit_enum(First {
            name,
            value: self.inside()?,
        })
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

struct Values {
    value: StandIn,
    remaining: usize,
}

impl<'de> serde::de::SeqAccess<'de> for Values {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        match self.remaining.checked_sub(1) {
            Some(remaining) => {
                self.remaining = remaining;
                seed.deserialize(self.value).map(Some)
            }
            None => Ok(None),
        }
    }
}

struct Fields {
    value: StandIn,
    fields: std::slice::Iter<'static, &'static str>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Fault> = (*field).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(self.value)
    }
}

/// The first variant of an enum.
struct First {
    name: &'static str,
    value: StandIn,
}

impl<'de> EnumAccess<'de> for First {
    type Error = Fault;
    type Variant = StandIn;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, StandIn), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.value))
    }
}

impl<'de> VariantAccess<'de> for StandIn {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_struct("", fields, visitor)
    }
}
