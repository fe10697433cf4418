//! Which calls to the file system in memory meet a fault.

use std::time::Duration;

use crate::base::sys::Errno;

use crate::tests::fs::hooked::Op;

/// More than a test makes, unless somebody calls in a circle.
const CALLS_MAX: u64 = 60_000;

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskFault {
    /// This error. A write has written this number of bytes before it.
    Error(Errno, usize),
    /// At most this number of bytes is written.
    Short(usize),
    /// There is room for this number of bytes. Then writes fail with this error.
    Full(Errno, usize),
    /// It is done, and then this error is returned, as when an answer is lost.
    DoneBut(Errno),
    /// The call takes this time.
    Slow(Duration),
}

/// Which calls meet a fault.
#[derive(Clone, Debug)]
pub(crate) struct FaultPlan {
    /// Only calls of this operation, on temp files; none = all calls.
    pub(crate) op: Option<Op>,
    pub(crate) fault: DiskFault,
    /// Calls that succeed before the first fault.
    pub(crate) after: u32,
    /// Calls that meet the fault. `None` = all, until somebody heals the disk.
    pub(crate) times: Option<u32>,
}

/// A fault of the n-th call of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    /// Counted from 1.
    pub(crate) nth: u64,
    pub(crate) fault: DiskFault,
    /// Each later call of that operation meets it too, until the plan is given up.
    pub(crate) sticky: bool,
}

/// What was planned, and what came of it.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) plan: Option<FaultPlan>,
    /// With the operation of a sticky one, once it was met.
    planned: Vec<(Planned, Option<Op>)>,
    /// Operations that met one of them.
    pub(super) met: Vec<Op>,
    pub(super) calls: u64,
    /// Calls that met `plan`.
    pub(super) fired: u64,
}

impl Faults {
    /// These by number, and no others that were planned before.
    pub(super) fn plan_by_number(&mut self, planned: &[Planned]) {
        self.planned = planned.iter().map(|&planned| (planned, None)).collect();
    }

    /// A call comes: what happens to it.
    pub(super) fn meet(&mut self, op: Op, temp: bool, bytes: usize) -> Option<DiskFault> {
        self.calls += 1;
        assert!(self.calls < CALLS_MAX, "{op:?} again and again, without end");
        let calls = self.calls;
        let meets = |(planned, stuck): &&mut (Planned, Option<Op>)| {
            planned.nth == calls || *stuck == Some(op)
        };
        if let Some((planned, stuck)) = self.planned.iter_mut().find(meets) {
            *stuck = planned.sticky.then_some(op);
            self.met.push(op);
            return Some(planned.fault);
        }
        let plan = self.plan.as_mut()?;
        if plan.op.is_some_and(|wanted| wanted != op || !temp) {
            return None;
        }
        if plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        let mut fault = plan.fault;
        if let DiskFault::Full(errno, room) = &mut plan.fault {
            let written = bytes.min(*room);
            let full = *room == 0 || op != Op::Write;
            fault = if full { DiskFault::Error(*errno, 0) } else { DiskFault::Short(written) };
            *room -= written;
        }
        self.fired += 1;
        if let Some(times) = &mut plan.times {
            *times -= 1;
            if *times == 0 {
                self.plan = None;
            }
        }
        Some(fault)
    }
}
