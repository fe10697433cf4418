//! Which files an object holds. Written to the journal and to the store before the object is sent.
//!
//! Guarantees: `parse` undoes `to_json`. A key tells which plans may name a file, so that few are read.

use std::path::{Component, Path};
use std::time::{Duration, UNIX_EPOCH};

use bufferedwriter::FileName;
use serde_json::{Value, json};

/// A file of a joined object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Below the directory.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
}

/// An object and its files, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Below the prefix, in the directory of its files.
    pub(crate) object: String,
    /// Of the object.
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
    /// What each file has, and the object once.
    pub(crate) header: Vec<u8>,
    pub(crate) footer: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

impl Plan {
    pub(crate) fn to_json(&self) -> Value {
        let files = self.members.iter().map(|Member { path, bytes, checksum }| {
            json!({ "path": path, "bytes": bytes, "crc32c": format!("{checksum:08x}") })
        });
        json!({
            "object": self.object, "bytes": self.bytes, "crc32c": format!("{:08x}", self.checksum),
            "header": hexadecimal(&self.header), "footer": hexadecimal(&self.footer),
            "files": files.collect::<Vec<_>>(),
        })
    }

    pub(crate) fn parse(value: &Value) -> Option<Plan> {
        let text = |value: &Value, key| value.get(key)?.as_str().map(str::to_owned);
        // Whoever may write to the store must not choose which files are read or deleted here.
        let path = |value: &Value, key| {
            let is_inside = |path: &String| {
                let mut components = Path::new(path).components();
                components.all(|one| matches!(one, Component::Normal(_)))
            };
            text(value, key).filter(is_inside)
        };
        let number = |value: &Value| value.get("bytes")?.as_u64();
        let checksum = |value: &Value| u32::from_str_radix(value.get("crc32c")?.as_str()?, 16).ok();
        let members = value.get("files")?.as_array()?.iter().map(|file| {
            Some(Member {
                path: path(file, "path")?,
                bytes: number(file)?,
                checksum: checksum(file)?,
            })
        });
        Some(Plan {
            object: path(value, "object")?,
            bytes: number(value)?,
            checksum: checksum(value)?,
            header: bytes(&text(value, "header")?)?,
            footer: bytes(&text(value, "footer")?)?,
            members: members.collect::<Option<_>>()?,
        })
    }

    /// What the store keeps.
    pub(crate) fn body(&self) -> Vec<u8> {
        format!("{}\n", self.to_json()).into_bytes()
    }

    pub(crate) fn member(&self, path: &Path) -> Option<&Member> {
        self.members.iter().find(|member| Path::new(&member.path) == path)
    }

    pub(crate) fn key(&self) -> PlanKey {
        let seen = self.members.iter().filter_map(|member| Seen::of(member.path.as_ref()));
        let none = PlanKey {
            last: 0,
            first: u64::MAX,
            writers: 0,
            checksum: crc32c::crc32c(&self.body()),
        };
        seen.fold(none, |key, seen| PlanKey {
            last: key.last.max(seen.time),
            first: key.first.min(seen.time),
            writers: key.writers | seen.writer,
            ..key
        })
    }
}

/// Any bytes, as JSON has only text.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// What a key can tell of a file: when it became visible, and one bit for its writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) time: u64,
    writer: u64,
}

impl Seen {
    pub(crate) fn of(file: &Path) -> Option<Seen> {
        let name = FileName::parse(file.file_name()?)?;
        let since = name.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The same in all versions, which the hashes of the standard library are not.
        let spread = name.instance.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        Some(Seen { time: nanoseconds(since), writer: 1 << spread })
    }
}

fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The name of a plan in the store. Plans of one directory are in the order of their last files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlanKey {
    last: u64,
    first: u64,
    writers: u64,
    checksum: u32,
}

impl PlanKey {
    pub(crate) fn name(&self) -> String {
        let PlanKey { last, first, writers, checksum } = self;
        format!("{last:020}-{first:020}-{writers:016x}-{checksum:08x}.members")
    }

    pub(crate) fn parse(name: &str) -> Option<PlanKey> {
        let mut parts = name.strip_suffix(".members")?.split('-');
        let mut next = |radix| u64::from_str_radix(parts.next()?, radix).ok();
        let (last, first, writers) = (next(10)?, next(10)?, next(16)?);
        let checksum = next(16)?.try_into().ok()?;
        Some(PlanKey { last, first, writers, checksum })
    }

    /// No plan that names a file of this time or a later one is before it.
    pub(crate) fn offset(time: u64) -> String {
        format!("{:020}", time.saturating_sub(1))
    }

    pub(crate) fn may_name(&self, file: Seen) -> bool {
        (self.first..=self.last).contains(&file.time) && self.writers & file.writer != 0
    }
}

/// The directory of plans for files of this directory, as one component. Two that have the same only read more.
pub(crate) fn folder(dir: &Path) -> Option<String> {
    Some(format!("in-{}", dir.to_str()?.replace('/', ",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let member = |nth: u32, instance: &str| Member {
            path: format!("dt=1/20261122T19403{nth}.123456789Z-{instance}-1-w3-{nth}.log"),
            bytes: 7,
            checksum: nth,
        };
        let members = vec![member(1, "000000000000feed"), member(3, "000000000000beef")];
        let (header, footer) = (vec![0, b'"', 255], Vec::new());
        Plan {
            object: "dt=1/x.joined.log".into(),
            bytes: 14,
            checksum: 0xfeed,
            header,
            footer,
            members,
        }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written_and_no_other_way() {
        let plan = plan();
        let body = plan.body();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(Plan::parse(&value), Some(plan.clone()));
        assert_eq!(PlanKey::parse(&plan.key().name()), Some(plan.key()));
        for outside in ["/etc", "../x"] {
            let text = String::from_utf8(body.clone()).unwrap().replace("dt=1", outside);
            assert_eq!(Plan::parse(&serde_json::from_str(&text).unwrap()), None, "{outside}");
        }
        for cut in 0..body.len() - 1 {
            assert!(serde_json::from_slice::<Value>(&body[..cut]).is_err());
        }
        for other in ["", "x.members", "1-2-3.members", "1-2-3-fffffffff.members"] {
            assert_eq!(PlanKey::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_tells_which_files_a_plan_may_name() {
        let key = plan().key();
        let seen = |second: u32, instance: &str| {
            let name = format!("20261122T1940{second}.123456789Z-{instance}-1-w3-9.log");
            Seen::of(name.as_ref()).unwrap()
        };
        for second in [31, 32, 33] {
            assert!(key.may_name(seen(second, "000000000000feed")));
            assert!(key.name() > PlanKey::offset(seen(second, "000000000000feed").time));
        }
        assert!(
            !key.may_name(seen(30, "000000000000feed"))
                && !key.may_name(seen(34, "000000000000feed"))
        );
        assert!(key.name() < PlanKey::offset(seen(34, "000000000000feed").time));
        let others =
            (0..64_u64).filter(|nth| key.may_name(seen(32, &format!("{:016x}", nth << 32))));
        assert!(others.count() < 8, "others are told apart");
        assert_eq!(folder("dt=1/hour=2".as_ref()).unwrap(), "in-dt=1,hour=2");
        assert_eq!(folder("".as_ref()).unwrap(), "in-");
    }
}
