use super::*;
use proptest::prelude::*;

fn replaced(find: &str, text: &str, with: &str) -> String {
    GoRegex::new(find).unwrap().replace_all(text, &Template::new(with))
}

fn matches(find: &str, text: &str) -> bool {
    GoRegex::new(find).unwrap_or_else(|why| panic!("{find}: {why}")).is_match(text)
}

fn refused(find: &str) -> String {
    GoRegex::new(find).unwrap_err()
}

#[test]
fn templates_are_gos() {
    assert_eq!(replaced("(a+)(b)", "xaabx", "<$2$1>"), "x<baa>x");
    assert_eq!(replaced("(?P<host>[^:]+):(.*)", "nas:/e", "${host}2:$2"), "nas2:/e");
    assert_eq!(replaced("a", "a", "$$1 costs $"), "$1 costs $");
    assert_eq!(replaced("a", "a", "${x $-"), "${x $-");
    let find = GoRegex::new("(a)").unwrap();
    let template = Template::new("$1x ${1}x $0");
    assert_eq!(find.unknown_groups(&template), ["1x"]);
    assert_eq!(find.replace_all("a", &template), " ax a");
    // Empty matches beside a match are none, as in Go.
    assert_eq!(replaced("a*", "baac", "x"), "xbxcx");
}

#[test]
fn classes_are_ascii() {
    assert!(matches(r"^\d$", "7") && !matches(r"^\d$", "٣") && matches(r"^\D$", "٣"));
    assert!(!matches(r"^\w$", "é") && matches(r"^[\W]$", "é") && matches(r"^[^\w]$", "é"));
    assert!(!matches(r"^\s$", "\u{a0}") && !matches(r"^\s$", "\u{b}"));
    // é is no word character, so there is a border between e and it.
    assert!(matches(r"e\b", "eé"));
    assert!(matches(r"\pL\p{Greek}\P{Greek}\p{^Greek}", "xαxx"));
}

#[test]
fn plain_characters_stay_plain() {
    for (find, text) in [
        (r"^[[a]$", "["),
        (r"^[a&&b]$", "&"),
        (r"^[a~~b]$", "~"),
        (r"^[+--]$", ","),
        (r"^[]a]$", "]"),
        (r"^[a-]$", "-"),
        (r"^[a-c-e]$", "-"),
        (r"^a{,5}$", "a{,5}"),
        (r"^a{$", "a{"),
        (r"^a{01}$", "a{01}"),
        (r"^\<\>$", "<>"),
        (r"^\_$", "_"),
        (r"^\Q1.2*\E3$", "1.2*3"),
        (r"^\Qa.b", "a.b"),
        (r"^\101\x41\x{1F600}\0$", "AA😀\0"),
        (r"^]}$", "]}"),
        (r"^a#b c$", "a#b c"),
        (r"^[[:alpha:]-]+$", "a-b"),
        (r"^[\[\]]+$", "[]"),
    ] {
        assert!(matches(find, text), "{find} on {text}");
    }
    assert!(!matches(r"^[a&&b]$", "x") && !matches(r"^[^a&&b]$", "&") && !matches(r"^1\Q.\E2$", "1x2"));
    assert!(!matches(r"a$", "a\n") && !matches(r"^.$", "\n") && matches(r"(?s)^.$", "\n"));
}

#[test]
fn what_go_refuses_is_refused_by_name() {
    for (find, says) in [
        ("a**", "nested repetition"),
        ("a*+", "nested repetition"),
        ("a{2}{3}", "nested repetition"),
        ("a{1001}", "1000"),
        ("(?x)a", "(?x"),
        ("(?u)a", "(?u"),
        ("(?=a)", "look-around"),
        ("(?!a)", "look-around"),
        ("(?<=a)", "look-around"),
        (r"(a)\1", "back-reference"),
        (r"\C", "\\C"),
        (r"\Z", "\\Z"),
        (r"\R", "\\R"),
        (r"a\B", "\\B"),
        (r"a\", "backslash"),
        ("[a", "closing"),
        ("[z-a]", "z-a"),
        ("(a", "unclosed"),
        ("*a", "repetition"),
    ] {
        assert!(refused(find).contains(says), "{find}: {}", refused(find));
    }
}

proptest! {
    #[test]
    fn never_panics(find in ".{0,16}", small in "[a-c\\[\\]\\\\^$(){}|*+?.,0-9&~<>:QEdwsbpP-]{0,16}", with in ".{0,12}", text in ".{0,12}") {
        for find in [find, small] {
            if let Ok(regex) = GoRegex::new(&find) {
                let _ = regex.replace_all(&text, &Template::new(&with));
            }
        }
    }

    /// A literal in `\Q…\E` finds itself and nothing else.
    #[test]
    fn quoted_text_is_itself(text in "[^\\\\]{0,12}", other in "[a-c.*]{0,3}") {
        let regex = GoRegex::new(&format!("^\\Q{text}\\E$")).unwrap();
        prop_assert!(regex.is_match(&text));
        prop_assert_eq!(regex.is_match(&other), text == other);
    }
}
