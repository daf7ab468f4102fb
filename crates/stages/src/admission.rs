//! Which of the directories that `enumerate` has opened it reads.
//!
//! No call is made here: what is asked of the file system was found out when the directory was opened. One thing must
//! stay true: a directory is never read below itself, whatever links and mounts lead back up.

use std::sync::Arc;

use statline_platform::{DirNode, Fault, Filesystem, FilesystemKind, Identity};

use crate::enumerate::Scan;

/// What to do with a directory that has been opened.
pub(crate) enum Admission {
    /// Read it.
    Enter,
    /// The job leaves it out.
    Skip,
    /// It is a root itself, and read as that.
    Elsewhere,
    /// It cannot be read, for a reason that the file system does not know of.
    Refuse(Fault),
}

impl Scan {
    /// Decides on a directory. `filesystem` tells what it is on; asked only where that matters.
    pub(crate) fn admit(
        &self,
        node: &Arc<DirNode>,
        filesystem: impl Fn(&Identity) -> Option<Filesystem>,
    ) -> Admission {
        let (Some(parent), Some(identity)) = (node.parent(), node.identity()) else {
            return Admission::Enter;
        };
        if self.root_identities.len() > 1 && self.root_identities.contains(identity) {
            return Admission::Elsewhere;
        }
        let crosses = parent.identity().is_some_and(|above| {
            above.device != identity.device || above.mount_id != identity.mount_id
        });
        // Without followed links only a mount can lead back up.
        if (crosses || self.config.follow_symlinks) && is_loop(node, identity) {
            return Admission::Refuse(Fault::Loop);
        }
        if crosses {
            if self.config.one_file_system {
                return Admission::Skip;
            }
            if self.config.skip_pseudo
                && filesystem(identity).is_some_and(|found| found.profile().pseudo)
            {
                return Admission::Skip;
            }
        }
        if self.config.skip_snapshots && is_snapshots(node, identity, filesystem) {
            return Admission::Skip;
        }
        Admission::Enter
    }
}

/// Whether a directory is where a file server shows its snapshots. The names mean nothing on other file systems.
fn is_snapshots(
    node: &DirNode,
    identity: &Identity,
    filesystem: impl Fn(&Identity) -> Option<Filesystem>,
) -> bool {
    let on: &[FilesystemKind] = match node.name().as_bytes() {
        b".snapshot" => &[FilesystemKind::Nfs],
        b".zfs" => &[FilesystemKind::Zfs, FilesystemKind::Nfs],
        _ => return false,
    };
    filesystem(identity).is_some_and(|found| on.contains(&found.kind()))
}

fn is_loop(node: &DirNode, identity: &Identity) -> bool {
    node.ancestors()
        .skip(1)
        .any(|above| above.identity() == Some(identity))
}
