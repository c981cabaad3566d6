//! The packets of both ends.

use crate::{
    args::Rfc9693,
    flows::Flow,
    prototype::Link,
    source::Recipe,
    template::{FCS, Kind, Sizes, Template},
    worker::Learner,
};
use anyhow::{Context, Result};
use std::sync::Arc;

/// The initiator's.
pub(super) fn recipe(args: &Rfc9693, link: Link, run: u16, listed: Option<Arc<[Flow]>>) -> Recipe {
    Recipe {
        templates: vec![args.template.clone()],
        link,
        run: Some(run),
        seed: args.seed,
        listed,
        first_stream: 0,
    }
}

/// The responder's frames: as the initiator's, from and to whom it has learned.
pub(super) fn answer(args: &Rfc9693, link: Link, run: u16, learned: &Learner) -> Result<Recipe> {
    let (_, is_ipv6) = learned.from.context("nothing was learned")?;
    let any = if is_ipv6 {
        "[::/65]:0-65535"
    } else {
        "0.0.0.0/0:0-65535"
    };
    let protocol = match args.template.kind {
        Kind::Tcp { .. } => "tcp",
        _ => "udp",
    };
    let template: Template = format!("{protocol} {any} > {any}").parse()?;
    let flags = match args.template.kind {
        Kind::Tcp { .. } => Kind::Tcp {
            flags: wire::tcp::SYN | wire::tcp::ACK,
        },
        kind => kind,
    };
    // A translation between families makes packets longer or shorter by the headers' difference.
    let least = template.headers_len() + FCS + 18;
    let sizes = args
        .template
        .sizes
        .all()
        .first()
        .map_or(64, |(size, _)| *size);
    Ok(Recipe {
        templates: vec![Template {
            kind: flags,
            sizes: Sizes::one(sizes.max(least)),
            vlan: args.template.vlan,
            ..template
        }],
        link,
        run: Some(run),
        seed: args.seed,
        listed: Some(learned.flows.clone().into()),
        first_stream: 0,
    })
}
