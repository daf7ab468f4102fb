//! Names: UTF-16 that need not be well-formed on the side of Windows, WTF-8 on ours.
//!
//! WTF-8 is UTF-8 in which a surrogate that stands alone is written like any other code point of three bytes. One thing
//! must stay true: no name is lost or changed on the way there and back, so a pair of surrogates is never written as two.
//! Source: S. Sapin, The WTF-8 encoding, <https://simonsapin.github.io/wtf-8/>.

/// Appends the name in `utf16`, which holds its units with the lower byte first. A byte left over is ignored.
pub(super) fn encode(utf16: &[u8], out: &mut Vec<u8>) {
    let units = utf16.chunks_exact(2);
    let units = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    for decoded in char::decode_utf16(units) {
        match decoded {
            Ok(character) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Err(lone) => {
                let surrogate = lone.unpaired_surrogate();
                out.extend_from_slice(&[
                    0xE0 | (surrogate >> 12) as u8,
                    0x80 | (surrogate >> 6 & 0x3F) as u8,
                    0x80 | (surrogate & 0x3F) as u8,
                ]);
            }
        }
    }
}

/// The units of a name; `None` if its bytes are no WTF-8.
#[cfg(any(windows, test))]
pub(crate) fn decode(name: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(name.len());
    let mut rest = name;
    loop {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, &[][..]),
            Err(error) => {
                let (valid, invalid) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).ok()?, invalid)
            }
        };
        units.extend(valid.encode_utf16());
        let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, after @ ..] = invalid else {
            return invalid.is_empty().then_some(units);
        };
        let surrogate = 0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F);
        // Two that make a pair are one character, which WTF-8 writes in four bytes.
        let completes_pair = valid.is_empty()
            && (0xDC00..0xE000).contains(&surrogate)
            && (units.last()).is_some_and(|last| (0xD800..0xDC00).contains(last));
        if completes_pair {
            return None;
        }
        units.push(surrogate);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(units: &[u16]) -> Vec<u8> {
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let mut out = Vec::new();
        encode(&bytes, &mut out);
        out
    }

    #[test]
    fn lone_surrogates_keep_their_value_and_pairs_become_one_character() {
        assert_eq!(encoded(&[0x61, 0xD83D, 0xDE00]), "a\u{1F600}".as_bytes());
        assert_eq!(encoded(&[0xD83D, 0x61]), b"\xED\xA0\xBDa");
        assert_eq!(encoded(&[0xDE00, 0xD83D]), b"\xED\xB8\x80\xED\xA0\xBD");
    }

    #[test]
    fn bytes_that_no_name_has_are_refused() {
        for bytes in [
            &b"\xFF"[..],
            b"\xC0\x80",
            b"a\xED\xA0",
            // A pair, written as two.
            b"\xED\xA0\xBD\xED\xB8\x80",
        ] {
            assert_eq!(decode(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[cfg(windows)]
    #[test]
    fn it_is_what_the_standard_library_makes_of_a_name() {
        use std::os::windows::ffi::OsStringExt;
        let units = [0x61, 0xD800, 0xD83D, 0xDE00, 0xDFFF, 0xE9, 0x20AC];
        let std = std::ffi::OsString::from_wide(&units);
        assert_eq!(std.as_encoded_bytes(), encoded(&units));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(
            units in prop::collection::vec(prop_oneof![any::<u16>(), 0xD7F0u16..0xE010], 0..40),
        ) {
            prop_assert_eq!(decode(&encoded(&units)), Some(units));
        }

        #[test]
        fn what_is_accepted_is_written_in_one_way_only(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0xED), 0xA0u8..0xC0, 0x80u8..0xA0], 0..12,
            ),
        ) {
            if let Some(units) = decode(&bytes) {
                prop_assert_eq!(encoded(&units), bytes);
            }
        }
    }
}
