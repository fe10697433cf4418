//! What the system tells of a process (proc(5)).

use std::fmt::Display;
use std::fs;

/// A field such as `VmRSS:` in the status of `self`, of a process by its id, or of a thread such as `self/task/7`.
///
/// # Panics
/// There is no such process, or no such field.
#[track_caller]
pub fn status(of: impl Display, field: &str) -> String {
    let path = format!("/proc/{of}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value.unwrap_or_else(|| panic!("{field} in {status}")).trim().to_owned()
}

/// The number in such a field, whatever its unit.
///
/// # Panics
/// As [`status`]; also if it is no number.
#[track_caller]
pub fn number(of: impl Display, field: &str) -> u64 {
    let value = status(of, field);
    let number = value.split_whitespace().next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{field} {value}"))
}

/// Bytes of address space that this process has mapped.
///
/// # Panics
/// The system does not tell.
pub fn mapped() -> u64 {
    number("self", "VmSize:") << 10
}

/// Page faults of this thread so far.
///
/// # Panics
/// The system does not tell.
pub fn page_faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("proc(5)");
    // The name, in parentheses, may hold spaces. After it: state, 6 numbers, minor, theirs, major.
    let numbers = stat.rsplit_once(')').expect("a name").1;
    let number = |at| numbers.split_whitespace().nth(at).and_then(|n| n.parse::<u64>().ok());
    number(7).zip(number(9)).map(|(minor, major)| minor + major).expect("numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_name_threads_and_memory() {
        assert!(!status(std::process::id(), "Name:").is_empty());
        assert!(number("self", "Threads:") >= 1);
        let before = mapped();
        let memory = vec![0_u8; 64 << 20];
        assert!(mapped() >= before + memory.len() as u64 / 2);
    }

    #[test]
    fn a_page_that_is_touched_faults() {
        let before = page_faults();
        let memory = vec![1_u8; 64 << 20];
        // Huge pages at best.
        assert!(page_faults() >= before + 32, "{}", memory.len());
    }
}
