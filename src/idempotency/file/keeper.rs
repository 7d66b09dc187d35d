//! The thread that looks after a store: renews what is held, sweeps, notices who has died, and answers those whose
//! steps nobody gets to.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::core::Core;
use super::error::FileStoreError;
use super::ledger::Ledger;
use super::owners::{Lives, Owners, Process};
use super::pending::Pending;
use super::queue::{Told, answer_all};
use crate::idempotency::Written;

/// How often it looks, while something is held or waited for, and while nothing is.
const BUSY: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(250);

/// How often a process that is waited for is asked whether it lives.
const PULSE: Duration = Duration::from_millis(100);

/// How often what has expired is deleted, and the dead's claims are freed.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a step may wait for the writer before it has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the thread works with.
struct Keeper<'a> {
    core: &'a Arc<Core>,
    bell: &'a Bell,
    felt_pulse: Instant,
    swept: Instant,
    sweeping: Option<Pending<Swept>>,
}

/// Works until the store is closed.
pub(super) fn run(core: &Arc<Core>, bell: &Bell) {
    let now = Instant::now();
    let mut keeper = Keeper { core, bell, felt_pulse: now, swept: now, sweeping: None };
    while !core.queue.is_closed() {
        // A panic ends one round only: leases have to be renewed. That it panicked has been said where panics are said.
        let _ = catch_unwind(AssertUnwindSafe(|| keeper.go_round()));
    }
}

impl Keeper<'_> {
    fn go_round(&mut self) {
        let core = self.core;
        let is_busy = !core.holds.is_empty() || !core.waiters.awaited().is_empty();
        if self.bell.listen(if is_busy { BUSY } else { IDLE }) {
            look_abroad(core);
        }
        // Before all that may panic.
        renew(core);
        keep_names(core, self.bell);
        answer_all(core.queue.take_overdue(PATIENCE), &Err(FileStoreError::Busy(core.place.file.clone())));
        if self.felt_pulse.elapsed() >= PULSE {
            self.felt_pulse = Instant::now();
            feel_pulses(core);
        }
        self.keep_sweeping();
    }

    fn keep_sweeping(&mut self) {
        let core = self.core;
        let mut is_more = false;
        if let Some(mut sweeping) = self.sweeping.take() {
            match sweeping.poll_now() {
                None => {
                    self.sweeping = Some(sweeping);
                    return;
                }
                Some(Ok(swept)) => {
                    if let Some(lives) = &core.lives {
                        lives.end_lost(&core.place, &swept.spent);
                    }
                    is_more = swept.is_more;
                }
                Some(Err(_)) => {}
            }
        }
        if (is_more || self.swept.elapsed() >= SWEEP) && core.pages.have_room() {
            self.swept = Instant::now();
            self.sweeping = Some(sweep(core));
        }
    }
}

/// What a sweep that is committed has come to.
struct Swept {
    /// Whether there is more to delete.
    is_more: bool,
    /// Lives of this process that were lost and have no claims any more.
    spent: Vec<Process>,
}

fn sweep(core: &Core) -> Pending<Swept> {
    let lost = core.lives.as_ref().map_or_else(Vec::new, Lives::lost);
    let sweep = move |ledger: &mut Ledger<'_>| {
        let is_more = ledger.sweep()?;
        let mut spent = Vec::new();
        for process in lost {
            if !ledger.rows.has_claims(process)? {
                spent.push(process);
            }
        }
        Ok(Swept { is_more, spent })
    };
    core.queue.add(0, |_| Told::Committed, sweep)
}

/// Notices when somebody has removed the files by which others know this process, or the files of the store itself.
fn keep_names(core: &Core, bell: &Bell) {
    if core.guard.check().is_err() {
        // Who waits learns by its next step what has happened.
        return core.waiters.wake_those_of(|_| true);
    }
    if let Some(lives) = &core.lives {
        lives.go_on(&core.place);
    }
    bell.go_on(&core.place);
}

/// Wakes those who wait for claims of other processes that have ended.
fn look_abroad(core: &Arc<Core>) {
    let abroad = core.waiters.abroad(&core.processes());
    if abroad.is_empty() {
        return;
    }
    let waiters = Arc::clone(core);
    // Where it fails, who waits looks again when the lease ends.
    drop(core.queue.add(
        0,
        |()| Told::Committed,
        move |ledger| {
            for (key, fence) in abroad {
                if !ledger.is_in_progress(&key, fence)? {
                    waiters.waiters.wake(&key);
                }
            }
            Ok(())
        },
    ));
}

/// Wakes those who wait for claims of a process that has died: the key is free.
fn feel_pulses(core: &Core) {
    let awaited = core.waiters.awaited();
    if awaited.is_empty() {
        return;
    }
    let mut owners = Owners::new(&core.place, &core.processes());
    core.waiters.wake_those_of(|process| !owners.may_live(process));
}

fn renew(core: &Arc<Core>) {
    let due = core.holds.take_due();
    if due.is_empty() {
        return;
    }
    let holds = Arc::clone(core);
    // One that fails comes again, before its lease ends.
    drop(core.queue.add(
        0,
        |()| Told::Committed,
        move |ledger| {
            for (name, lease) in due {
                match ledger.renew(&name, super::time::ms(lease))? {
                    Written::Done => holds.holds.renewed(&name, lease),
                    Written::Lost => holds.holds.let_go(&name),
                }
            }
            Ok(())
        },
    ));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::Future;
    use std::task::{Context, Wake};
    use std::thread;

    use super::super::ledger::Awaited;
    use super::super::place::Place;
    use super::super::{Access, Durability, FileOptions};
    use super::*;
    use crate::idempotency::{DigestBuilder, Limits};

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as the code of somebody who waits may")
        }
    }

    #[test]
    fn a_panic_ends_a_round_and_not_the_thread() {
        let (_folder, place) = Place::of_a_test();
        let limits = Limits { max_bytes: 1 << 30, max_entries: 1_000 };
        let (durability, access) = (Durability::Os, Access::ReadWrite);
        let core = Core::open(&place, FileOptions { durability, access, limits, allowed: None }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let dead = core.processes()[0].in_another_run();
        let claim = Awaited { process: dead, fence: 1, lease_left: 600_000 };
        let waiting = core.waiters.enter(DigestBuilder::new("test").finish(), claim);
        let mut done = Box::pin(waiting.done());
        let waker = Arc::new(Panics).into();
        assert!(done.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // In one round the panic, in another what it has kept from being done.
        let end = Instant::now() + Duration::from_secs(20);
        while !core.waiters.awaited().is_empty() {
            assert!(Instant::now() < end, "nobody looks after the store");
            thread::sleep(Duration::from_millis(10));
        }
        core.close();
    }
}
