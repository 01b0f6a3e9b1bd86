//! What the host tells the guest: `lw.vm=db lw.site=east lw.interval=200` on the kernel command line.

use std::{fs, io, time::Duration};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// Name of this virtual machine.
    pub(crate) vm: String,
    /// Site it runs at.
    pub(crate) site: String,
    /// Time between two records on one disk (`lw.interval`, milliseconds; 200 if it is not there).
    pub(crate) interval: Duration,
}

impl CommandLine {
    pub(crate) fn read() -> io::Result<CommandLine> {
        let text = fs::read_to_string("/proc/cmdline")?;
        CommandLine::parse(&text).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))
    }

    fn parse(text: &str) -> Result<CommandLine, String> {
        let find = |key: &str| {
            text.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).filter(|v| !v.is_empty())
        };
        let need = |key: &str| find(key).map(str::to_owned).ok_or(format!("the kernel command line lacks {key}="));
        let interval = match find("lw.interval") {
            Some(text) => text.parse().map_err(|_| format!("lw.interval is not a number of milliseconds: {text}"))?,
            None => 200,
        };
        Ok(CommandLine { vm: need("lw.vm")?, site: need("lw.site")?, interval: Duration::from_millis(interval) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_concerns_it() {
        let line = CommandLine::parse("console=ttyS0 quiet lw.vm=db lw.site=east panic=-1 lw.interval=50\n");
        let expected = CommandLine { vm: "db".into(), site: "east".into(), interval: Duration::from_millis(50) };
        assert_eq!(line, Ok(expected));
        assert_eq!(CommandLine::parse("lw.vm=a lw.site=b").unwrap().interval, Duration::from_millis(200));
    }

    #[test]
    fn says_what_is_missing() {
        assert!(CommandLine::parse("lw.vm= lw.site=east").unwrap_err().contains("lw.vm"));
        assert!(CommandLine::parse("lw.vm=a lw.site=b lw.interval=x").unwrap_err().contains("lw.interval"));
    }
}
