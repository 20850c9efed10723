//! Text from outside, made harmless before a person or a terminal sees it.

use std::fmt::Write as _;

/// Shows `bytes` as text of at most `max` bytes: valid UTF-8 stays, control characters (C0, DEL, C1), bidi
/// controls, zero-width characters and invalid bytes become `\xNN` or `\u{N}`; what is cut ends in `…`.
pub fn escape(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let at = text.len();
            if is_harmful(character) {
                let _ = write!(text, "{}", character.escape_unicode());
            } else {
                text.push(character);
            }
            if cut(&mut text, at, max) {
                return text;
            }
        }
        for byte in chunk.invalid() {
            let at = text.len();
            let _ = write!(text, "\\x{byte:02x}");
            if cut(&mut text, at, max) {
                return text;
            }
        }
    }
    text
}

/// As [`escape`], at most 200 bytes: for one field of one line of a message.
pub fn escape_field(bytes: &[u8]) -> String {
    escape(bytes, 200)
}

/// Whether a character could move the cursor, change colours, hide or reorder text.
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{061c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn cut(text: &mut String, at: usize, max: usize) -> bool {
    if text.len() <= max {
        return false;
    }
    text.truncate(at);
    // The mark must fit too: drop whole characters until it does.
    while text.len() + '…'.len_utf8() > max && text.pop().is_some() {}
    text.push('…');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bidi_and_invalid_bytes_are_spelled_out() {
        assert_eq!(
            escape_field(b"a\x1b]0;x\x07\xff"),
            "a\\u{1b}]0;x\\u{7}\\xff"
        );
        assert_eq!(
            escape_field("x\u{202e}y\u{9b}é".as_bytes()),
            "x\\u{202e}y\\u{9b}é"
        );
    }

    #[test]
    fn the_result_is_never_longer_than_asked() {
        for max in 3..40 {
            let text = escape("aé\u{202e}b😀\n".repeat(20).as_bytes(), max);
            assert!(text.len() <= max && text.ends_with('…'), "{max}: {text}");
        }
        assert_eq!(escape(b"abc", 3), "abc");
    }
}
