//! Parses the result of `KERN_PROCARGS2`: the arguments and the environment that a process was started with.
//!
//! The layout is that of `exec_copyout_strings` (xnu: bsd/kern/kern_exec.c), read by `sysctl_procargsx`
//! (bsd/kern/kern_sysctl.c): the number of arguments, the path of the program, zeros up to the end of a word, then the
//! arguments and the variables, each terminated by a zero, and an empty string after the last one.

/// Returns the value of the variable `name` from the bytes that the kernel returned.
pub(super) fn variable<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (count, rest) = bytes.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path_end = rest.iter().position(|byte| *byte == 0)?;
    let rest = &rest[path_end..];
    let arguments = rest.iter().position(|byte| *byte != 0)?;
    rest[arguments..]
        .split(|byte| *byte == 0)
        .skip(count)
        // The strings after the empty one are for the loader, and are not variables of the program.
        .take_while(|entry| !entry.is_empty())
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Returns whether the `:`-separated list of the variable `name` contains `value`.
pub(super) fn lists(bytes: &[u8], name: &str, value: &str) -> bool {
    variable(bytes, name).is_some_and(|list| {
        list.split(|byte| *byte == b':')
            .any(|item| item == value.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kernel(count: i32, strings: &str) -> Vec<u8> {
        let mut bytes = count.to_ne_bytes().to_vec();
        bytes.extend(strings.bytes());
        bytes
    }

    #[test]
    fn a_variable_is_found_among_the_variables_only() {
        let bytes = of_kernel(
            3,
            "/bin/qemu\0\0\0\0qemu\0MARK=argument\0\0HOME=/h\0MARK=a:bc\0\0LOADER=1\0",
        );
        assert_eq!(variable(&bytes, "MARK"), Some(&b"a:bc"[..]));
        assert_eq!(variable(&bytes, "HOME"), Some(&b"/h"[..]));
        assert_eq!(variable(&bytes, "MAR"), None);
        assert_eq!(variable(&bytes, "LOADER"), None);
        assert!(lists(&bytes, "MARK", "a") && lists(&bytes, "MARK", "bc"));
        assert!(!lists(&bytes, "MARK", "b") && !lists(&bytes, "MARK", "argument"));
    }

    /// The kernel omits the environment of Apple's own programs.
    #[test]
    fn what_the_kernel_left_out_is_no_variable() {
        let hidden = of_kernel(2, "/bin/sleep\0\0sleep\0MARK=a\0\0");
        assert_eq!(variable(&hidden, "MARK"), None);
        for length in 0..hidden.len() {
            assert_eq!(variable(&hidden[..length], "MARK"), None, "{length}");
        }
    }
}
