//! Who is told: read, written and compared.

use config::{Config, Effect, Mail, Notify, NotifyAbout, NotifyFormat, NotifyTo, diff};

fn parsed(text: &str) -> Config {
    let port = "[[port]]\nname = 'lan'\ndevice = 'net_null0'\n";
    Config::parse(&format!("{port}{text}"), "t.toml").unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn all_of_notify_is_written_as_it_was_read_and_each_key_is_a_difference() {
    let plain = parsed("[[notify]]\nfifo = '/run/e'\n");
    let to = NotifyTo::Fifo("/run/e".into());
    let expected = Notify::new(to.clone(), NotifyFormat::Json);
    assert_eq!(plain.notify, [expected]);
    let all = parsed(
        "[[notify]]\nfifo = '/run/e'\nformat = 'keepalived'\nevents = ['vrrp', 'services', 'vrrp']\nuser = 'u'\ngroup = 'g'\n\
         mode = '0640'\nreader = ['/bin/tell', '-v']\nreader_user = 'r'\n[[notify]]\nfile = '/var/e'\n",
    );
    let expected = Notify {
        to,
        format: NotifyFormat::Keepalived,
        events: vec![NotifyAbout::Services, NotifyAbout::Vrrp],
        user: Some("u".into()),
        group: Some("g".into()),
        mode: 0o640,
        reader: vec!["/bin/tell".into(), "-v".into()],
        reader_user: Some("r".into()),
    };
    assert_eq!(
        (plain.notify[0].reads_it(), expected.reads_it()),
        (None, Some("r"))
    );
    assert_eq!(all.notify[0], expected);
    for config in [&plain, &all] {
        let text = config.to_toml();
        let again = Config::parse(&text, "t.toml").unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(again, *config, "{text}");
    }
    let texts: Vec<String> = diff(&plain, &all).into_iter().map(|c| c.text).collect();
    let expected = [
        "notify fifo /run/e: format json -> keepalived",
        "notify fifo /run/e: events [services, vrrp, configuration] -> [services, vrrp]",
        "notify fifo /run/e: user none -> u",
        "notify fifo /run/e: group none -> g",
        "notify fifo /run/e: mode 0600 -> 0640",
        "notify fifo /run/e: reader [] -> [\"/bin/tell\", \"-v\"]",
        "notify fifo /run/e: reader_user none -> r",
        "notify file /var/e: added",
    ];
    assert_eq!(texts, expected);
    let changes = diff(&plain, &all);
    assert!(changes.iter().all(|c| c.effect == Effect::Reload));
    assert_eq!(diff(&all, &all), []);
}

#[test]
fn all_of_mail_is_written_as_it_was_read_and_each_key_is_a_difference() {
    let needed = "from = 'lvs@a.example'\nto = ['me@b.example']\n";
    let plain = parsed(&format!("[mail]\nsmtp_server = 'relay'\n{needed}"));
    let mail = plain.mail.as_ref().expect("a mail");
    assert_eq!(mail.server(), "relay:25");
    assert_eq!(
        (mail.connect_timeout, mail.interval),
        (Mail::CONNECT_TIMEOUT, Mail::INTERVAL)
    );
    assert_eq!(mail.events, [NotifyAbout::Services, NotifyAbout::Vrrp]);
    let all = parsed(
        "[mail]\nsmtp_server = '[2001:db8::25]:587'\nfrom = 'x@a.example'\nto = ['me@b.example', 'you@b.example']\nconnect_timeout = 2.5\n\
         helo_name = 'lb1'\nevents = ['vrrp']\ninterval = 0\n",
    );
    for config in [&plain, &all] {
        let text = config.to_toml();
        let again = Config::parse(&text, "t.toml").unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(again, *config, "{text}");
    }
    let texts: Vec<String> = diff(&plain, &all).into_iter().map(|c| c.text).collect();
    let expected = [
        "mail: smtp_server relay:25 -> [2001:db8::25]:587",
        "mail: from lvs@a.example -> x@a.example",
        "mail: to me@b.example -> me@b.example you@b.example",
        "mail: connect_timeout 30 s -> 2.5 s",
        "mail: helo_name none -> lb1",
        "mail: events [services, vrrp] -> [vrrp]",
        "mail: interval 10 s -> 0 s",
    ];
    assert_eq!(texts, expected);
    assert_eq!(diff(&parsed(""), &all).len(), 1);
    let server = |text: &str| {
        let config = parsed(&format!("[mail]\nsmtp_server = '{text}'\n{needed}"));
        config.mail.expect("a mail").server()
    };
    assert_eq!(server("192.0.2.25"), "192.0.2.25:25");
    assert_eq!(server("2001:db8::25"), "[2001:db8::25]:25");
    assert_eq!(server("mail.example:587"), "mail.example:587");
}

#[test]
fn a_check_that_changes_says_which_keys() {
    let of = |checks: &str| {
        parsed(&format!(
            "addresses = ['10.1.0.1/24']\n[[service]]\nprotocol = 'tcp'\naddress = '192.0.2.10:80'\n{checks}[[service.server]]\naddress = '10.1.0.11:80'\nmethod = 'masq'\n"
        ))
    };
    let texts = |old: &str, new: &str| -> Vec<String> {
        let changes = diff(&of(old), &of(new)).into_iter();
        let texts = changes.map(|c| c.text.replace("service tcp 192.0.2.10:80: ", ""));
        texts.collect()
    };
    let tcp = "[[service.check]]\ntype = 'tcp'\n";
    let said = format!("{tcp}send = \"a\\r\\nb\"\nexpect = 'x'\ndelay_loop = 2\n");
    assert_eq!(
        texts(tcp, &said),
        [
            "check tcp: delay_loop 5 -> 2",
            "check tcp: expect none -> \"x\"",
            "check tcp: send none -> \"a\\r\\nb\""
        ]
    );
    let two = format!("{tcp}{tcp}port = 81\n");
    let other = format!("{tcp}{tcp}port = 82\n");
    assert_eq!(texts(&two, &other), ["check tcp 2: port 81 -> 82"]);
    let all = texts(&two, tcp);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].starts_with("check tcp (")
            && all[0].contains("port = 81")
            && all[0].ends_with("): removed"),
        "{all:?}"
    );
    assert!(!texts("", &said)[0].contains('\n'));
}
