//! Scripts that run at a file server, and the words they are given.
//!
//! Laws: a script's arguments reach it byte for byte, whatever they hold; a script that arrives only in part does nothing;
//! a script whose sender is gone ends, with all it started.
//!
//! Arguments travel inside the script (`set -- …`), not on the command line. So it does not matter whether the control
//! command joins its arguments and hands them to a shell, as ssh does, or not, as `ip netns exec` does; and there is no
//! limit on their length.

/// What every script may use; see there.
const LIBRARY: &str = include_str!("scripts/library.sh");
/// What runs the script and guards it.
const GUARD: &str = include_str!("scripts/guard.sh");

/// A word that holds a NUL character, which no Unix name can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NulInWord;

/// `word` as a POSIX shell reads it back unchanged.
pub(super) fn quote(word: &str) -> Result<String, NulInWord> {
    if word.contains('\0') {
        return Err(NulInWord);
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// The complete text to send to `sh -s`.
pub(super) fn compose(script: &str, words: &[&str]) -> Result<String, NulInWord> {
    let mut text = String::from("set --");
    for word in words {
        text.push(' ');
        text.push_str(&quote(word)?);
    }
    // The body is a function so that nothing of it runs before its last line has arrived.
    for part in ["\n", LIBRARY, "\nmain() {\n", script, "\n}\n", GUARD] {
        text.push_str(part);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        io::{Read, Write},
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    const ECHO: &str = r#"[ $# = 0 ] || printf '%s\0' "$@""#;

    /// Exit code and stdout; `live`: whether the sender stays until the script has ended.
    fn sh(text: &str, live: bool) -> (Option<i32>, Vec<u8>) {
        let mut command = Command::new("sh");
        command.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take();
        stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        stdin = stdin.filter(|_| live);
        let mut out = Vec::new();
        child.stdout.as_mut().unwrap().read_to_end(&mut out).unwrap();
        let code = child.wait().unwrap().code();
        drop(stdin);
        (code, out)
    }

    fn echoed(words: &[&str]) -> Vec<u8> {
        let (code, out) = sh(&compose(ECHO, words).unwrap(), true);
        assert_eq!(code, Some(0));
        out
    }

    #[test]
    fn hostile_words_arrive_unchanged() {
        let words = [
            "",
            " ",
            "'",
            "''",
            "\"",
            "\\",
            "\\n",
            "a\nb",
            "\n",
            "$(touch /tmp/x)",
            "`id`",
            "$HOME",
            "${IFS}",
            "*",
            "?",
            "~",
            "-n",
            "--",
            "; rm -rf /",
            "&",
            "|",
            ">x",
            "#",
            "!",
            "%s",
            "ü€\u{202e}",
            "a'b'$(c)\"d\\",
            "\r",
            "\t",
            "'\\''",
        ];
        let expected: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
        assert_eq!(echoed(&words), expected);
        assert_eq!(quote("a\0b"), Err(NulInWord));
    }

    #[test]
    fn half_a_script_does_nothing() {
        let whole = compose("printf done", &[]).unwrap();
        assert_eq!(sh(&whole, true).1, b"done");
        let end = whole.rfind("main \"$@\"").unwrap();
        for cut in [end, whole.find("printf done").unwrap() + 11] {
            assert_eq!(sh(&whole[..cut], false).1, b"");
        }
    }

    #[test]
    fn a_failing_command_fails_the_script() {
        assert_eq!(sh(&compose("false\nprintf on", &[]).unwrap(), true), (Some(1), vec![]));
    }

    #[test]
    fn a_script_ends_with_its_sender() {
        let began = std::time::Instant::now();
        let (code, out) = sh(&compose("sleep 60\nprintf on", &[]).unwrap(), false);
        assert_eq!((code, out), (None, vec![]));
        assert!(began.elapsed() < std::time::Duration::from_secs(30));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_words_arrive_unchanged(words in proptest::collection::vec("[^\0]{0,40}", 0..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let expected: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
            prop_assert_eq!(echoed(&words), expected);
        }
    }
}
