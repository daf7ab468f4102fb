//! Metadata as few bytes: what sorted runs and stores on disk hold.
//!
//! A number takes seven bits a byte, and a field that is the same as in another entry takes none: neighbours share
//! device, owner, mode and often times. One thing must stay true: bytes are never trusted. Whatever is read, reading ends
//! in metadata or in `None`, never in a panic.

use statline_platform::{FileId, Kind, Metadata, Timestamp};

/// Appends a number, seven bits a byte, the lowest first (LEB128).
#[inline]
pub(crate) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front; `None` if there is none, or one that does not fit.
#[inline]
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        number |= low << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Appends bytes behind their length.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes bytes off the front that have their length before them.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Makes small numbers of those near zero, on either side, for [`push_varint`].
pub(crate) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// The number that [`zigzag`] made another of.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// How a value becomes bytes.
trait Packed: Copy + PartialEq {
    fn push(self, out: &mut Vec<u8>);
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

impl Packed for u64 {
    #[inline]
    fn push(self, out: &mut Vec<u8>) {
        push_varint(out, self);
    }

    #[inline]
    fn take(bytes: &mut &[u8]) -> Option<u64> {
        take_varint(bytes)
    }
}

impl Packed for u32 {
    #[inline]
    fn push(self, out: &mut Vec<u8>) {
        push_varint(out, self.into());
    }

    #[inline]
    fn take(bytes: &mut &[u8]) -> Option<u32> {
        u32::try_from(take_varint(bytes)?).ok()
    }
}

impl Packed for Kind {
    fn push(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }

    fn take(bytes: &mut &[u8]) -> Option<Kind> {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        Kind::ALL.get(usize::from(byte)).copied()
    }
}

impl Packed for FileId {
    #[inline]
    fn push(self, out: &mut Vec<u8>) {
        push_varint(out, self.low());
        push_varint(out, (self.as_u128() >> 64) as u64);
    }

    #[inline]
    fn take(bytes: &mut &[u8]) -> Option<FileId> {
        let low = take_varint(bytes)?;
        let high = take_varint(bytes)?;
        Some(FileId::from(u128::from(high) << 64 | u128::from(low)))
    }
}

impl Packed for Timestamp {
    #[inline]
    fn push(self, out: &mut Vec<u8>) {
        push_varint(out, zigzag(self.seconds));
        push_varint(out, self.nanoseconds.into());
    }

    #[inline]
    fn take(bytes: &mut &[u8]) -> Option<Timestamp> {
        let seconds = unzigzag(take_varint(bytes)?);
        let nanoseconds = u32::take(bytes)?;
        (nanoseconds < 1_000_000_000).then_some(Timestamp {
            seconds,
            nanoseconds,
        })
    }
}

/// Appends a point in time.
pub(crate) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    time.push(out);
}

/// Takes a point in time off the front.
pub(crate) fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    Timestamp::take(bytes)
}

/// Goes through the fields of metadata in the order of their bits.
macro_rules! each_field {
    ($apply:ident) => {
        $apply! {
            0 kind set_kind; 1 mode set_mode; 2 nlink set_nlink; 3 uid set_uid; 4 gid set_gid;
            5 accessed set_accessed; 6 modified set_modified; 7 changed set_changed;
            8 file_id set_file_id; 9 size set_size; 10 allocated set_allocated; 11 born set_born;
            12 mount_id set_mount_id; 13 device set_device; 14 rdev set_rdev;
            15 attributes set_attributes;
        }
    };
}

/// Bits of [`each_field`].
const BITS: u32 = 16;

/// Appends metadata. A field that `base` has as well takes no bytes; reading takes the same `base`.
pub(crate) fn push_metadata(base: &Metadata, metadata: &Metadata, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut filled = 0_u16;
    let mut written = 0_u16;
    macro_rules! push {
        ($($bit:literal $get:ident $set:ident;)*) => { $(
            if let Some(value) = metadata.$get() {
                filled |= 1 << $bit;
                if base.$get() != Some(value) {
                    written |= 1 << $bit;
                    value.push(out);
                }
            }
        )* };
    }
    each_field!(push);
    const { assert!(BITS <= u16::BITS) };
    out[start..start + 2].copy_from_slice(&filled.to_le_bytes());
    out[start + 2..start + 4].copy_from_slice(&written.to_le_bytes());
}

/// Takes metadata off the front that [`push_metadata`] wrote with this `base`; `None` if it cannot be that.
pub(crate) fn take_metadata(base: &Metadata, bytes: &mut &[u8]) -> Option<Metadata> {
    let (header, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    let [a, b, c, d] = *header;
    let (filled, written) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    if written & !filled != 0 {
        return None;
    }
    let mut metadata = Metadata::default();
    macro_rules! take {
        ($($bit:literal $get:ident $set:ident;)*) => { $(
            if written & 1 << $bit != 0 {
                metadata.$set(Packed::take(bytes)?);
            } else if filled & 1 << $bit != 0 {
                metadata.$set(base.$get()?);
            }
        )* };
    }
    each_field!(take);
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statline_platform::Fields;

    use super::*;

    fn timestamp() -> impl Strategy<Value = Timestamp> {
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanoseconds)| Timestamp {
            seconds,
            nanoseconds,
        })
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        let some = |values| prop::collection::vec(prop::option::of(values), 7);
        (
            prop::option::of(prop::sample::select(&Kind::ALL[..])),
            some(any::<u64>().boxed()),
            prop::collection::vec(prop::option::of(any::<u32>()), 3),
            prop::collection::vec(prop::option::of(timestamp()), 4),
            prop::option::of(any::<u128>()),
        )
            .prop_map(|(kind, wide, narrow, times, id)| {
                let mut metadata = Metadata::default();
                kind.map(|kind| metadata.set_kind(kind));
                narrow[0].map(|mode| metadata.set_mode(mode));
                narrow[1].map(|uid| metadata.set_uid(uid));
                narrow[2].map(|gid| metadata.set_gid(gid));
                wide[0].map(|size| metadata.set_size(size));
                wide[1].map(|allocated| metadata.set_allocated(allocated));
                wide[2].map(|nlink| metadata.set_nlink(nlink));
                wide[3].map(|device| metadata.set_device(device));
                wide[4].map(|rdev| metadata.set_rdev(rdev));
                wide[5].map(|attributes| metadata.set_attributes(attributes));
                wide[6].map(|mount| metadata.set_mount_id(mount));
                times[0].map(|time| metadata.set_accessed(time));
                times[1].map(|time| metadata.set_modified(time));
                times[2].map(|time| metadata.set_changed(time));
                times[3].map(|time| metadata.set_born(time));
                id.map(|id| metadata.set_file_id(id.into()));
                metadata
            })
    }

    #[test]
    fn every_field_has_its_bit() {
        assert_eq!(Fields::ALL.bits().count_ones(), BITS);
    }

    #[test]
    fn what_neighbours_share_takes_no_bytes() {
        let mut metadata = Metadata::with_kind(Kind::File);
        metadata.set_device(1 << 40).set_uid(1000).set_size(7);
        let mut packed = Vec::new();
        push_metadata(&metadata, &metadata, &mut packed);
        assert_eq!(packed.len(), 4);
    }

    proptest! {
        #[test]
        fn metadata_is_read_as_it_was_written(
            all in prop::collection::vec(metadata(), 1..4), rest in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut packed = Vec::new();
            let mut base = Metadata::default();
            for metadata in &all {
                push_metadata(&base, metadata, &mut packed);
                base = metadata.clone();
            }
            packed.extend_from_slice(&rest);
            let mut bytes = &packed[..];
            let mut base = Metadata::default();
            for metadata in all {
                base = take_metadata(&base, &mut bytes).unwrap();
                prop_assert_eq!(&base, &metadata);
            }
            prop_assert_eq!(bytes, rest);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            base in metadata(), bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut rest = &bytes[..];
            let _ = take_metadata(&base, &mut rest);
            let mut rest = &bytes[..];
            let _ = take_bytes(&mut rest);
        }

        #[test]
        fn numbers_are_read_as_they_were_written(number in any::<u64>(), signed in any::<i64>()) {
            let mut packed = Vec::new();
            push_varint(&mut packed, number);
            push_bytes(&mut packed, &number.to_le_bytes());
            let mut bytes = &packed[..];
            prop_assert_eq!(take_varint(&mut bytes), Some(number));
            prop_assert_eq!(take_bytes(&mut bytes), Some(&number.to_le_bytes()[..]));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }
}
