//! A path as bytes that compare as paths do, component by component, and that it can be rebuilt from.
//!
//! The root's path, then a zero and a name for each level. No name holds a zero, and nothing is smaller, so a directory
//! comes right before its contents. The directory itself, as an entry of itself, ends with the zero before the name that
//! it has not.

use statline_platform::DirNode;

/// What stands before each name.
pub(super) const SEPARATOR: u8 = 0;

/// Appends the path of a directory. Its entries' paths go on with a separator and a name.
pub(super) fn push_directory(node: &DirNode, out: &mut Vec<u8>) {
    let start = out.len();
    let mut length = 0;
    for node in node.ancestors() {
        length += component(node).len() + usize::from(!node.is_root());
    }
    out.resize(start + length, SEPARATOR);
    let mut end = out.len();
    for node in node.ancestors() {
        let bytes = component(node);
        end -= bytes.len();
        out[end..end + bytes.len()].copy_from_slice(bytes);
        end = end.saturating_sub(1);
    }
}

fn component(node: &DirNode) -> &[u8] {
    match node.is_root() {
        true => node.root_path().as_os_str().as_encoded_bytes(),
        false => node.name().as_bytes(),
    }
}

/// Appends the name of an entry behind its directory's path.
pub(super) fn push_name(name: &[u8], out: &mut Vec<u8>) {
    out.push(SEPARATOR);
    out.extend_from_slice(name);
}

/// The directory's path, and the name in it; `None` if it is no path.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|&byte| byte == SEPARATOR)?;
    Some((&path[..at], &path[at + 1..]))
}

/// Where the component ends that begins at a place of a directory's path.
pub(super) fn component_end(path: &[u8], start: usize) -> usize {
    let rest = path[start..].iter();
    start + rest.take_while(|&&byte| byte != SEPARATOR).count()
}

/// The byte that no inverted byte of a name is.
const INVERTED_SEPARATOR: u8 = !SEPARATOR;
/// Behind it, more follows.
const MORE: u8 = 0;
/// Behind it, nothing does.
const END: u8 = u8::MAX;

/// Appends a path so that it comes first among those that it is last of. What a path goes on with then comes before its
/// end, so the end must be told.
pub(super) fn push_inverted(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        out.push(!byte);
        if byte == SEPARATOR {
            out.push(MORE);
        }
    }
    out.extend_from_slice(&[INVERTED_SEPARATOR, END]);
}

/// Appends what was inverted as it was; `None` if it cannot be that.
pub(super) fn push_restored(inverted: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut bytes = inverted.iter();
    while let Some(&byte) = bytes.next() {
        if byte != INVERTED_SEPARATOR {
            out.push(!byte);
            continue;
        }
        match *bytes.next()? {
            MORE => out.push(SEPARATOR),
            _ => return Some(()),
        }
    }
    None
}
