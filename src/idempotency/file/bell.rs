//! How a process tells the others that a claim has ended which one of them waits for: it writes to a file, the bell,
//! that they watch.
//!
//! On Linux the kernel tells of the write (inotify). Elsewhere whoever waits looks for itself, some twenty times a
//! second.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::FileStoreError;
use super::place::Place;

/// A store's bell: to ring, and to listen to.
#[derive(Debug)]
pub(super) struct Bell {
    file: Mutex<File>,
    ear: Ear,
}

impl Bell {
    pub fn new(place: &Place) -> Result<Self, FileStoreError> {
        let file = Mutex::new(place.lock_file("bell")?);
        Ok(Self { file, ear: Ear::new(place)? })
    }

    /// Tells all processes that listen.
    pub fn ring(&self) {
        let mut file = self.file.lock();
        // Who is not told looks again when the lease ends.
        let _ = file.rewind().and_then(|()| file.write_all(b"!"));
    }

    /// Listens for so long; whether it is time to look.
    pub fn listen(&self, time: Duration) -> bool {
        self.ear.listen(time)
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Ear(rustix::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Ear {
    fn new(place: &Place) -> Result<Self, FileStoreError> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let path = place.locks.join("bell");
        let listen = || {
            let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            add_watch(&inotify, &path, WatchFlags::MODIFY)?;
            Ok::<_, rustix::io::Errno>(inotify)
        };
        listen().map(Self).map_err(|error| FileStoreError::system(&path, &error.into()))
    }

    fn listen(&self, time: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec::try_from(time).ok();
        let mut sources = [PollFd::new(&self.0, PollFlags::IN)];
        if poll(&mut sources, timeout.as_ref()).unwrap_or(0) == 0 {
            return false;
        }
        // What they say is always the same.
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|read| read > 0) {}
        true
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Ear;

#[cfg(not(target_os = "linux"))]
impl Ear {
    #[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
    fn new(_: &Place) -> Result<Self, FileStoreError> {
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "on Linux there is something to listen to")]
    fn listen(&self, time: Duration) -> bool {
        std::thread::sleep(time.min(Duration::from_millis(50)));
        true
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_wherever_it_is_rung_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(&folder.path().join("store")).unwrap();
        place.prepare().unwrap();
        let (one, other) = (Bell::new(&place).unwrap(), Bell::new(&place).unwrap());
        assert!(!other.listen(Duration::from_millis(1)));
        one.ring();
        one.ring();
        assert!(other.listen(Duration::from_secs(10)));
        assert!(!other.listen(Duration::from_millis(1)));
    }
}
