//! Who is told: read, written and compared.

use config::{Config, Effect, Notify, NotifyAbout, NotifyFormat, NotifyTo, diff};

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
         mode = '0640'\n[[notify]]\nfile = '/var/e'\n",
    );
    let expected = Notify {
        to,
        format: NotifyFormat::Keepalived,
        events: vec![NotifyAbout::Services, NotifyAbout::Vrrp],
        user: Some("u".into()),
        group: Some("g".into()),
        mode: 0o640,
    };
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
        "notify file /var/e: added",
    ];
    assert_eq!(texts, expected);
    let changes = diff(&plain, &all);
    assert!(changes.iter().all(|c| c.effect == Effect::Reload));
    assert_eq!(diff(&all, &all), []);
}
