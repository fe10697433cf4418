//! Where and with what a run was made: machine, commit, versions. What is unknown stays empty.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::report::{Commit, Machine};

/// Describes this machine; `dir` is where files are written to.
pub fn machine(dir: &Path) -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or(0);
    Machine {
        cpu: value(&cpu, "model name").unwrap_or("unknown").into(),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        memory_mib: memory / 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        file_system: file_system(&read("/proc/self/mountinfo"), dir),
        disk_mb_per_s: None,
    }
}

/// The number after a name, in the format of `/proc/*/status`: `VmRSS:   1234 kB`.
pub fn field(text: &str, name: &str) -> Option<u64> {
    value(text, name)?.split_whitespace().next()?.parse().ok()
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The file system type of the mount that `dir` is in: the longest mount point that is a prefix of it. Of several
/// mounts at the same point the last one covers the others.
fn file_system(mounts: &str, dir: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        dir.starts_with(point).then(|| (point.len(), source.split(' ').next()))
    });
    let nearest = mounts.max_by_key(|(len, _)| *len).and_then(|(_, kind)| kind);
    nearest.unwrap_or("unknown").into()
}

/// The commit of the sources that this program was built from, if they still exist.
pub fn commit() -> Option<Commit> {
    let git = |args: &[&str]| {
        let output =
            Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(args).output();
        let output = output.ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let hash = git(&["rev-parse", "HEAD"])?.trim().into();
    let dirty = !git(&["status", "--porcelain"])?.trim().is_empty();
    Some(Commit { hash, dirty })
}

/// The command line, to be typed again.
pub fn command() -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    format!("bufferedwriter-bench {}", args.join(" "))
}

/// UTC, to the second.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The locked versions of this package's direct dependencies.
pub fn versions() -> BTreeMap<String, String> {
    direct_versions(include_str!("../../Cargo.lock"), env!("CARGO_PKG_NAME"))
}

fn direct_versions(lock: &str, package: &str) -> BTreeMap<String, String> {
    let quoted = |line: &str, key: &str| {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(rest.trim().trim_matches('"').to_string())
    };
    let mut versions = BTreeMap::new();
    let mut direct = Vec::new();
    for block in lock.split("[[package]]") {
        let get = |key| block.lines().find_map(|line| quoted(line, key));
        let (Some(name), Some(version)) = (get("name"), get("version")) else { continue };
        if name == package {
            let listed = block.lines().filter_map(|line| line.trim().strip_prefix('"'));
            let names = listed.filter_map(|line| line.split(['"', ' ']).next());
            direct = names.map(String::from).collect();
        }
        versions.insert(name, version);
    }
    versions.retain(|name, _| direct.contains(name));
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_proc_are_found() {
        let text = "Name:\tx\nVmRSS:\t   1234 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(field(text, "VmRSS"), Some(1234));
        assert_eq!(field(text, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(field(text, "VmHWM"), None);
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                      2 1 0:5 / /mnt/fast rw shared:1 - tmpfs none rw\n\
                      3 1 8:2 / /mnt rw - xfs /dev/b rw\n";
        assert_eq!(file_system(mounts, Path::new("/mnt/fast/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/mnt/slow")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/home")), "ext4");
    }

    #[test]
    fn versions_are_those_of_direct_dependencies() {
        let lock = "[[package]]\nname = \"mine\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n\n\
                    [[package]]\nname = \"a\"\nversion = \"1.2.3\"\ndependencies = [\n \"b\",\n]\n\n\
                    [[package]]\nname = \"b\"\nversion = \"4.5.6\"\n";
        let expected = BTreeMap::from([("a".to_string(), "1.2.3".to_string())]);
        assert_eq!(direct_versions(lock, "mine"), expected);
        assert!(versions().contains_key("bufferedwriter"));
    }
}
