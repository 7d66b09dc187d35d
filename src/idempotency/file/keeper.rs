//! The thread that looks after a store: renews what is held, sweeps, notices who has died, and answers those whose
//! steps nobody gets to.
#![forbid(unsafe_code)]

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

/// Works until the store is closed.
pub(super) fn run(core: &Arc<Core>, bell: &Bell) {
    let (mut felt_pulse, mut swept) = (Instant::now(), Instant::now());
    let mut sweeping: Option<Pending<Swept>> = None;
    while !core.queue.is_closed() {
        let is_busy = !core.holds.is_empty() || !core.waiters.awaited().is_empty();
        if bell.listen(if is_busy { BUSY } else { IDLE }) {
            look_abroad(core);
        }
        keep_names(core, bell);
        answer_all(core.queue.take_overdue(PATIENCE), &Err(FileStoreError::Busy(core.place.file.clone())));
        renew(core);
        if felt_pulse.elapsed() >= PULSE {
            felt_pulse = Instant::now();
            feel_pulses(core);
        }
        let is_more = match sweeping.as_mut().map(Pending::poll_now) {
            Some(None) => continue,
            Some(Some(Ok(swept))) => {
                if let Some(lives) = &core.lives {
                    lives.end_lost(&core.place, &swept.spent);
                }
                swept.is_more
            }
            Some(Some(Err(_))) | None => false,
        };
        sweeping = None;
        if (is_more || swept.elapsed() >= SWEEP) && core.pages.have_room() {
            swept = Instant::now();
            sweeping = Some(sweep(core));
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
