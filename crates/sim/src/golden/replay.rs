//! The replay itself: a director on virtual time that is told what the recorded one was told, and must answer alike.

use super::{
    compare::{self, Difference},
    describe, hash_maps,
    listing::Listing,
    recording::{ConnectionRow, Op, OutFrame, Recording, Step, Topology},
    world::{SIDES, World},
};
use crate::{Carrier, InVectors, Sent};
use engine::{ServiceView, model::Settings};
use types::Tick;
use wire::Frame;

/// What became of a replay.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Frames and looks at tables that were compared.
    pub compared: usize,
    /// What differed, in order.
    pub differences: Vec<Difference>,
    /// Steps that need what is not there yet, by number and reason. After one that would have changed something the
    /// replay goes on at the next `fresh`; a mere look is passed over.
    pub unsupported: Vec<(usize, String)>,
}

/// Which worker meets the next frame.
pub type Deal<'a> = dyn FnMut() -> usize + 'a;

/// Replays `recording` with `workers` workers, frames dealt by `deal` (its result is taken modulo `workers`).
///
/// # Panics
/// When the recording's topology is unusable, or the engine loses or invents a frame.
#[must_use]
pub fn replay(recording: &Recording, workers: u16, deal: &mut Deal<'_>) -> Outcome {
    let player = Player::new(recording.topology.clone(), workers);
    replay_with(player, recording, deal)
}

/// [`replay`] by one worker, where each frame is explained before the engine gets it.
///
/// # Panics
/// As [`replay`], and when what was foretold of a frame is not what happens.
#[must_use]
pub fn replay_foretold(recording: &Recording) -> Outcome {
    let mut player = Player::new(recording.topology.clone(), 1);
    player.world.foretells = true;
    replay_with(player, recording, &mut || 0)
}

/// [`replay`] where `carrier` brings the frames.
///
/// # Panics
/// As [`replay`].
#[must_use]
pub fn replay_by<C: Carrier>(
    recording: &Recording,
    workers: u16,
    carrier: C,
    deal: &mut Deal<'_>,
) -> Outcome {
    let player = Player::with(recording.topology.clone(), workers, carrier);
    replay_with(player, recording, deal)
}

fn replay_with<C: Carrier>(
    mut player: Player<C>,
    recording: &Recording,
    deal: &mut Deal<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut skipping = false;
    for (number, step) in recording.steps.iter().enumerate() {
        if matches!(step.op, Op::Fresh { .. }) {
            skipping = false;
        }
        if skipping {
            continue;
        }
        match player.play(step, deal) {
            Ok(Looked::Nothing) => {}
            Ok(Looked::Same) => outcome.compared += 1,
            Ok(Looked::Different(expected, found)) => {
                outcome.compared += 1;
                let note = step.note.clone().unwrap_or_default();
                outcome.differences.push(Difference {
                    step: number,
                    note,
                    expected,
                    found,
                });
            }
            Err(Unsupported { why, harmless }) => {
                outcome.unsupported.push((number, why));
                skipping = !harmless;
            }
        }
    }
    hash_maps::compare(recording, &player.world, &mut player.carrier, &mut outcome);
    outcome
}

/// What a step showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It shows nothing.
    Nothing,
    /// What was recorded.
    Same,
    /// Something else: recorded, found.
    Different(String, String),
}

impl Looked {
    pub(super) fn at<T: PartialEq + std::fmt::Debug>(expected: &T, found: &T) -> Self {
        if expected == found {
            Self::Same
        } else {
            Self::Different(format!("{expected:?}"), format!("{found:?}"))
        }
    }
}

/// A step that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Why not.
    pub why: String,
    /// It only looks: what follows can still be compared.
    pub harmless: bool,
}

/// A director on virtual time that takes one step after the other.
pub struct Player<C: Carrier = InVectors> {
    topology: Topology,
    world: World<C::Frame>,
    carrier: C,
}

impl Player {
    /// A director with `workers` workers, with nothing configured, in that network.
    ///
    /// # Panics
    /// When the topology is unusable.
    #[must_use]
    pub fn new(topology: Topology, workers: u16) -> Self {
        Self::with(topology, workers, InVectors::default())
    }
}

impl<C: Carrier> Player<C> {
    /// [`Player::new`] where `carrier` brings the frames.
    fn with(topology: Topology, workers: u16, carrier: C) -> Self {
        let world = World::new(&topology, workers, Settings::ipvs(), Tick(0));
        Self {
            topology,
            world,
            carrier,
        }
    }

    /// Lets time pass up to the step's, and takes it. Of several workers `deal` says who meets a frame.
    ///
    /// # Errors
    /// When the step needs what is not there.
    ///
    /// # Panics
    /// When the engine loses or invents a frame.
    pub fn play(&mut self, step: &Step, deal: &mut Deal<'_>) -> Result<Looked, Unsupported> {
        take(
            &mut self.world,
            &self.topology,
            &mut self.carrier,
            step,
            deal,
        )
    }

    /// Lets time pass; what was sent meanwhile without a frame's causing it.
    pub fn pass_to(&mut self, until: Tick) -> Vec<Sent> {
        self.world.pass_to(until, &mut self.carrier);
        self.world.late()
    }

    /// Carries out a command of ipvsadm, iptables or ip.
    ///
    /// # Errors
    /// Why it was refused, or is not supported.
    pub fn command(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.world.command(&words)
    }

    /// Sets a setting, `net/ipv4/vs/NAME`.
    ///
    /// # Errors
    /// When there is no such setting, or it takes no such value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.world.set(key, value)
    }

    /// Gives the director a frame on "cl" or "rs": what it causes.
    ///
    /// # Errors
    /// When there is no such side.
    ///
    /// # Panics
    /// When the engine loses or invents a frame.
    pub fn receive(&mut self, side: &str, frame: &[u8]) -> Result<Vec<Sent>, String> {
        self.world
            .receive(side, frame, &mut self.carrier, &mut || 0)
    }

    /// Every service with its servers.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        self.world.services()
    }

    /// Every connection.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionRow> {
        let mut rows = self.world.connections();
        rows.sort();
        rows
    }
}

impl From<String> for Unsupported {
    fn from(why: String) -> Self {
        Self {
            why,
            harmless: false,
        }
    }
}

fn take<C: Carrier>(
    world: &mut World<C::Frame>,
    topology: &Topology,
    carrier: &mut C,
    step: &Step,
    deal: &mut Deal<'_>,
) -> Result<Looked, Unsupported> {
    world.pass_to(milliseconds(step.t), carrier);
    let look = |why| Unsupported {
        why,
        harmless: true,
    };
    match &step.op {
        Op::Fresh { sysctls } => {
            *world = world.fresh(topology);
            for (key, value) in sysctls {
                world.set(key, value)?;
            }
            Ok(Looked::Nothing)
        }
        Op::Sysctl { key, value } => {
            world.set(key, value)?;
            Ok(Looked::Nothing)
        }
        // The step's time is that of its end.
        Op::Sleep { .. } => Ok(Looked::Nothing),
        Op::Cmd { cmd, rc, output } => {
            command(world, cmd, rc.unwrap_or(0), output.as_deref().unwrap_or(""))
        }
        Op::Tx {
            interface,
            frame,
            out,
            ..
        } => {
            let bytes = compare::from_hex(frame).ok_or_else(|| format!("not hex: {frame}"))?;
            let sent = world.receive(interface, &bytes, carrier, deal)?;
            Ok(frames(out, &sent))
        }
        Op::Late { out } => {
            // Recorded without ranges: nothing was received whose identification could be kept.
            let out: Vec<OutFrame> = out.iter().map(compare::own_identification).collect();
            Ok(frames(&out, &world.late()))
        }
        Op::Conns { rows } => {
            let found = world.connections();
            Ok(if compare::connections(rows, &found) {
                Looked::Same
            } else {
                let (expected, found) = compare::other_rows(rows, &found);
                Looked::Different(expected, found)
            })
        }
        Op::State {
            client,
            virtual_address,
            state,
            expire,
        } => {
            let vip = virtual_address.split('|').next().unwrap_or_default();
            let mut all = world.connections().into_iter();
            let found = all.find(|r| r.client == *client && r.virtual_address.starts_with(vip));
            let same = match (&found, state) {
                (Some(row), Some(state)) => {
                    row.state == *state && expire.is_none_or(|e| compare::about(e, row.expire))
                }
                (None, None) => true,
                _ => false,
            };
            Ok(if same {
                Looked::Same
            } else {
                Looked::Different(format!("{state:?} {expire:?}"), format!("{found:?}"))
            })
        }
        Op::Dests { rows } => {
            let named = |(name, counts): (&String, &[i64; 3])| {
                (name.trim_end_matches('\'').to_owned(), *counts)
            };
            let expected = compare::counts(rows.iter().map(named));
            let found = compare::counts(world.counts(topology));
            Ok(Looked::at(&expected, &found))
        }
        Op::List { opt, output } => {
            let (expected, found) =
                compare::listing(opt, output, &world.services()).map_err(look)?;
            Ok(Looked::at(&expected, &found))
        }
    }
}

/// A command; one that was refused must be refused (in which words is the command's own business).
fn command<F: Frame + Send + 'static>(
    world: &mut World<F>,
    cmd: &str,
    rc: i32,
    output: &str,
) -> Result<Looked, Unsupported> {
    let words: Vec<&str> = cmd.split_whitespace().collect();
    if words == ["ipvsadm", "-L", "--timeout"] {
        let s = world.settings();
        let (tcp, fin, udp) = (s.timeout_tcp_s, s.timeout_tcp_fin_s, s.timeout_udp_s);
        let found = format!("Timeout (tcp tcpfin udp): {tcp} {fin} {udp}");
        return Ok(Looked::at(&output, &found.as_str()));
    }
    if words == ["ipvsadm", "-L", "--daemon"] {
        return Ok(Looked::at(&output, &world.daemons().as_str()));
    }
    if words == ["cat", "/proc/net/ip_vs_stats"] {
        return Ok(Looked::at(&output, &world.stats().as_str()));
    }
    if matches!(
        *words.as_slice(),
        ["ipvsadm", "-Sn"] | ["ipvsadm", "-S" | "--save", "-n" | "--numeric"]
    ) {
        let (expected, found) = world.saved(output).map_err(|why| Unsupported {
            why,
            harmless: true,
        })?;
        return Ok(Looked::at(&expected, &found));
    }
    if let ["ipvsadm", first, rest @ ..] = words.as_slice()
        && let Some(asked) = Listing::asked(first, rest)
    {
        return asked.look(world, output).map_err(|why| Unsupported {
            why: format!("{why}: {cmd}"),
            harmless: true,
        });
    }
    if matches!(
        words.as_slice(),
        ["ipvsadm", "-L" | "-l" | "--list", ..] | ["cat", ..]
    ) {
        return Err(Unsupported {
            why: format!("not supported: {cmd}"),
            harmless: true,
        });
    }
    // Which modules Linux has loaded is no behaviour.
    if words.first() == Some(&"lsmod") {
        return Ok(Looked::Nothing);
    }
    match (world.command(&words), rc) {
        (Ok(()), 0) => Ok(Looked::Nothing),
        (Ok(()), rc) => Ok(Looked::Different(
            format!("{cmd}: refused with {rc}: {output}"),
            "carried out".to_owned(),
        )),
        (Err(why), 0) => Err(why.into()),
        (Err(_), _) => Ok(Looked::Same),
    }
}

/// The first frame that is not as recorded, interface by interface.
fn frames(expected: &[OutFrame], found: &[Sent]) -> Looked {
    if compare::frames(expected, found, &SIDES) {
        return Looked::Same;
    }
    for (port, side) in SIDES.iter().enumerate() {
        let mut want = expected.iter().filter(|f| f.interface == *side);
        let mut got = found.iter().filter(|s| s.port.index() == port);
        for number in 1.. {
            let (want, got) = (want.next(), got.next());
            let words = match (want, got) {
                (None, None) => break,
                (Some(want), None) => (want.brief.clone(), "nothing".to_owned()),
                (None, Some(got)) => ("nothing".to_owned(), describe::frame(&got.bytes)),
                (Some(want), Some(got)) if compare::same_bytes(want, &got.bytes) => continue,
                (Some(want), Some(got)) => (
                    format!("{}\n           {}", want.brief, want.frame),
                    format!(
                        "{}\n           {}\n           {}",
                        describe::frame(&got.bytes),
                        compare::to_hex(&got.bytes),
                        describe::first_difference(want, &got.bytes)
                    ),
                ),
            };
            let at = |what| format!("{side} frame {number}: {what}");
            return Looked::Different(at(words.0), at(words.1));
        }
    }
    // Frames of interfaces the replay does not have.
    let others = expected
        .iter()
        .find(|f| !SIDES.contains(&f.interface.as_str()));
    let brief = others.map_or("", |f| f.brief.as_str());
    Looked::Different(brief.to_owned(), "no such interface".to_owned())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a recording, positive and small"
)]
fn milliseconds(seconds: f64) -> Tick {
    Tick((seconds.max(0.0) * 1000.0) as u64)
}
