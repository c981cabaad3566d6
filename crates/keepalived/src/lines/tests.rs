use super::*;

fn texts(text: &str, id: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let lines = expand(
        text,
        "/etc/keepalived/k.conf",
        id,
        &mut NoIncludes,
        &mut notes,
    );
    notes.retain(|note| !note.word.starts_with('@'));
    assert_eq!(notes, [], "{text}");
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn comments_go_unless_quoted() {
    assert_eq!(
        texts("! all\n a b # c\n x \"# y!\" z\n q ${_HASH}\n", "n"),
        ["a b", "x \"# y!\" z", "q #"]
    );
}

#[test]
fn conditions_of_the_manual_page() {
    let text = "@main a\n@backup b\n@^main c\n@^backup d\n";
    assert_eq!(texts(text, "main"), ["a", "d"]);
    assert_eq!(texts(text, "backup"), ["b", "c"]);
    assert_eq!(texts(text, "other"), ["c", "d"]);
    let text = "@main $P=240\n@backup $P=200\npriority $P\n$IF=@main\n$IF x\n";
    assert_eq!(texts(text, "main"), ["priority 240", "x"]);
    assert_eq!(texts(text, "backup"), ["priority 200"]);
}

#[test]
fn what_conditions_leave_out_is_said() {
    let said = |text: &str, id: &str| -> Vec<String> {
        let mut notes = Vec::new();
        expand(text, "k.conf", id, &mut NoIncludes, &mut notes);
        notes.iter().map(ToString::to_string).collect()
    };
    let text = "x\n  @high a\n@low b\n@^high c\n";
    assert_eq!(
        said(text, "lb1"),
        [
            "k.conf:2:3: mapped: @high: the configuration id is \"lb1\": 2 lines are left out; `@` lines are for high, low: say which this \
             director is (--id high), unless it is none of them"
        ]
    );
    assert_eq!(
        said(text, "high"),
        ["k.conf:3:1: harmless: @low: the configuration id is \"high\": 2 lines are left out"]
    );
    assert_eq!(
        said("@^high c\n", "high"),
        ["k.conf:1:1: harmless: @^high: the configuration id is \"high\": 1 line is left out"]
    );
    assert_eq!(said("@high a\n@^low b\n", "high"), [""; 0]);
}

#[test]
fn parameters_of_the_manual_page() {
    let text = "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n";
    assert_eq!(texts(text, "n"), ["10.2.0.100/32", "10.2.10.100/32"]);
    assert_eq!(
        texts("a ${UNDEF} $UNDEF\n$_PWD\n", "n"),
        ["a ${UNDEF} $UNDEF", "/etc/keepalived"]
    );
    assert_eq!(texts("$A=1\nx $Ab y${A}z $A\n", "n"), ["x $Ab y1z 1"]);
}

#[test]
fn parameters_of_several_lines_nest() {
    let text = "$RS= \\\n real_server 10.0.${V}.${R} 80 { \\\n weight 1 \\\n } \n$VS= \\\n virtual_server 10.${V}.0.1 80 { \\\n\
                $R=1 \\\n $RS \\\n $R=2 \\\n $RS \\\n }\n$V=7\n$VS\n";
    assert_eq!(
        texts(text, "n"),
        [
            "virtual_server 10.7.0.1 80 {",
            "real_server 10.0.7.1 80 {",
            "weight 1",
            "}",
            "real_server 10.0.7.2 80 {",
            "weight 1",
            "}",
            "}"
        ]
    );
}

#[test]
fn sequences_of_the_manual_page() {
    assert_eq!(
        texts("~SEQ(S, 0, 3) a.${S}.1\n", "n"),
        ["a.0.1", "a.1.1", "a.2.1", "a.3.1"]
    );
    assert_eq!(
        texts("~SEQ(S, 2) a$S\n~SEQ(S, -2) b${S}\n", "n"),
        ["a1", "a2", "b-1", "b-2"]
    );
    assert_eq!(
        texts("~SEQx(S, 0x90, 0x10, 0xc0) fe80::${S}:1\n", "n"),
        ["fe80::90:1", "fe80::a0:1", "fe80::b0:1", "fe80::c0:1"]
    );
    assert_eq!(
        texts("~LST({A, B}, {10,1},{20,4}) ${A}.${B}\n", "n"),
        ["10.1", "20.4"]
    );
    assert_eq!(
        texts("~LST(A, 1, 2) ~LST(B, 5,6) ${A}.${B}\n", "n"),
        ["1.5", "1.6", "2.5", "2.6"]
    );
    assert_eq!(
        texts(
            "~LST({A, B}, {10,1},{20,4}) ~SEQ(C,168,2,170) ${C}.${A}.${B}\n",
            "n"
        ),
        ["168.10.1", "170.10.1", "168.20.4", "170.20.4"]
    );
}

#[test]
fn what_never_ends_is_ended() {
    for text in [
        "$A=${A}${A}\n$A\n",
        "$A= \\\n$A \\\n$A\n$A\n",
        "~SEQ(A,1,9999999) ~SEQ(B,1,9999999) x\n",
        "$A=$B\n$B=$A\nx $A\n",
    ] {
        let mut notes = Vec::new();
        let lines = expand(text, "f", "n", &mut NoIncludes, &mut notes);
        assert!(lines.len() <= LINES);
        assert_eq!(notes.len(), 1, "{text}: {notes:?}");
    }
}

#[test]
fn included_files_have_their_own_names_and_places() {
    struct One;
    impl Loader for One {
        fn load(&mut self, pattern: &str, from: &str) -> Result<Vec<(String, String)>, String> {
            assert_eq!((pattern, from), ("conf.d/*.conf", "f"));
            Ok(vec![("conf.d/a.conf".into(), "\n  x y\n".into())])
        }
    }
    let mut notes = Vec::new();
    let lines = expand(
        "a\ninclude conf.d/*.conf\nb\n",
        "f",
        "n",
        &mut One,
        &mut notes,
    );
    let places: Vec<String> = lines.iter().map(|line| line.place.to_string()).collect();
    assert_eq!(places, ["f:1:1", "conf.d/a.conf:2:3", "f:3:1"]);
    let mut notes = Vec::new();
    expand("include x\n", "f", "n", &mut NoIncludes, &mut notes);
    assert_eq!(notes[0].class, Class::Wrong);
}

#[test]
fn a_file_that_includes_itself_is_read_once() {
    struct Same;
    impl Loader for Same {
        fn load(&mut self, pattern: &str, _: &str) -> Result<Vec<(String, String)>, String> {
            let text = if pattern == "b" {
                "include a\nof b\n"
            } else {
                ""
            };
            Ok(vec![(pattern.to_owned(), text.to_owned())])
        }
    }
    let mut notes = Vec::new();
    let lines = expand(
        "include b\ninclude b\nof a\n",
        "a",
        "n",
        &mut Same,
        &mut notes,
    );
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(
        texts,
        ["of b", "of b", "of a"],
        "twice in turn is no circle"
    );
    let said: Vec<String> = notes.iter().map(ToString::to_string).collect();
    let wanted = "b:1:1: wrong: include: a includes itself so: it is read once, take this line out";
    assert_eq!(said, [wanted, wanted]);
}
