//! The other director: whether it is another one.

use super::{Problems, addresses::unusable};
use crate::Config;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    let Some(twin) = &config.twin else {
        return;
    };
    let instead = "write the other director's own address, which does not move";
    if let Some(why) = unusable(twin.peer) {
        problems.add("twin.peer", format!("{} {why}", twin.peer), instead);
    }
    let mut own = config.interfaces().flat_map(|i| i.addresses);
    if own.any(|net| net.address() == twin.peer) {
        let what = format!("{} is this director's own", twin.peer);
        problems.add("twin.peer", what, instead);
    }
    let mut moving = config.vrrp.iter().flat_map(|v| v.addresses());
    if moving.any(|address| address == twin.peer) {
        let what = format!("{} moves between the directors", twin.peer);
        problems.add("twin.peer", what, instead);
    }
}
