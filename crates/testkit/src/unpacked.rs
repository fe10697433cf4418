//! What a compressed file holds, by the tools that operators use.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// What `gzip` or `zstd` makes of a file, by the end of its name. Other files are read as they are.
/// `None` if this machine does not have the tool. Panics if the tool finds a fault.
pub fn unpacked(file: &Path) -> Option<Vec<u8>> {
    let tool = match file.extension().and_then(|end| end.to_str()) {
        Some("gz") => "gzip",
        Some("zst") => "zstd",
        _ => return Some(std::fs::read(file).unwrap()),
    };
    let output = match Command::new(tool).args(["-d", "-c", "-q"]).arg(file).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no {tool} here");
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {}: {said}", file.display());
    Some(output.stdout)
}
