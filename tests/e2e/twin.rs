//! The configuration of two directors: edits by ipvsadm on the master reach the backup, and what was edited on both is named, not lost.

use crate::{
    lab::{Lab, clients, router::Router, run, runner::Case},
    takeover::{NODES, VIP, becomes, file},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("twin::edits_reach_the_backup", between_tarponds),
        Case::new("twin::who_has_another_key_is_not_heard", another_key),
    ]
}

fn key(lab: &Lab, name: &str, digits: &str) -> Result<PathBuf> {
    let path = lab.dir.join(name);
    fs::write(&path, format!("{}\n", digits.repeat(32)))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

/// The file of [`file`], with a way to the host's stack on the inside, and the other director.
fn paired(lab: &Lab, node: usize, priority: u8, key: &Path) -> Result<String> {
    let text = file(lab, node, priority);
    let at = text.rfind("host = false").context("a port without a TAP")?;
    let (before, after) = text.split_at(at);
    Ok(format!(
        "{before}host = true{}[twin]\npeer = \"10.1.0.{}\"\nkey_file = \"{}\"\n",
        after.trim_start_matches("host = false"),
        3 - node,
        key.display()
    ))
}

fn says(router: &Router<'_>, wanted: &str) -> Result<()> {
    let mut last = String::new();
    run::until(
        &format!("`tarpon twin` does not say {wanted:?}"),
        20,
        || {
            last = router.tarpon("twin")?;
            Ok(last.contains(wanted))
        },
    )
    .with_context(|| format!("{last}\n{}", router.log_tail(15)))
}

fn same(one: &Router<'_>, two: &Router<'_>) -> Result<String> {
    let rules = |router: &Router<'_>| router.tarpon("ipvsadm -S -n");
    let mut both = (String::new(), String::new());
    run::until("the two do not have the same services", 20, || {
        both = (rules(one)?, rules(two)?);
        Ok(both.0 == both.1)
    })
    .with_context(|| format!("{both:#?}\n{}", two.log_tail(15)))?;
    Ok(both.0)
}

fn between_tarponds() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let key = key(&lab, "key", "5a")?;
    let texts = [paired(&lab, 0, 220, &key)?, paired(&lab, 1, 200, &key)?];
    let one = Router::start_on(&lab, NODES[0], &texts[0])?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &texts[1])?;
    becomes(&two, "backup")?;
    says(&one, "both have the same")?;
    says(&two, "both have the same")?;

    one.tarpon(&format!("ipvsadm -A -t {VIP}:8080 -s wrr"))?;
    one.tarpon(&format!(
        "ipvsadm -a -t {VIP}:8080 -r 10.1.0.12:8080 -m -w 5"
    ))?;
    one.tarpon(&format!("ipvsadm -e -t {VIP}:80 -r 10.1.0.11:8080 -m -w 0"))?;
    let wanted = format!("-a -t {VIP}:8080 -r 10.1.0.12:8080 -m -w 5");
    let mut rules = String::new();
    run::until("an edit does not arrive", 20, || {
        rules = same(&one, &two)?;
        Ok(rules.contains(&wanted))
    })?;
    says(&two, "both have the same")?;
    says(&one, "both have the same")?;
    println!("{}", one.tarpon("twin")?);
    // What is of a node stays its own.
    let routers: Vec<api::Vrrp> = two.ask("vrrp")?;
    ensure!(routers.iter().all(|v| v.priority == 200), "{routers:?}");
    ensure!(
        two.tarpon("diff")?
            .contains(&format!("service tcp {VIP}:8080: added"))
    );
    let events = two.tarpon("events")?;
    let wanted = format!("service tcp {VIP}:8080: added (the other director, router (10.1.0.2))");
    ensure!(events.contains(&wanted), "{wanted:?} is not in:\n{events}");

    // Edited on the backup first, and then on the master: both are told, neither is lost.
    two.tarpon(&format!("ipvsadm -E -t {VIP}:80 -s sed"))?;
    says(&one, "the other one has the later version")?;
    one.tarpon(&format!("ipvsadm -E -t {VIP}:80 -s lc"))?;
    says(&one, "both were edited since generation")?;
    let refused = one.cli("twin push")?;
    let about = format!("service tcp {VIP}:80");
    ensure!(
        refused.code == Some(1)
            && refused.stderr.contains(&about)
            && refused.stdout.contains("sed"),
        "{refused:?}"
    );
    let differs = two.cli("twin diff")?;
    ensure!(
        differs.code == Some(1) && differs.stdout == format!("{about}: scheduler sed -> lc\n"),
        "{differs:?}"
    );
    let pulled = two.cli("twin pull")?;
    ensure!(
        pulled.code == Some(1) && pulled.stderr.contains(&about),
        "{pulled:?}"
    );
    ensure!(
        two.tarpon("ipvsadm -S -n")?.contains("-s sed"),
        "it was lost"
    );
    let pushed = one.tarpon("twin push --force")?;
    ensure!(
        pushed == format!("{about}: scheduler sed -> lc\n"),
        "{pushed}"
    );
    ensure!(same(&one, &two)?.contains(&format!("-A -t {VIP}:80 -s lc")));
    says(&one, "both have the same")?;

    // One that starts with its old file is brought up to date.
    two.stop()?;
    one.tarpon(&format!("ipvsadm -A -t {VIP}:81 -s rr"))?;
    let two = Router::start_on(&lab, NODES[1], &texts[1])?;
    becomes(&two, "backup")?;
    run::until("the old file stays in force", 20, || {
        Ok(same(&one, &two)?.contains(&format!("{VIP}:81")))
    })?;

    // After a takeover the other one sends; its clients are served by what was edited before.
    says(&two, "both have the same")?;
    one.tarpon("failover lvs")?;
    becomes(&two, "master")?;
    becomes(&one, "backup")?;
    clients::get(&lab, &format!("{VIP}:8080"), "")?;
    two.tarpon(&format!("ipvsadm -D -t {VIP}:81"))?;
    run::until("a removed service stays", 20, || {
        Ok(!same(&one, &two)?.contains(&format!("{VIP}:81")))
    })?;
    two.stop()?;
    one.stop()
}

fn another_key() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let (right, wrong) = (key(&lab, "key", "5a")?, key(&lab, "wrong", "5b")?);
    let one = Router::start_on(&lab, NODES[0], &paired(&lab, 0, 220, &right)?)?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &paired(&lab, 1, 200, &wrong)?)?;
    becomes(&two, "backup")?;
    says(&one, "another key")?;
    one.tarpon(&format!("ipvsadm -A -t {VIP}:8080 -s wrr"))?;
    let pushed = one.cli("twin push --force")?;
    ensure!(
        pushed.code == Some(1) && pushed.stderr.contains("another key"),
        "{pushed:?}"
    );
    ensure!(
        !two.tarpon("ipvsadm -S -n")?.contains(":8080 -s"),
        "it was taken"
    );
    // Whatever else speaks to that port is not listened to, and does no harm.
    let nonsense = "head -c 20000 /dev/urandom | timeout 5 bash -c 'cat > /dev/tcp/10.1.0.3/8849'";
    lab.on("router", "bash")
        .args(["-c", nonsense])
        .status()
        .context("bash")?;
    ensure!(two.tarpon("twin")?.contains("this one"), "it has ended");

    // A key that others can read is no secret.
    two.stop()?;
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644))?;
    let Err(error) = Router::start_on(&lab, NODES[1], &paired(&lab, 1, 200, &wrong)?) else {
        anyhow::bail!("it starts with a key that all can read");
    };
    ensure!(format!("{error:#}").contains("chmod 600"), "{error:#}");
    one.stop()
}
