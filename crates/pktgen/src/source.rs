//! The frames of a run, one after the other: templates and sizes as often as their weights say, flows in their order.

use crate::{
    flows::{Flow, Flows},
    prototype::{HEAD, Link, Prototype, SHORT},
    random::Random,
    stamp,
    template::{FCS, Kind, Template},
};
use std::sync::Arc;
use thiserror::Error;

/// Cards of a deck at most: weights whose least common multiple is larger are refused.
const CARDS: u64 = 1 << 16;

/// Templates that cannot be sent together or at all.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    /// Nothing to send.
    #[error(
        "there is nothing to send: give a template, like `--template 'udp 10.0.0.1 > 10.0.1.1:80'`"
    )]
    NoTemplate,
    /// Weights of templates and sizes that have no short common cycle.
    #[error(
        "the weights of templates and sizes repeat only after {0} frames; at most 65536: use smaller or rounder weights, or fewer sizes"
    )]
    Weights(u64),
    /// A frame without room for the stamp.
    #[error(
        "template {template}, size {size}: no room for the {} bytes that measure loss and latency; at least `size {least}`, or --no-stamp \
         for frames that are only counted",
        stamp::LEN
    )]
    TooSmall {
        /// Which, from 1.
        template: usize,
        /// The size asked for.
        size: u16,
        /// The smallest that would do.
        least: u16,
    },
    /// Frames that have no payload, or none that is read.
    #[error("template {0}: ARP and fragments carry no stamp: --no-stamp sends them, only counted")]
    NoStamp(usize),
    /// A frame larger than the port's MTU.
    #[error("template {template}, size {size}: larger than the port's MTU of {mtu}; give --mtu {}", size - 18)]
    TooLarge {
        /// Which, from 1.
        template: usize,
        /// The size asked for.
        size: u16,
        /// The port's.
        mtu: u16,
    },
}

/// What a run's frames are made of.
#[derive(Clone)]
pub struct Recipe {
    /// What to send.
    pub templates: Vec<Template>,
    /// From and to whom.
    pub link: Link,
    /// The run's number, if frames carry stamps.
    pub run: Option<u16>,
    /// For all that is drawn at random.
    pub seed: u64,
    /// These flows instead of the templates' own.
    pub listed: Option<Arc<[Flow]>>,
    /// The stamps' stream of the first worker.
    pub first_stream: u16,
}

/// One worker's frames.
pub struct Source {
    prototypes: Vec<(u16, Prototype)>,
    deck: Vec<u16>,
    next: usize,
    flows: Vec<Flows>,
    random: Random,
    number: u32,
    /// All that varies stands in the first [`SHORT`] bytes.
    is_short: bool,
    /// Every frame is the same.
    is_fixed: bool,
}

impl Recipe {
    /// Whether it can be sent through a port of this MTU.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn check(&self, mtu: u16) -> Result<(), SourceError> {
        deck(&self.templates, 1).map(drop)?;
        for (number, template) in (1..).zip(&self.templates) {
            let vlan = if template.vlan.is_some() { 4 } else { 0 };
            let unread = template.kind == Kind::Arp || template.first_fragment;
            if self.run.is_some() && unread {
                return Err(SourceError::NoStamp(number));
            }
            let least =
                template.headers_len() - vlan + FCS + u16::try_from(stamp::LEN).unwrap_or(0);
            for &(size, _) in template.sizes.all() {
                if self.run.is_some() && size < least {
                    return Err(SourceError::TooSmall {
                        template: number,
                        size,
                        least: least.max(64),
                    });
                }
                if size > mtu + 18 {
                    return Err(SourceError::TooLarge {
                        template: number,
                        size,
                        mtu,
                    });
                }
            }
        }
        Ok(())
    }

    /// The frames of worker `worker` of `workers`.
    ///
    /// # Errors
    /// [`SourceError`] as of [`Recipe::check`], sizes not looked at.
    pub fn source(&self, worker: u16, workers: u16) -> Result<Source, SourceError> {
        let mut random = Random::new(self.seed.wrapping_add(u64::from(worker) << 32));
        let stamp = self.run.map(|run| (run, self.first_stream + worker));
        let mut prototypes = Vec::new();
        let mut flows = Vec::new();
        for (number, template) in (0_u16..).zip(&self.templates) {
            flows.push(match &self.listed {
                Some(list) => Flows::listed(Arc::clone(list), worker.into(), workers.into()),
                None => Flows::new(template, &mut random, worker.into(), workers.into()),
            });
            let sizes = template.sizes.all().iter();
            prototypes.extend(
                sizes.map(|(size, _)| (number, Prototype::new(template, *size, self.link, stamp))),
            );
        }
        let is_fixed = matches!(prototypes.as_slice(), [(_, one)] if one.is_fixed);
        let is_short = prototypes.iter().all(|(_, p)| p.used <= SHORT);
        Ok(Source {
            prototypes,
            deck: deck(&self.templates, self.seed)?,
            next: 0,
            flows,
            random,
            number: 0,
            is_short,
            is_fixed,
        })
    }
}

/// Which prototype comes when: each as often as the weights say in every cycle, shuffled.
fn deck(templates: &[Template], seed: u64) -> Result<Vec<u16>, SourceError> {
    if templates.is_empty() {
        return Err(SourceError::NoTemplate);
    }
    let sum = |template: &Template| -> u64 {
        template
            .sizes
            .all()
            .iter()
            .map(|(_, w)| u64::from(*w))
            .sum()
    };
    let multiple = templates.iter().fold(1_u64, |all, template| {
        let sum = sum(template);
        all / gcd(all, sum) * sum
    });
    let counts = templates.iter().flat_map(|template| {
        let each = u64::from(template.weight) * (multiple / sum(template));
        template
            .sizes
            .all()
            .iter()
            .map(move |(_, w)| each * u64::from(*w))
    });
    let counts: Vec<u64> = counts.collect();
    let all = counts.iter().fold(0, |a, b| gcd(a, *b));
    let cards: u64 = counts.iter().map(|n| n / all).sum();
    if cards > CARDS || counts.len() > usize::from(u16::MAX) {
        return Err(SourceError::Weights(cards));
    }
    let mut deck = Vec::new();
    for (prototype, count) in (0..).zip(counts) {
        deck.extend((0..count / all).map(|_| prototype));
    }
    let mut random = Random::new(seed);
    for last in (1..deck.len()).rev() {
        let other = usize::try_from(random.below(last as u64 + 1)).unwrap_or(0);
        deck.swap(last, other);
    }
    Ok(deck)
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Source {
    /// Writes the next frame's start over the first bytes of `out`: [`HEAD`], or [`SHORT`] of them where that is all that is not
    /// zero. What comes behind must be zero already. Says how many bytes the whole frame has.
    #[inline(always)]
    pub fn write_next(&mut self, clock: u64, out: &mut [u8; HEAD]) -> u16 {
        if self.is_fixed
            && let [(_, prototype)] = self.prototypes.as_slice()
        {
            return prototype.copy(self.is_short, out);
        }
        let Some(&card) = self.deck.get(self.next) else {
            return 0;
        };
        self.next += 1;
        if self.next == self.deck.len() {
            self.next = 0;
        }
        let Some((template, prototype)) = self.prototypes.get(usize::from(card)) else {
            return 0;
        };
        let Some(flows) = self.flows.get_mut(usize::from(*template)) else {
            return 0;
        };
        let flow = flows.next_flow(&mut self.random);
        let number = self.number;
        self.number = number.wrapping_add(1);
        if self.is_short
            && let Some(short) = out.first_chunk_mut::<SHORT>()
        {
            prototype.write(flow, number, clock, short);
        } else {
            prototype.write(flow, number, clock, out);
        }
        prototype.len
    }

    /// The next frame, whole.
    #[must_use]
    pub fn next_frame(&mut self, clock: u64) -> Vec<u8> {
        let mut head = [0; HEAD];
        let len = self.write_next(clock, &mut head);
        let mut frame = head.to_vec();
        frame.resize(len.into(), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use std::collections::BTreeMap;
    use types::MacAddr;

    fn recipe(texts: &[&str]) -> Recipe {
        Recipe {
            templates: texts.iter().map(|t| t.parse().unwrap()).collect(),
            link: Link {
                from: MacAddr([2, 0, 0, 0, 0, 1]),
                to: MacAddr([2, 0, 0, 0, 0, 2]),
            },
            run: Some(1),
            seed: 1,
            listed: None,
            first_stream: 0,
        }
    }

    fn lengths(texts: &[&str], count: usize) -> BTreeMap<usize, usize> {
        let mut source = recipe(texts).source(0, 1).unwrap();
        let mut lengths = BTreeMap::new();
        for _ in 0..count {
            *lengths.entry(source.next_frame(0).len()).or_default() += 1;
        }
        lengths
    }

    #[test]
    fn sizes_and_templates_come_as_often_as_their_weights_say() {
        let imix = "udp 10.0.0.1 > 10.0.1.1:80 size imix";
        assert_eq!(
            lengths(&[imix], 1200),
            BTreeMap::from([(60, 700), (590, 400), (1514, 100)])
        );
        // Three of the mix for each one of the other.
        let both = lengths(
            &[
                "udp 10.0.0.1 > 10.0.1.1:80 size imix weight 3",
                "tcp 10.0.0.1 > 10.0.1.1:80 size 128",
            ],
            1600,
        );
        assert_eq!(
            both,
            BTreeMap::from([(60, 700), (124, 400), (590, 400), (1514, 100)])
        );
    }

    #[test]
    fn frames_are_numbered_through_all_templates() {
        let mut source = recipe(&[
            "udp 10.0.0.1-10.0.0.9 > 10.0.1.1:80 size 64-80",
            "tcp [::1] > [::2]:80 size 200",
        ])
        .source(0, 1)
        .unwrap();
        for number in 0..100 {
            let frame = source.next_frame(7);
            let seen = parse::parse(&frame, frame.len()).unwrap();
            assert_eq!(seen.upper_checksum_right, Some(true));
            assert_eq!(stamp::Stamp::read(seen.payload).unwrap().number, number);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let said = |texts: &[&str], mtu| recipe(texts).check(mtu).unwrap_err().to_string();
        assert!(said(&[], 1500).contains("nothing to send"));
        let small = said(&["tcp 10.0.0.1 > 10.0.1.1:80 size 64"], 1500);
        assert!(
            small.contains("template 1, size 64") && small.contains("`size 76`"),
            "{small}"
        );
        let large = said(&["udp 10.0.0.1 > 10.0.1.1:80 size 64,1519"], 1500);
        assert!(large.contains("--mtu 1501"), "{large}");
        let weights = said(
            &[
                "udp 10.0.0.1 > 10.0.1.1:80 size 64:997,65:991",
                "udp 10.0.0.1 > 10.0.1.1:80 size 64:983,65:977",
            ],
            1500,
        );
        assert!(weights.contains("65536"), "{weights}");
        assert_eq!(
            recipe(&["udp 10.0.0.1 > 10.0.1.1:80 size 64-1518"]).check(1500),
            Ok(())
        );
        let arp = said(
            &["udp 10.0.0.1 > 10.0.1.1:80", "arp 10.0.0.1 > 10.0.1.1"],
            1500,
        );
        assert!(
            arp.contains("template 2") && arp.contains("--no-stamp"),
            "{arp}"
        );
        let unstamped = Recipe {
            run: None,
            ..recipe(&["tcp 10.0.0.1 > 10.0.1.1:80 size 64"])
        };
        assert_eq!(unstamped.check(1500), Ok(()));
    }
}
