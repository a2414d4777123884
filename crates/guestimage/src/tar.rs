//! Writes a tar archive (POSIX ustar) of files that all belong to root, whoever runs the build.

/// The longest path; the format has a way for longer ones that we do not need.
const NAME_LIMIT: usize = 100;
const BLOCK: usize = 512;

/// An archive in memory.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.entry(&format!("{path}/"), mode, b'5', "", &[]);
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, mode, b'0', "", content);
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, 0o777, b'2', target, &[]);
    }

    /// The archive with its end mark.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, target: &str, content: &[u8]) {
        debug_assert!(
            path.len() <= NAME_LIMIT && target.len() <= NAME_LIMIT,
            "{path} is too long for ustar"
        );
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        // The time of the files is of no use; a fixed one makes equal builds equal.
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(265, b"root");
        put(297, b"root");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use process::command::Run;
    use std::time::Duration;

    #[test]
    fn tar_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.folder("etc", 0o755);
        archive.file("etc/a file", 0o640, &[b'x'; 513]);
        archive.link("etc/off.service", "/dev/null");
        let output = Run::new("tar", Duration::from_secs(30))
            .args(["--list", "--verbose", "--numeric-owner", "--file=-"])
            .env("TZ", "UTC")
            .input(archive.finish())
            .run()
            .unwrap();
        let lines: Vec<String> = output
            .text()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
                "-rw-r----- 0/0 513 1970-01-01 00:00 etc/a file",
                "lrwxrwxrwx 0/0 0 1970-01-01 00:00 etc/off.service -> /dev/null",
            ]
        );
    }
}
