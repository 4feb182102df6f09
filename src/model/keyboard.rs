//! The keys of a keyboard as QEMU calls them, and which of them write a text on one with American letters.
//!
//! Only names: who presses them, and how, is not known here.

use super::{Error, Hint, Result, closest};

/// QEMU's names (`QKeyCode`), without those of single letters and digits.
const NAMES: &[&str] = &[
    "shift",
    "shift_r",
    "alt",
    "alt_r",
    "ctrl",
    "ctrl_r",
    "menu",
    "esc",
    "minus",
    "equal",
    "backspace",
    "tab",
    "bracket_left",
    "bracket_right",
    "ret",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "backslash",
    "comma",
    "dot",
    "slash",
    "asterisk",
    "spc",
    "caps_lock",
    "num_lock",
    "scroll_lock",
    "kp_divide",
    "kp_multiply",
    "kp_subtract",
    "kp_add",
    "kp_enter",
    "kp_decimal",
    "kp_comma",
    "kp_equals",
    "sysrq",
    "kp_0",
    "kp_1",
    "kp_2",
    "kp_3",
    "kp_4",
    "kp_5",
    "kp_6",
    "kp_7",
    "kp_8",
    "kp_9",
    "less",
    "print",
    "home",
    "pgup",
    "pgdn",
    "end",
    "left",
    "up",
    "down",
    "right",
    "insert",
    "delete",
    "stop",
    "again",
    "props",
    "undo",
    "front",
    "copy",
    "open",
    "paste",
    "find",
    "cut",
    "lf",
    "help",
    "meta_l",
    "meta_r",
    "compose",
    "pause",
    "ro",
    "hiragana",
    "henkan",
    "yen",
    "katakanahiragana",
    "muhenkan",
    "power",
    "sleep",
    "wake",
    "audionext",
    "audioprev",
    "audiostop",
    "audioplay",
    "audiomute",
    "volumeup",
    "volumedown",
    "mediaselect",
    "mail",
    "calculator",
    "computer",
    "ac_home",
    "ac_back",
    "ac_forward",
    "ac_refresh",
    "ac_bookmarks",
    "lang1",
    "lang2",
];

/// What people call keys, and what QEMU calls them.
const CALLED: &[(&str, &str)] = &[
    ("enter", "ret"),
    ("return", "ret"),
    ("escape", "esc"),
    ("del", "delete"),
    ("ins", "insert"),
    ("space", "spc"),
    ("control", "ctrl"),
    ("win", "meta_l"),
    ("super", "meta_l"),
    ("pageup", "pgup"),
    ("pagedown", "pgdn"),
    ("bksp", "backspace"),
];

/// Signs that are no letters or digits: the sign, the one on the same key with shift, the key.
const SIGNS: &[(char, char, &str)] = &[
    ('`', '~', "grave_accent"),
    ('1', '!', "1"),
    ('2', '@', "2"),
    ('3', '#', "3"),
    ('4', '$', "4"),
    ('5', '%', "5"),
    ('6', '^', "6"),
    ('7', '&', "7"),
    ('8', '*', "8"),
    ('9', '(', "9"),
    ('0', ')', "0"),
    ('-', '_', "minus"),
    ('=', '+', "equal"),
    ('[', '{', "bracket_left"),
    (']', '}', "bracket_right"),
    ('\\', '|', "backslash"),
    (';', ':', "semicolon"),
    ('\'', '"', "apostrophe"),
    (',', '<', "comma"),
    ('.', '>', "dot"),
    ('/', '?', "slash"),
];

/// Whether QEMU has a key of this name; a code (`0x1c`) it takes as it is.
pub(crate) fn is_key(name: &str) -> bool {
    let single = |name: &str| name.len() == 1 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let function = |name: &str| {
        let number = name.strip_prefix('f').filter(|rest| !rest.starts_with('0')).and_then(|rest| rest.parse().ok());
        number.is_some_and(|number: u8| (1..=24).contains(&number))
    };
    let code = |name: &str| {
        let digits = name.strip_prefix("0x").unwrap_or_default();
        !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    single(name) || function(name) || code(name) || NAMES.contains(&name)
}

/// Keys that are pressed at once, as QEMU calls them: `ctrl-alt-delete` for `Ctrl+Alt+Del`.
///
/// # Errors
/// [`Class::Usage`](super::Class::Usage) for a key that there is not, with names like it.
pub fn keys_named(typed: &str) -> Result<String> {
    let named = typed.to_ascii_lowercase().split(['+', '-']).map(str::to_owned).collect::<Vec<_>>();
    let keys = named.into_iter().map(|name| {
        let key = CALLED.iter().find(|(called, _)| *called == name).map_or(name.as_str(), |(_, key)| key);
        if is_key(key) {
            return Ok(key.to_owned());
        }
        let close =
            closest(&name, NAMES.iter().chain(CALLED.iter().map(|(called, _)| called)).map(|name| (*name).to_owned()));
        let error = Error::usage(format!("`{typed}`: there is no key `{name}`")).did_you_mean(close);
        Err(error
            .with_hint(Hint::Text("QEMU's names: a, 1, f2, ret, esc, spc, minus, kp_1, or a code such as 0x1c".into())))
    });
    Ok(keys.collect::<Result<Vec<_>>>()?.join("-"))
}

/// The keys that write a text, one after the other, on a keyboard with American letters.
///
/// # Errors
/// [`Class::Usage`](super::Class::Usage) for a sign that no key of it writes. The text is not repeated, it may be a secret.
pub fn keys_of_text(text: &str) -> Result<Vec<String>> {
    let key = |(place, sign): (usize, char)| match sign {
        'a'..='z' => Ok(sign.to_string()),
        'A'..='Z' => Ok(format!("shift-{}", sign.to_ascii_lowercase())),
        ' ' => Ok("spc".to_owned()),
        '\n' => Ok("ret".to_owned()),
        '\t' => Ok("tab".to_owned()),
        sign => SIGNS
            .iter()
            .find_map(|(plain, shifted, key)| match sign {
                sign if sign == *plain => Some((*key).to_owned()),
                sign if sign == *shifted => Some(format!("shift-{key}")),
                _ => None,
            })
            .ok_or_else(|| {
                Error::usage(format!("sign {} of the text is on no key of an American keyboard", place + 1)).with_hint(
                    Hint::Text(
                        "letters, digits and ASCII signs are; others go in through the guest agent or the console"
                            .into(),
                    ),
                )
            }),
    };
    // Both ends of a line are one key.
    text.replace("\r\n", "\n").chars().enumerate().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_called_as_qemu_does() {
        for (typed, want) in [
            ("ctrl-alt-delete", "ctrl-alt-delete"),
            ("Ctrl+Alt+Del", "ctrl-alt-delete"),
            ("Enter", "ret"),
            ("f2", "f2"),
            ("F24", "f24"),
            ("0x1c", "0x1c"),
            ("win-r", "meta_l-r"),
        ] {
            assert_eq!(keys_named(typed).unwrap(), want);
        }
        for wrong in ["", "f0", "f25", "hello", "ctrl-", "ä", "0x", "0xzz"] {
            assert!(keys_named(wrong).is_err(), "{wrong}");
        }
        assert!(keys_named("entre").unwrap_err().hints().iter().any(|hint| format!("{hint:?}").contains("enter")));
    }

    #[test]
    fn every_sign_of_ascii_has_a_key() {
        let all: String = (' '..='~').collect();
        let keys = keys_of_text(&all).unwrap();
        assert_eq!(keys.len(), 95);
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), 95, "no two signs are one key");
        assert!(keys.iter().all(|key| keys_named(key).unwrap() == *key), "QEMU knows them");
        assert_eq!(keys_of_text("aB-\r\n").unwrap(), ["a", "shift-b", "minus", "ret"]);
        let error = keys_of_text("geheim-ü").unwrap_err();
        assert!(error.message().contains("sign 8") && !error.message().contains("geheim"), "{error}");
    }
}
