//! Which file systems a store cannot be on: its processes share memory and locks beside the file.
#![forbid(unsafe_code)]

use std::path::Path;

/// A file system of which only its user can know whether memory and locks beside a file are shared there as on a disk. It
/// is refused unless [`super::FileOptions::allowed`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// A program behind the kernel: sshfs, s3fs, `GlusterFS`, virtiofs, the shared folders of Docker Desktop.
    Fuse,
    /// The shared folders of `VirtualBox`.
    Vboxsf,
    /// The shared folders of `VMware`.
    Vmhgfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fuse, Self::Vboxsf, Self::Vmhgfs];

    /// The one that options call so.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }

    /// What options call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::Vboxsf => "vboxsf",
            Self::Vmhgfs => "vmhgfs",
        }
    }
}

/// A file system that is no disk of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// Of several hosts: never a place for a store.
    Network(&'static str),
    /// Perhaps a place for a store.
    Unknown(FileSystem),
}

impl Remote {
    pub fn name(self) -> &'static str {
        match self {
            Self::Network(name) => name,
            Self::Unknown(system) => system.name(),
        }
    }

    pub fn is_refused(self, allowed: Option<FileSystem>) -> bool {
        match self {
            Self::Network(_) => true,
            Self::Unknown(system) => allowed != Some(system),
        }
    }

    /// Where a path is, if that is no disk.
    #[cfg(target_os = "linux")]
    pub fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::statfs(path).ok()?;
        Self::of_number(u32::try_from(found.f_type & 0xFFFF_FFFF).ok()?)
    }

    /// By the magic numbers of statfs(2).
    #[cfg(target_os = "linux")]
    fn of_number(magic: u32) -> Option<Self> {
        Some(match magic {
            0x6969 => Self::Network("NFS"),
            0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Self::Network("SMB"),
            0x0102_1997 => Self::Network("9p"),
            0x00C3_6400 => Self::Network("Ceph"),
            0x5346_414F | 0x6B41_4653 => Self::Network("AFS"),
            0x7375_7245 => Self::Network("Coda"),
            0x564C => Self::Network("NCP"),
            0x0BD0_0BD0 => Self::Network("Lustre"),
            0x0116_1970 => Self::Network("GFS2"),
            0x7461_636F => Self::Network("OCFS2"),
            0x6573_5546 => Self::Unknown(FileSystem::Fuse),
            0x786F_4256 => Self::Unknown(FileSystem::Vboxsf),
            0xBACB_ACBC => Self::Unknown(FileSystem::Vmhgfs),
            _ => return None,
        })
    }

    #[cfg(target_os = "macos")]
    pub fn of(path: &Path) -> Option<Self> {
        let found = rustix::fs::statfs(path).ok()?;
        let name: Vec<u8> =
            found.f_fstypename.iter().map_while(|c| (*c != 0).then_some(c.cast_unsigned())).collect();
        Some(match name.as_slice() {
            b"nfs" => Self::Network("NFS"),
            b"smbfs" => Self::Network("SMB"),
            b"afpfs" => Self::Network("AFP"),
            b"webdav" => Self::Network("WebDAV"),
            b"macfuse" | b"osxfuse" | b"fusefs" | b"virtiofs" => Self::Unknown(FileSystem::Fuse),
            b"vmhgfs" => Self::Unknown(FileSystem::Vmhgfs),
            _ => return None,
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    pub fn of(path: &Path) -> Option<Self> {
        use std::path::{Component, Prefix};
        match path.components().next()? {
            Component::Prefix(prefix)
                if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)) =>
            {
                Some(Self::Network("SMB"))
            }
            _ => None,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_numbers_and_never_allowed() {
        for (magic, name) in [(0x6969, "NFS"), (0xFE53_4D42, "SMB"), (0x0102_1997, "9p")] {
            let found = Remote::of_number(magic).unwrap();
            assert_eq!(found, Remote::Network(name));
            assert!(FileSystem::ALL.iter().all(|system| found.is_refused(Some(*system))));
        }
        // ext4, tmpfs, overlayfs, xfs, btrfs.
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x5846_5342, 0x9123_683E] {
            assert_eq!(Remote::of_number(local), None);
        }
    }

    #[test]
    fn what_may_be_a_program_or_another_host_is_refused_unless_it_is_named() {
        for (magic, name) in [(0x6573_5546, "fuse"), (0x786F_4256, "vboxsf"), (0xBACB_ACBC, "vmhgfs")] {
            let found = Remote::of_number(magic).unwrap();
            assert_eq!(found.name(), name);
            assert!(found.is_refused(None));
            for system in FileSystem::ALL {
                assert_eq!(found.is_refused(Some(system)), system.name() != name);
            }
        }
    }
}
