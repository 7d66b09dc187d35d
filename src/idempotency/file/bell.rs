//! How a process tells the others that a claim has ended which one of them waits for: it writes to a file, the bell,
//! that they watch.
//!
//! On Linux the kernel tells of the write (inotify). Elsewhere, and where too many files are watched already, whoever
//! waits looks for itself, some twenty times a second.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

use parking_lot::Mutex;

use super::error::FileStoreError;
use super::guard::leads_to;
use super::place::Place;

/// What the file is called.
const NAME: &str = "bell";

/// How often one looks who does not hear.
const LOOK: Duration = Duration::from_millis(50);

/// A store's bell: to ring, and to listen to.
#[derive(Debug)]
pub(super) struct Bell {
    file: Mutex<File>,
    /// Only one thread listens.
    ear: Mutex<Ear>,
}

impl Bell {
    pub fn new(place: &Place) -> Result<Self, FileStoreError> {
        let file = Mutex::new(place.lock_file(NAME)?);
        Ok(Self { file, ear: Mutex::new(Ear::new(place)) })
    }

    /// Takes the bell that others ring, if somebody has removed this one.
    pub fn go_on(&self, place: &Place) {
        let mut file = self.file.lock();
        if leads_to(&place.locks.join(NAME), &file) {
            return;
        }
        // Until that succeeds, who waits looks again when the lease ends.
        if let Ok(present) = place.prepare_locks().and_then(|()| place.lock_file(NAME)) {
            *file = present;
            *self.ear.lock() = Ear::new(place);
        }
    }

    /// Tells all processes that listen.
    pub fn ring(&self) {
        let mut file = self.file.lock();
        // Who is not told looks again when the lease ends.
        let _ = file.rewind().and_then(|()| file.write_all(b"!"));
    }

    /// Listens for so long; whether it is time to look.
    pub fn listen(&self, time: Duration) -> bool {
        self.ear.lock().listen(time)
    }
}

#[derive(Debug)]
enum Ear {
    #[cfg(target_os = "linux")]
    Kernel(rustix::fd::OwnedFd),
    Deaf,
}

impl Ear {
    #[cfg(target_os = "linux")]
    fn new(place: &Place) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let listen = || {
            let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            add_watch(&inotify, place.locks.join(NAME), WatchFlags::MODIFY)?;
            Ok::<_, rustix::io::Errno>(inotify)
        };
        // A user may watch some hundred files only.
        listen().map_or(Self::Deaf, Self::Kernel)
    }

    #[cfg(not(target_os = "linux"))]
    fn new(_: &Place) -> Self {
        Self::Deaf
    }

    fn listen(&self, time: Duration) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Kernel(inotify) => listen_to(inotify, time),
            Self::Deaf => {
                std::thread::sleep(time.min(LOOK));
                true
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn listen_to(inotify: &rustix::fd::OwnedFd, time: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec::try_from(time).ok();
    let mut sources = [PollFd::new(inotify, PollFlags::IN)];
    if poll(&mut sources, timeout.as_ref()).unwrap_or(0) == 0 {
        return false;
    }
    // What they say is always the same.
    let mut events = [0_u8; 4096];
    while rustix::io::read(inotify, &mut events).is_ok_and(|read| read > 0) {}
    true
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_wherever_it_is_rung_and_once() {
        let (_folder, place) = Place::of_a_test();
        let (one, other) = (Bell::new(&place).unwrap(), Bell::new(&place).unwrap());
        assert!(!other.listen(Duration::from_millis(1)));
        one.ring();
        one.ring();
        assert!(other.listen(Duration::from_secs(10)));
        assert!(!other.listen(Duration::from_millis(1)));
        // Who does not hear looks.
        assert!(Ear::Deaf.listen(Duration::from_millis(1)));
    }
}
