//! Where a symbolic link or a junction leads, from the bytes that `FSCTL_GET_REPARSE_POINT` gives.
//!
//! Bytes in, bytes out, for tests everywhere. Source: [MS-FSCC] 2.1.2.

use super::wtf8;

const SYMLINK: u32 = 0xA000_000C;
const MOUNT_POINT: u32 = 0xA000_0003;

/// How the object manager begins a path of Win32.
const NT_PREFIX: &[u8] = br"\??\";

/// Appends where a reparse point leads: as it was written for people, where it was. Says whether it leads anywhere.
pub(super) fn target(data: &[u8], out: &mut Vec<u8>) -> bool {
    let found = (|| {
        let short = |at: usize| Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?));
        let tag = u32::from_le_bytes(data.get(0..4)?.try_into().ok()?);
        let names = match tag {
            // Flags come before the names.
            SYMLINK => 20,
            MOUNT_POINT => 16,
            _ => return None,
        };
        let name = |at: usize| {
            let (offset, length) = (usize::from(short(at)?), usize::from(short(at + 2)?));
            data.get(names + offset..names + offset + length)
        };
        let (substitute, print) = (name(8)?, name(12)?);
        Some(match print.is_empty() {
            true => (substitute, true),
            false => (print, false),
        })
    })();
    let Some((name, is_native)) = found else {
        return false;
    };
    let start = out.len();
    wtf8::encode(name, out);
    if is_native && out[start..].starts_with(NT_PREFIX) {
        out.drain(start..start + NT_PREFIX.len());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(tag: u32, substitute: &str, print: &str) -> Vec<u8> {
        let bytes =
            |name: &str| -> Vec<u8> { name.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let (substitute, print) = (bytes(substitute), bytes(print));
        let mut data = tag.to_le_bytes().to_vec();
        // The length of what follows, and a hole.
        data.extend([0xAB; 4]);
        data.extend(0u16.to_le_bytes());
        data.extend((substitute.len() as u16).to_le_bytes());
        data.extend((substitute.len() as u16).to_le_bytes());
        data.extend((print.len() as u16).to_le_bytes());
        if tag == SYMLINK {
            data.extend(1u32.to_le_bytes());
        }
        data.extend(substitute);
        data.extend(print);
        data
    }

    fn leads_to(data: &[u8]) -> Option<String> {
        let mut out = b"kept ".to_vec();
        let leads = target(data, &mut out);
        let out = String::from_utf8(out).unwrap();
        let target = out.strip_prefix("kept ").unwrap().to_owned();
        leads.then_some(target)
    }

    #[test]
    fn links_and_junctions_say_where_they_lead_as_people_wrote_it() {
        let relative = data(SYMLINK, r"..\up", r"..\up");
        assert_eq!(leads_to(&relative), Some(r"..\up".to_owned()));
        let absolute = data(SYMLINK, r"\??\C:\there", r"C:\there");
        assert_eq!(leads_to(&absolute), Some(r"C:\there".to_owned()));
        // Junctions made by programs often have no name for people.
        let junction = data(MOUNT_POINT, r"\??\C:\there", "");
        assert_eq!(leads_to(&junction), Some(r"C:\there".to_owned()));
        let volume = r"\??\Volume{0}\";
        assert_eq!(
            leads_to(&data(MOUNT_POINT, volume, "")),
            Some(r"Volume{0}\".to_owned())
        );
    }

    #[test]
    fn other_reparse_points_lead_nowhere() {
        assert_eq!(leads_to(&data(0x9000_001A, "x", "x")), None);
        assert_eq!(leads_to(b""), None);
    }

    proptest! {
        #[test]
        fn cut_and_damaged_data_leads_nowhere_or_somewhere_in_it(
            cut in 0usize..60,
            damage in (0usize..60, any::<u8>()),
        ) {
            let mut data = data(SYMLINK, r"\??\C:\there", r"C:\there");
            if let Some(byte) = data.get_mut(damage.0) {
                *byte = damage.1;
            }
            data.truncate(cut);
            let mut out = Vec::new();
            let leads = target(&data, &mut out);
            prop_assert!(leads || out.is_empty());
            prop_assert!(out.len() <= 3 * data.len());
        }
    }
}
