//! From the bytes of a terminal to keys.
//!
//! Guarantees: never panics, whatever comes. What is no key that the program knows is passed over.

use crate::sys::Key;

const ESCAPE: u8 = 0x1b;

/// Whether the last bytes may be the beginning of a key.
pub(super) fn is_begun(bytes: &[u8]) -> bool {
    let Some(at) = bytes.iter().rposition(|&byte| byte == ESCAPE) else { return false };
    match &bytes[at + 1..] {
        [] | [b'['] | [b'O'] => true,
        [b'[', rest @ ..] => !rest.iter().any(|byte| is_last(*byte)),
        _ => false,
    }
}

/// Whether it ends a sequence after `ESC [`.
fn is_last(byte: u8) -> bool {
    (0x40..=0x7e).contains(&byte)
}

/// All keys in these bytes.
pub(super) fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        let (key, after) = match first {
            &ESCAPE => sequence(rest),
            // Ctrl-C and Ctrl-D.
            b'q' | b'Q' | 0x03 | 0x04 => (Some(Key::Quit), rest),
            0x1a => (Some(Key::Suspend), rest),
            0x0c => (Some(Key::Redraw), rest),
            b'k' => (Some(Key::Up), rest),
            b'j' | b'\r' | b'\n' => (Some(Key::Down), rest),
            b'b' => (Some(Key::PageUp), rest),
            b' ' | b'f' => (Some(Key::PageDown), rest),
            b'g' => (Some(Key::Top), rest),
            b'G' => (Some(Key::Bottom), rest),
            _ => (None, rest),
        };
        keys.extend(key);
        bytes = after;
    }
    keys
}

/// What follows an Escape, and what comes after that.
fn sequence(bytes: &[u8]) -> (Option<Key>, &[u8]) {
    let (known, after) = match bytes {
        [b'O', last, after @ ..] => (std::slice::from_ref(last), after),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|&byte| is_last(byte)).map_or(rest.len(), |at| at + 1);
            rest.split_at(end)
        }
        // The key itself. What follows is another one.
        _ => return (Some(Key::Quit), bytes),
    };
    let key = match known {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        b"H" | b"1~" | b"7~" => Key::Top,
        b"F" | b"4~" | b"8~" => Key::Bottom,
        _ => return (None, after),
    };
    (Some(key), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_terminals() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"q", &[Key::Quit]),
            (b"\x1b", &[Key::Quit]),
            (b"\x03", &[Key::Quit]),
            (b"\x04", &[Key::Quit]),
            (b"\x1bq", &[Key::Quit, Key::Quit]),
            (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", &[Key::Up, Key::Down, Key::PageUp, Key::PageDown]),
            (b"\x1b[H\x1b[4~", &[Key::Top, Key::Bottom]),
            (b"jk \x1a\x0c", &[Key::Down, Key::Up, Key::PageDown, Key::Suspend, Key::Redraw]),
            // Keys with modifiers, mouse and paste: none.
            (b"\x1b[1;5C\x1b[<0;10;20M\x1b[200~x\x1b[", &[]),
            (b"xyz\xff\x00", &[]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_waited_for() {
        for begun in [&b"\x1b"[..], b"\x1b[", b"\x1b[5", b"x\x1b[1;", b"\x1bO"] {
            assert!(is_begun(begun), "{begun:?}");
        }
        for whole in [&b""[..], b"q", b"\x1b[A", b"\x1b[5~", b"\x1bOB", b"\x1bx", b"\x1b[Ax"] {
            assert!(!is_begun(whole), "{whole:?}");
        }
    }
}
