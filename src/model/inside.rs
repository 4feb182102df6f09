//! What goes into a guest and comes out of it: bytes as the texts of the API, and what a guest's shell is given to do.
//!
//! Values only; who sends them is in `ops`.

/// How many bytes of input one call gives a program in a guest.
pub const INPUT_AT_ONCE: usize = 65_536;

/// How many bytes of a file one call writes: the server takes 61,440 characters, which are base64 here.
pub const WRITTEN_AT_ONCE: usize = 61_440 / 4 * 3;

/// What `sh -c` does with a directory of pieces and a program: the pieces become its standard input. The directory is
/// gone before the program begins.
pub const RUN_WITH_PIECES: &str = "set -e; d=$1; shift; trap 'rm -rf \"$d\"' EXIT; cat \"$d\"/[0-9]* >\"$d/whole\"; \
     exec 3<\"$d/whole\"; rm -rf \"$d\"; trap - EXIT; exec \"$@\" <&3 3<&-";

/// What `sh -c` does with a directory of pieces and a file: the pieces become its content.
pub const JOIN_PIECES: &str = "set -e; trap 'rm -rf \"$1\"' EXIT; cat \"$1\"/[0-9]* >\"$2\"";

/// Bytes as the server takes and gives those of a program in a guest: each a character of its own. It has no idea of
/// their encoding and would make two bytes of some characters.
pub fn text_of_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes that such a text stands for. One with other characters in it is a text indeed.
pub fn bytes_of_text(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|sign| u8::try_from(u32::from(sign)).ok()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back_as_they_went(bytes: Vec<u8>) {
            prop_assert_eq!(bytes_of_text(&text_of_bytes(&bytes)), bytes);
        }
    }

    #[test]
    fn a_text_that_no_bytes_make_is_taken_at_its_word() {
        assert_eq!(bytes_of_text("a€"), "a€".as_bytes());
        assert_eq!(bytes_of_text("\u{c3}\u{bc}"), "ü".as_bytes());
    }
}
