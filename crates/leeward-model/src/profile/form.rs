//! How parts stand in a text: `{version:4x}-{cluster:lenhex}-{pool:16x}-{image}`.
//!
//! Laws: what [`Form::read`] reads, [`Form::write`] writes again byte for byte; what `write` writes, `read` reads as the
//! same parts. A text or a value for which that would not hold does not have the form.

use std::fmt;

/// A text with parts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    Part { name: String, codec: Codec },
}

/// How a part is spelled in its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// Up to the first occurrence of what follows.
    Plain,
    /// As much as leaves a rest that fits.
    Greedy,
    /// Exactly so many hexadecimal digits, lower case; the part is the decimal number.
    FixedHex(usize),
    /// Four hexadecimal digits with the length in bytes, a hyphen, the bytes (ceph-csi).
    LengthHex,
    /// Decimal digits without leading zeros.
    Decimal,
    /// Hexadecimal digits as written.
    Hex,
    /// 8-4-4-4-12 hexadecimal digits, as written.
    Uuid,
    /// Everything, also nothing.
    Rest,
}

impl Form {
    /// Reads the form itself.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let doubled = |brace| rest[at..].starts_with(brace);
            if doubled("{{") || doubled("}}") {
                literal.push_str(&rest[at..=at]);
                rest = &rest[at + 2..];
                continue;
            }
            let end = rest[at..].find('}').filter(|_| rest[at..].starts_with('{'));
            let end = at + end.ok_or("a brace stands alone; write {{ or }} for a brace itself")?;
            let (name, codec) = rest[at + 1..end].split_once(':').unwrap_or((&rest[at + 1..end], ""));
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(format!("{name:?} is no name of a part; it has letters and digits"));
            }
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(&mut literal)));
            }
            tokens.push(Token::Part { name: name.to_owned(), codec: Codec::parse(codec)? });
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        for pair in tokens.windows(2) {
            if let [Token::Part { name, codec }, Token::Part { name: next, .. }] = pair
                && !matches!(codec, Codec::FixedHex(_) | Codec::LengthHex | Codec::Uuid)
            {
                return Err(format!("nothing says where {{{name}}} ends and {{{next}}} begins"));
            }
            if let [Token::Part { name, codec: Codec::Rest }, _] = pair {
                return Err(format!("{{{name}:rest}} must be the last part"));
            }
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The names of the parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Part { name, .. } => Some(name.as_str()),
            Token::Literal(_) => None,
        })
    }

    /// The parts of `text`; `None` if it does not have this form.
    pub(crate) fn read<'a>(&'a self, text: &str) -> Option<Vec<(&'a str, String)>> {
        let mut found: Vec<(&str, String)> = Vec::new();
        self.follow(0, text, &mut found).then_some(found)
    }

    /// Reads from the token `at` on. A greedy part gives back what the rest needs.
    fn follow<'a>(&'a self, at: usize, text: &str, found: &mut Vec<(&'a str, String)>) -> bool {
        let (name, codec) = match self.tokens.get(at) {
            None => return text.is_empty(),
            Some(Token::Literal(literal)) => {
                return text.strip_prefix(literal.as_str()).is_some_and(|rest| self.follow(at + 1, rest, found));
            }
            Some(Token::Part { name, codec }) => (name, *codec),
        };
        let follows = match self.tokens.get(at + 1) {
            Some(Token::Literal(literal)) => Some(literal.as_str()),
            _ => None,
        };
        let ends: Vec<usize> = match (codec, follows) {
            (Codec::Greedy, Some(literal)) => text.rmatch_indices(literal).map(|(end, _)| end).collect(),
            _ => codec.end(text, follows).into_iter().collect(),
        };
        for end in ends {
            let Some((head, rest)) = text.split_at_checked(end) else { continue };
            let Some(value) = codec.decode(head) else { continue };
            if found.iter().any(|(known, other)| known == name && *other != value) {
                continue;
            }
            found.push((name, value));
            if self.follow(at + 1, rest, found) {
                return true;
            }
            found.pop();
        }
        false
    }

    /// The text of these parts.
    ///
    /// # Errors
    /// Which part is missing or cannot be spelled in this form.
    pub(crate) fn write<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Result<String, String> {
        if let Some(missing) = self.parts().find(|name| value(name).is_none()) {
            return Err(format!("its form {:?} needs {missing}", self.text));
        }
        let written = self.spell(&value);
        let reads_back = |text: &String| {
            self.read(text).is_some_and(|parts| parts.iter().all(|(name, read)| value(name) == Some(read.as_str())))
        };
        written.filter(reads_back).ok_or_else(|| {
            let parts: Vec<_> =
                self.parts().map(|name| format!("{name} {:?}", value(name).unwrap_or_default())).collect();
            format!("{} cannot be written in its form {:?}", parts.join(", "), self.text)
        })
    }

    fn spell<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Part { name, codec } => text.push_str(&codec.write(value(name)?)?),
            }
        }
        Some(text)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Codec {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => Self::Plain,
            "greedy" => Self::Greedy,
            "lenhex" => Self::LengthHex,
            "dec" => Self::Decimal,
            "hex" => Self::Hex,
            "rest" => Self::Rest,
            "uuid" => Self::Uuid,
            _ => match text.strip_suffix('x').and_then(|digits| digits.parse().ok()) {
                Some(digits @ 1..=16) => Self::FixedHex(digits),
                _ => {
                    return Err(format!(
                        "{text:?} is no codec; known are greedy, dec, hex, 4x, 16x, lenhex, uuid and rest"
                    ));
                }
            },
        })
    }

    /// Where the part at the start of `text` ends.
    fn end(self, text: &str, follows: Option<&str>) -> Option<usize> {
        match (self, follows) {
            (Self::FixedHex(digits), _) => Some(digits),
            (Self::Uuid, _) => Some(36),
            (Self::LengthHex, _) => usize::from_str_radix(text.get(..4)?, 16).ok().map(|length| length + 5),
            (Self::Rest, _) | (_, None) => Some(text.len()),
            (_, Some(literal)) => text.find(literal),
        }
    }

    /// The value of a spelling; `None` if it is none, or not the one that [`Self::write`] gives.
    fn decode(self, text: &str) -> Option<String> {
        let value = match self {
            Self::FixedHex(_) => u64::from_str_radix(text, 16).ok()?.to_string(),
            Self::LengthHex => text.get(5..)?.to_owned(),
            _ => text.to_owned(),
        };
        (self.write(&value).as_deref() == Some(text)).then_some(value)
    }

    /// The spelling of a value; `None` if it has none.
    fn write(self, value: &str) -> Option<String> {
        let all = |ok: fn(char) -> bool| !value.is_empty() && value.chars().all(ok);
        match self {
            Self::Plain | Self::Greedy => (!value.is_empty()).then(|| value.to_owned()),
            Self::Rest => Some(value.to_owned()),
            Self::Decimal => {
                (all(|c| c.is_ascii_digit()) && (value == "0" || !value.starts_with('0'))).then(|| value.to_owned())
            }
            Self::Uuid => {
                let groups: Vec<&str> = value.split('-').collect();
                let hex = |group: &&str| group.chars().all(|c| c.is_ascii_hexdigit());
                let shaped = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
                (shaped && groups.iter().all(hex)).then(|| value.to_owned())
            }
            Self::Hex => all(|c| c.is_ascii_hexdigit()).then(|| value.to_owned()),
            Self::FixedHex(digits) => {
                let number: u64 = Self::Decimal.write(value)?.parse().ok()?;
                let text = format!("{number:0digits$x}");
                (text.len() == digits).then_some(text)
            }
            Self::LengthHex => (value.len() <= 0xffff).then(|| format!("{:04x}-{value}", value.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(form: &str, text: &str) -> Option<Vec<String>> {
        let form = Form::parse(form).unwrap();
        form.read(text).map(|parts| parts.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    const CEPH: &str = "{version:4x}-{cluster:lenhex}-{pool:16x}-{image}";

    #[test]
    fn reads_what_ceph_csi_writes() {
        let handle = "0001-0009-rook-ceph-0000000000000002-b0285c97-a0ce-11eb-8c66-0242ac110002";
        let parts = ["version=1", "cluster=rook-ceph", "pool=2", "image=b0285c97-a0ce-11eb-8c66-0242ac110002"];
        assert_eq!(read(CEPH, handle).unwrap(), parts);
        // a length that is not the name's, too few digits, upper case
        for wrong in
            ["0001-0008-rook-ceph-0000000000000002-x", "0001-0009-rook-ceph-2-x", "0001-0001-a-000000000000000A-x"]
        {
            assert_eq!(read(CEPH, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn separators_first_and_last() {
        assert_eq!(read("{a}/{b}", "x/y/z").unwrap(), ["a=x", "b=y/z"]);
        assert_eq!(read("{a:greedy}/{b}", "x/y/z").unwrap(), ["a=x/y", "b=z"]);
        assert_eq!(read("{a:greedy}-{b:hex}-{c:hex}", "a-vol-1f-2e").unwrap(), ["a=a-vol", "b=1f", "c=2e"]);
        assert_eq!(read("{a:greedy}-{b:hex}-{c:hex}", "a-vol-xx-2e"), None);
        assert_eq!(read("{a}/", "x"), None);
        assert_eq!(read("{a}", ""), None);
        assert_eq!(read("x{a:rest}", "x").unwrap(), ["a="]);
        assert_eq!(read("{{{a}}}", "{x}").unwrap(), ["a=x"]);
        assert_eq!(read("{a}-{a}", "x-x").unwrap().len(), 2);
        assert_eq!(read("{a}-{a}", "x-y"), None);
        assert_eq!(read("{a:dec}", "07"), None);
        let uuid = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
        assert_eq!(read("{a:uuid}", uuid).unwrap().len(), 1);
        assert_eq!(read("{a:uuid}", "3f2504e0-4f89-11d3-9a0c-0305e82c330"), None);
        assert_eq!(read("{a:greedy}-{b:uuid}", &format!("x-y-{uuid}")).unwrap()[0], "a=x-y");
    }

    #[test]
    fn a_value_that_would_read_as_another_is_refused() {
        let form = Form::parse("{a}/{b}").unwrap();
        let put = |a: &'static str, b: &'static str| form.write(move |name| Some(if name == "a" { a } else { b }));
        assert_eq!(put("x", "y").unwrap(), "x/y");
        assert!(put("x/z", "y").unwrap_err().contains("a \"x/z\""));
        assert!(form.write(|name| (name == "a").then_some("x")).unwrap_err().contains("needs b"));
        let long = Form::parse("{n:4x}").unwrap();
        assert!(long.write(|_| Some("65536")).is_err());
    }

    #[test]
    fn forms_that_are_none() {
        for (form, says) in [
            ("{a", "alone"),
            ("a}", "alone"),
            ("{a}{b}", "ends"),
            ("{a:7}", "codec"),
            ("{a b}", "name"),
            ("{a:rest}/", "last"),
        ] {
            assert!(Form::parse(form).unwrap_err().contains(says), "{form}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a in ".{0,9}", b in ".{0,9}", n in any::<u64>(), form in prop::sample::select(vec![
            "{a}/{b}", "{a:greedy}:{b}", "{n:16x}{a:lenhex}-{b:rest}", "x{a}", "{n:dec}#{a}#{b}",
        ])) {
            let form = Form::parse(form).unwrap();
            let n = n.to_string();
            let value = |name: &str| Some(match name { "a" => a.as_str(), "b" => b.as_str(), _ => n.as_str() });
            if let Ok(text) = form.write(value) {
                for (name, read) in form.read(&text).unwrap() {
                    prop_assert_eq!(value(name), Some(read.as_str()));
                }
            }
        }

        #[test]
        fn reading_never_panics(form in "[{}:a-b4xlenhexgrdy/ -]{0,20}", text in ".{0,20}") {
            if let Ok(form) = Form::parse(&form) {
                let _ = form.read(&text);
            }
        }
    }
}
