use super::*;

const TABLE: &str = r#"# /srv/vm *(rw)
/home	-sync,rw  pc1  pc2(ro)
/srv/vm 10.0.0.0/24(rw,no_root_squash,sync) \
	[a-c]?.example.org(ro,rw) \
        @nodes  # the nodes (rw) \
"/srv/a b"   -rw,sync 10.0.0.1 -ro 10.0.0.2
  /srv/vm/   2001:db8::/64(sec=krb5,rw,sec=sys,ro) gss/krb5(rw) *
/srv/ro *(ro)
/srv/all -rw
/srv/\164ail (sync,rw)"#;

fn exported(path: &str) -> Exported<'_> {
    Exported { path, real: &|path: &str| path.replace("/link", "/srv") }
}

fn ro(text: &str, path: &str) -> Result<String, ExportsError> {
    read_only(text, exported(path))
}

fn rw(text: &str, path: &str) -> Result<String, ExportsError> {
    read_write(text, exported(path))
}

#[test]
fn only_the_one_path_becomes_read_only() {
    let edited = ro(TABLE, "/srv/vm").unwrap();
    let expected = r#"# /srv/vm *(rw)
/home	-sync,rw  pc1  pc2(ro)
# leeward-was /srv/vm 10.0.0.0/24(rw,no_root_squash,sync) \
# leeward-was 	[a-c]?.example.org(ro,rw) \
# leeward-was         @nodes  # the nodes (rw) \
/srv/vm 10.0.0.0/24(ro,no_root_squash,sync) \
	[a-c]?.example.org(ro,ro) \
        @nodes  # the nodes (rw) \
"/srv/a b"   -rw,sync 10.0.0.1 -ro 10.0.0.2
# leeward-was   /srv/vm/   2001:db8::/64(sec=krb5,rw,sec=sys,ro) gss/krb5(rw) *
  /srv/vm/   2001:db8::/64(sec=krb5,ro,sec=sys,ro) gss/krb5(ro) *
/srv/ro *(ro)
/srv/all -rw
/srv/\164ail (sync,rw)"#;
    assert_eq!(edited, expected);
    let quoted = ro(TABLE, "/srv/a b").unwrap();
    assert!(quoted.contains("\n\"/srv/a b\"   -ro,sync 10.0.0.1 -ro 10.0.0.2\n"), "{quoted}");
    assert!(ro(TABLE, "/srv/all").unwrap().contains("\n/srv/all -ro\n"), "options without a client are everybody's");
    assert!(ro(TABLE, "/link/tail").unwrap().ends_with("(sync,rw)\n/srv/\\164ail (sync,ro)"), "links are followed");
}

#[test]
fn read_write_undoes_it_to_the_byte() {
    for path in ["/srv/vm", "/srv/a b", "/srv/all", "/srv/tail", "/home"] {
        let fenced = ro(TABLE, path).unwrap();
        assert_ne!(fenced, TABLE);
        assert_eq!(ro(&fenced, path).unwrap(), fenced, "twice is once");
        let back = rw(&fenced, path).unwrap();
        assert_eq!(back, TABLE);
        assert_eq!(rw(&back, path).unwrap(), TABLE, "nothing to undo");
    }
    let both = ro(&ro(TABLE, "/srv/vm").unwrap(), "/srv/all").unwrap();
    assert_eq!(rw(&rw(&both, "/srv/vm").unwrap(), "/srv/all").unwrap(), TABLE);
}

#[test]
fn a_fence_that_is_not_ours_is_not_taken_away() {
    assert_eq!(ro(TABLE, "/srv/ro").unwrap(), TABLE);
    assert_eq!(rw(TABLE, "/srv/ro"), Err(ExportsError::ByHand("/srv/ro".into())));
    // Somebody let a client in again, or another one: what is to be undone is not known any more.
    let fenced = ro("/a h(rw) i(rw)\n", "/a").unwrap();
    let opened = fenced.replace("\n/a h(ro)", "\n/a h(rw)");
    assert_eq!(ro(&opened, "/a"), Err(ExportsError::Changed(2)));
    assert_eq!(rw(&opened, "/a"), Err(ExportsError::Changed(2)));
    let closed = fenced.replace(" i(ro)", "");
    assert_eq!(ro(&closed, "/a").unwrap(), closed);
    assert_eq!(rw(&closed, "/a"), Err(ExportsError::Changed(2)));
}

#[test]
fn what_is_not_plain_is_not_edited() {
    assert_eq!(ro(TABLE, "/srv/none"), Err(ExportsError::NoEntry("/srv/none".into())));
    assert_eq!(rw("", "/srv/none"), Err(ExportsError::NoEntry("/srv/none".into())));
    for word in ["h(r\\167)", "\"h(ro, rw)\"", "h#(rw)", "h(rw)x", "h(rw", "h)", "h(rw)(ro)", "-(rw)", "h(\"rw\")"] {
        let said = ro(&format!("# \n/a i(rw) {word}\n"), "/a");
        assert_eq!(said, Err(ExportsError::Word { line: 2, word: word.into() }));
        // Elsewhere it is nobody's business.
        assert!(ro(&format!("/b {word}\n/a h(rw)"), "/a").is_ok(), "{word}");
    }
    assert_eq!(ro("\n/a \"h\n(rw)\"", "/a"), Err(ExportsError::Quote(2)));
    assert_eq!(ro("/a \"h", "/a"), Err(ExportsError::Quote(1)));
    assert_eq!(ro("/a \"h \\\n (rw)\"", "/a"), Err(ExportsError::Quote(1)));
    assert_eq!(ro("/a h(rw)\r\n", "/a"), Err(ExportsError::Control(1)));
    assert_eq!(ro("/a \\\n\\\n h(rw)\\\n", "/a").unwrap().matches(WAS).count(), 3);
}

#[test]
fn another_way_to_write_there_is_found() {
    for (entry, path) in [("/srv h(rw)", "/srv"), ("/srv/vm/x -r\\167 h", "/srv/vm/x"), ("/ \"h(ro, rw)\"", "/")] {
        let text = format!("/srv/vm h(rw)\n{entry}\n");
        let said = ro(&text, "/srv/vm");
        let expected = ExportsError::Overlap { line: 2, path: path.into(), export: "/srv/vm".into() };
        assert_eq!(said, Err(expected.clone()));
        assert_eq!(elsewhere(&format!("\n{entry}"), exported("/srv/vm")), Err(expected));
    }
    assert!(elsewhere("/srv/vm h(rw)", exported("/srv/vm")).is_err());
    assert_eq!(elsewhere("/srv h(ro)\n/srv/vm2 h(rw)\n/srv/vm h", exported("/srv/vm")), Ok(()));
}

#[test]
fn octal_numbers_are_read_as_exportfs_reads_them() {
    for (word, read) in
        [("/a\\040b", "/a b"), ("\"/a b\"", "/a b"), ("/a\\134040b", "/a b"), ("/\\777", "/\\777"), ("/\\08", "/\\08")]
    {
        assert_eq!(understood(word), read);
    }
}

proptest::proptest! {
    /// Whatever stands in a table: if it is edited, nobody writes, and the edit can be undone.
    #[test]
    fn any_table_that_is_edited_can_be_undone(lines in proptest::collection::vec(
        "(/a|/b|# x|\"/a\"|  /\\\\141|\t)( |\t| \\\\\n )(-sync,rw|h\\(rw\\)|h\\(ro,rw,sync\\) i|\\(rw\\)|h|# \\(rw\\)|h\\(ro\\))( ?)(\\\\\n)?( # c ?\\\\?)?", 0..5,
    ), end: bool) {
        let text = lines.join("\n") + if end { "\n" } else { "" };
        if let Ok(fenced) = ro(&text, "/a") {
            proptest::prop_assert!(of(&fenced, exported("/a")).unwrap().iter().all(|entry| !entry.is_writable(&fenced)));
            proptest::prop_assert_eq!(ro(&fenced, "/a").unwrap(), fenced.clone());
            if fenced != text {
                proptest::prop_assert_eq!(rw(&fenced, "/a").unwrap(), text);
            }
        }
    }
}
