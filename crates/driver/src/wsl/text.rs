//! The encodings of `wsl.exe`'s output: UTF-16LE, or UTF-8 if the version honours `WSL_UTF8=1`.

/// The variable that requests UTF-8 (WSL 0.64 and later; older versions ignore it).
pub(super) const UTF8: (&str, &str) = ("WSL_UTF8", "1");

/// Decodes text of either encoding, without a byte order mark. Invalid bytes are replaced.
pub(super) fn decode(bytes: &[u8]) -> String {
    const MARK: [u8; 2] = [0xff, 0xfe];
    let (bytes, marked) = match bytes.strip_prefix(&MARK) {
        Some(rest) => (rest, true),
        None => (bytes, false),
    };
    // UTF-16 has zero bytes in every language, at least in line ends and names of distributions; UTF-8 has none.
    if marked || bytes.contains(&0) {
        let units = bytes.chunks_exact(2);
        let units: Vec<u16> = units
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        return String::from_utf16_lossy(&units);
    }
    let text = String::from_utf8_lossy(bytes);
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}

/// Returns the lines that are not empty.
pub(super) fn lines(text: &str) -> Vec<String> {
    // Old versions end lines with "\r\r\n".
    let lines = text.lines().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn both_encodings_are_decoded_with_and_without_a_mark() {
        let text = "rdd-wéb\r\n分发版\r\n";
        let marked = [vec![0xff, 0xfe], utf16(text)].concat();
        for bytes in [
            utf16(text),
            marked,
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into(),
        ] {
            assert_eq!(lines(&decode(&bytes)), ["rdd-wéb", "分发版"]);
        }
        assert_eq!(lines(&decode(&utf16("a\r\r\n\r\r\nb\r\r\n"))), ["a", "b"]);
        assert_eq!(decode(b""), "");
        // Truncated in the middle of a letter.
        assert_eq!(decode(b"a\0b\0c"), "ab");
    }
}
