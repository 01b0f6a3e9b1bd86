//! Tables as comma-separated values, as spreadsheets and storage tools write them.
//!
//! RFC 4180 with what occurs besides: `;` or tab as separator (taken from the header), a byte order mark, empty lines,
//! lines that start with `#`.

/// A line's number and its values.
pub(crate) type Record = (u64, Vec<String>);

/// All records, the header first.
///
/// # Errors
/// The line and what is wrong in it.
pub(crate) fn read(text: &str) -> Result<Vec<Record>, (u64, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let header = text.lines().find(|line| !skipped(line)).unwrap_or_default();
    let separator = ['\t', ';'].into_iter().find(|c| header.contains(*c)).unwrap_or(',');
    let mut records: Vec<Record> = Vec::new();
    let mut line = 0;
    let mut rest = text;
    while !rest.is_empty() {
        line += 1;
        let this = rest.lines().next().unwrap_or_default();
        if skipped(this) {
            rest = rest
                .get(this.len()..)
                .map_or("", |r| r.strip_prefix("\r\n").or_else(|| r.strip_prefix('\n')).unwrap_or(""));
            continue;
        }
        let (values, left, lines) = record(rest, separator).map_err(|what| (line, what))?;
        if let Some((_, header)) = records.first()
            && values.len() != header.len()
        {
            return Err((line, format!("it has {} values, the header has {}", values.len(), header.len())));
        }
        records.push((line, values));
        line += lines;
        rest = left;
    }
    Ok(records)
}

fn skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// One record, what follows it, and how many line breaks stood in its quotes.
fn record(text: &str, separator: char) -> Result<(Vec<String>, &str, u64), String> {
    let mut values = Vec::new();
    let mut rest = text;
    let mut lines = 0;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        let value;
        if let Some(mut quoted) = trimmed.strip_prefix('"') {
            let mut inner = String::new();
            loop {
                let at = quoted.find('"').ok_or("a quote is not closed")?;
                inner.push_str(&quoted[..at]);
                quoted = &quoted[at + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        inner.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            lines += inner.matches('\n').count() as u64;
            value = inner;
            rest = quoted.trim_start_matches(' ');
        } else {
            let end = rest.find([separator, '\n']).unwrap_or(rest.len());
            value = rest[..end].trim_end_matches('\r').trim().to_owned();
            rest = &rest[end..];
        }
        values.push(value);
        rest = match rest.strip_prefix(separator) {
            Some(more) => more,
            None => {
                let end = rest.trim_start_matches('\r');
                return match end.strip_prefix('\n') {
                    Some(next) => Ok((values, next, lines)),
                    None if end.is_empty() => Ok((values, "", lines)),
                    None => Err("something stands after a closing quote".to_owned()),
                };
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        read(text).unwrap().into_iter().map(|(_, values)| values).collect()
    }

    #[test]
    fn spreadsheets_are_read() {
        assert_eq!(
            rows("\u{feff}east,west\r\na,b\r\n\r\n# note\r\n\"x,\"\"y\",  z \r\n"),
            [["east", "west"], ["a", "b"], ["x,\"y", "z"]]
        );
        assert_eq!(rows("east;west\na;b"), [["east", "west"], ["a", "b"]]);
        assert_eq!(rows("east\twest\na\t b"), [["east", "west"], ["a", "b"]]);
        assert_eq!(read("h,i\n\n\"a\nb\",c\nd,e\n").unwrap()[2].0, 5);
    }

    #[test]
    fn faults_name_their_line() {
        assert_eq!(read("a,b\n1,2\n3\n").unwrap_err().0, 3);
        assert!(read("a,b\n\"1,2\n").unwrap_err().1.contains("quote"));
        assert!(read("a,b\n\"1\"x,2\n").unwrap_err().1.contains("closing"));
        assert_eq!(read("").unwrap(), []);
    }
}
