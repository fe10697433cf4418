//! Decides what to tell the operator during a run: the disk fails, it answers again, lines are
//! dropped or lost.
//!
//! Guarantees: a new kind of error is reported at once, the same kind at most every ten seconds,
//! and its end at once. Pure: no clock, no I/O, plain values in and messages out.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// At most one line per matter in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// A worker that is held up.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    /// The operation and the error kind. Stalls with the same pair are one matter.
    pub(crate) kind: (&'static str, ErrorKind),
    /// The whole error, with the path.
    pub(crate) text: String,
}

/// What has been reported so far.
#[derive(Default)]
pub(crate) struct Watch {
    outage: Option<Outage>,
    /// Since when the disk guard refuses lines.
    held_since: Option<Instant>,
    guard_error: Option<(&'static str, ErrorKind)>,
    aftercare: Option<(&'static str, ErrorKind)>,
    dropped: Sum,
    dropped_by_guard: Sum,
    lost: Sum,
    given_up: Sum,
    manifest: Matter,
    hook: Matter,
}

/// Something that fails for a while, with a text that says how.
#[derive(Default)]
struct Matter {
    since: Option<Instant>,
    told_at: Option<Instant>,
}

impl Matter {
    /// The message that it fails, now and then, or that it no longer does.
    fn look(&mut self, now: Instant, what: &str, failure: Option<String>) -> Option<String> {
        let Some(failure) = failure else {
            let seconds = now.duration_since(self.since.take()?).as_secs();
            self.told_at = None;
            return Some(format!("{what}: it works again, after {seconds} s"));
        };
        self.since.get_or_insert(now);
        if self.told_at.is_some_and(|at| now.duration_since(at) < INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        Some(format!("{what}: {failure} (retrying)"))
    }
}

/// A count that only increases.
#[derive(Default)]
struct Sum {
    told: u64,
    told_at: Option<Instant>,
}

impl Sum {
    /// The increase since the last report, if it is time for another.
    fn more(&mut self, now: Instant, sum: u64) -> Option<u64> {
        let more = sum.saturating_sub(self.told);
        let early = self.told_at.is_some_and(|at| now.duration_since(at) < INTERVAL);
        if more == 0 || early {
            return None;
        }
        *self = Sum { told: sum, told_at: Some(now) };
        Some(more)
    }
}

struct Outage {
    since: Instant,
    told: Vec<(&'static str, ErrorKind)>,
    told_at: Instant,
}

impl Watch {
    /// Reports the state of the disk, with at most one message.
    pub(crate) fn disk(&mut self, now: Instant, stalls: &[Stall]) -> Option<String> {
        let Some(first) = stalls.first() else {
            let outage = self.outage.take()?;
            let seconds = now.duration_since(outage.since).as_secs();
            return Some(format!("the disk answers again, after {seconds} s"));
        };
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            told: Vec::new(),
            told_at: now,
        });
        let fresh = stalls.iter().find(|stall| !outage.told.contains(&stall.kind));
        if fresh.is_none() && now.duration_since(outage.told_at) < INTERVAL {
            return None;
        }
        outage.told_at = now;
        outage.told.extend(fresh.map(|stall| stall.kind));
        let text = &fresh.unwrap_or(first).text;
        Some(format!("{text} (retrying; workers held up: {})", stalls.len()))
    }

    /// Reports that the disk guard refuses lines, for this reason, or that it no longer does.
    pub(crate) fn guard(&mut self, now: Instant, reason: Option<&str>) -> Option<String> {
        match (reason, self.held_since) {
            (Some(reason), None) => {
                self.held_since = Some(now);
                Some(format!("{reason}: no more lines are taken until there is room"))
            }
            (None, Some(since)) => {
                self.held_since = None;
                let seconds = now.duration_since(since).as_secs();
                Some(format!("there is room again, after {seconds} s"))
            }
            _ => None,
        }
    }

    /// Reports that the disk guard can't measure the disk, once for each matter.
    pub(crate) fn guard_error(&mut self, stall: Option<Stall>) -> Option<String> {
        let kind = stall.as_ref().map(|stall| stall.kind);
        let fresh = std::mem::replace(&mut self.guard_error, kind) != kind;
        let text = stall.filter(|_| fresh)?.text;
        Some(format!("disk guard: {text} (retrying; the earlier result stays in force)"))
    }

    /// Reports that old files can't be deleted or the link to the newest can't be set, once for each
    /// matter.
    pub(crate) fn aftercare(&mut self, stall: Option<Stall>) -> Option<String> {
        let kind = stall.as_ref().map(|stall| stall.kind);
        let fresh = std::mem::replace(&mut self.aftercare, kind) != kind;
        stall.filter(|_| fresh).map(|stall| format!("{} (retrying)", stall.text))
    }

    /// Reports lines that were dropped because the disk guard refused them.
    pub(crate) fn guard_drops(&mut self, now: Instant, dropped: u64) -> Option<String> {
        let more = self.dropped_by_guard.more(now, dropped)?;
        Some(format!("disk guard: {more} more lines dropped, {dropped} in all"))
    }

    /// Reports lines that were dropped because memory was full.
    pub(crate) fn drops(&mut self, now: Instant, dropped: u64) -> Option<String> {
        let more = self.dropped.more(now, dropped)?;
        Some(format!("memory was full: {more} more lines dropped, {dropped} in all"))
    }

    /// Reports lines that were lost because files in `temp_dir` were removed or truncated.
    pub(crate) fn losses(&mut self, now: Instant, lost: u64, temp_dir: &Path) -> Option<String> {
        let more = self.lost.more(now, lost)?;
        let dir = temp_dir.display();
        let what = format!("temp files in {dir} were removed or truncated");
        Some(format!("{what}: {more} more lines lost, {lost} in all"))
    }

    /// Reports that published files can't be noted in the manifest or the journal, or can be again.
    pub(crate) fn manifest(&mut self, now: Instant, failure: Option<String>) -> Option<String> {
        self.manifest.look(now, "listing files", failure)
    }

    /// Reports that `--on-publish` fails or hangs, or works again.
    pub(crate) fn hook(&mut self, now: Instant, failure: Option<String>) -> Option<String> {
        self.hook.look(now, "--on-publish", failure)
    }

    /// Reports lines that were lost because the disk failed for too long.
    pub(crate) fn given_up(&mut self, now: Instant, lost: u64) -> Option<String> {
        let more = self.given_up.more(now, lost)?;
        Some(format!("gave up on the disk: {more} more lines lost, {lost} in all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(operation: &'static str, kind: ErrorKind) -> Stall {
        Stall { kind: (operation, kind), text: format!("{operation} /d: {kind}") }
    }

    #[test]
    fn a_failing_disk_is_told_once_per_kind_and_interval_and_when_it_is_over() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let full = [stall("write", ErrorKind::StorageFull)];
        let both = [full[0].clone(), stall("rename", ErrorKind::NotFound)];

        assert_eq!(watch.disk(at(0), &[]), None);
        let first = watch.disk(at(1), &full).unwrap();
        assert!(first.starts_with("write /d: no storage space (retrying"), "{first}");
        assert_eq!(watch.disk(at(2), &full), None);
        assert!(watch.disk(at(3), &both).unwrap().starts_with("rename /d"));
        assert_eq!(watch.disk(at(4), &both), None);
        assert_eq!(watch.disk(at(12), &both), None);
        assert!(watch.disk(at(13), &both).unwrap().starts_with("write /d"));
        assert_eq!(watch.disk(at(15), &[]).unwrap(), "the disk answers again, after 14 s");
        assert_eq!(watch.disk(at(16), &[]), None);
        assert!(watch.disk(at(17), &full).is_some(), "a new outage is told at once");
    }

    #[test]
    fn drops_are_told_at_once_and_then_summed_up() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.drops(at(0), 0), None);
        assert!(watch.drops(at(1), 3).unwrap().contains("3 more lines dropped, 3 in all"));
        assert_eq!(watch.drops(at(5), 9), None);
        assert!(watch.drops(at(11), 10).unwrap().contains("7 more lines dropped, 10 in all"));
        assert_eq!(watch.drops(at(30), 10), None);
    }

    #[test]
    fn a_hook_that_fails_is_told_of_now_and_then_and_when_it_works_again() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let mut hook = |seconds, failure: Option<&str>| {
            watch.hook(start + Duration::from_secs(seconds), failure.map(str::to_owned))
        };
        assert_eq!(hook(0, None), None);
        assert_eq!(hook(1, Some("no")).unwrap(), "--on-publish: no (retrying)");
        assert_eq!(hook(2, Some("never")), None);
        assert!(hook(11, Some("never")).unwrap().contains("never"));
        assert_eq!(hook(12, None).unwrap(), "--on-publish: it works again, after 11 s");
        assert_eq!(hook(13, None), None);
        assert!(hook(13, Some("no")).is_some());
    }

    #[test]
    fn what_was_given_up_is_told_as_drops_are() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let mut given_up =
            |seconds, lost| watch.given_up(start + Duration::from_secs(seconds), lost);
        assert_eq!(given_up(0, 0), None);
        assert_eq!(given_up(1, 3).unwrap(), "gave up on the disk: 3 more lines lost, 3 in all");
        assert_eq!(given_up(2, 5), None);
        assert!(given_up(12, 5).unwrap().contains("2 more lines lost, 5 in all"));
    }

    #[test]
    fn the_guard_is_told_of_when_it_begins_and_ends() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.guard(at(0), None), None);
        let told = watch.guard(at(1), Some("little space")).unwrap();
        assert_eq!(told, "little space: no more lines are taken until there is room");
        assert_eq!(watch.guard(at(20), Some("little space")), None);
        assert_eq!(watch.guard(at(22), None).unwrap(), "there is room again, after 21 s");
        assert_eq!(watch.guard(at(23), None), None);
        assert!(watch.guard_drops(at(24), 5).unwrap().contains("disk guard: 5 more lines dropped"));
        assert_eq!((watch.guard_drops(at(25), 6), watch.guard_error(None)), (None, None));
        let mut error = |kind: Option<_>| watch.guard_error(kind.map(|kind| stall("list", kind)));
        let told = error(Some(ErrorKind::NotFound)).unwrap();
        assert!(told.starts_with("disk guard: list /d: entity not found (retrying"), "{told}");
        assert_eq!(error(Some(ErrorKind::NotFound)), None);
        assert!(error(Some(ErrorKind::StaleNetworkFileHandle)).is_some());
        assert_eq!(error(None), None);
        assert!(error(Some(ErrorKind::NotFound)).is_some());
    }

    #[test]
    fn what_happens_to_published_files_is_told_once_for_each_matter() {
        let mut watch = Watch::default();
        let mut error = |kind: Option<_>| watch.aftercare(kind.map(|kind| stall("unlink", kind)));
        assert_eq!(error(None), None);
        let told = error(Some(ErrorKind::PermissionDenied)).unwrap();
        assert_eq!(told, "unlink /d: permission denied (retrying)");
        assert_eq!(error(Some(ErrorKind::PermissionDenied)), None);
        assert!(error(Some(ErrorKind::NotFound)).is_some());
        assert_eq!(error(None), None);
        assert!(error(Some(ErrorKind::NotFound)).is_some());
    }

    #[test]
    fn losses_are_told_as_drops_are_with_the_directory() {
        let mut watch = Watch::default();
        let start = Instant::now();
        let mut losses = |seconds, lost| {
            watch.losses(start + Duration::from_secs(seconds), lost, Path::new("/t"))
        };
        assert_eq!(losses(0, 0), None);
        let expected = "temp files in /t were removed or truncated: 3 more lines lost, 3 in all";
        assert_eq!(losses(1, 3).unwrap(), expected);
        assert_eq!(losses(2, 5), None);
        assert!(losses(12, 5).unwrap().contains("2 more lines lost, 5 in all"));
    }
}
