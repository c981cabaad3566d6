//! Phase 2: what goes over connections that stand, both ways at once.

use super::{
    Bench, Found, Opened, lost,
    packets::{answer, recipe},
    results::{AtLoad, Lost, Results},
};
use crate::{
    args::rfc9693::Measure,
    prototype::Link,
    rate::Rate,
    report::Report,
    run::{self, Both, Plan},
    search::Steps,
    source::Recipe,
    spread::Spread,
    worker::Frames,
};
use anyhow::Result;
use std::sync::Arc;

impl Bench<'_> {
    /// What is asked for of throughput, latency and loss, each over connections opened for it.
    pub(super) fn over(&mut self, results: &mut Results) -> Result<()> {
        let (mut rates, mut trials, mut limited_by) = (Vec::new(), Vec::new(), None);
        for _ in 0..self.args.repeat {
            // First, as what finds it out may empty the table.
            let top = self.top()? * 2.0;
            let (opened, link) = self.table()?;
            let mut search = self.search(top);
            while let Some(rate) = search.next_rate() {
                let report = self.both_ways(&opened, link, rate)?;
                let what = ("throughput", rate);
                self.tell(&mut search, &mut trials, what, &report, lost(&report));
            }
            rates.push(search.result());
            limited_by = Some(search.limit());
        }
        let (Some(repeated), Some(limited_by)) = (Spread::of(&rates), limited_by) else {
            return Ok(());
        };
        let rate = repeated.median;
        results.throughput = Some(Found {
            rate,
            limited_by,
            trials,
            repeated,
        });
        if self.args.measure.contains(&Measure::Latency) && rate > 0.0 {
            let (opened, link) = self.table()?;
            for &percent in &self.args.latency_at {
                let report = self.both_ways(&opened, link, rate * percent / 100.0)?;
                let at = AtLoad::new(percent, &report);
                self.note(&format!("latency at {percent} %: lost {}", at.lost));
                results.latency.push(at);
            }
        }
        if self.args.measure.contains(&Measure::Loss) {
            let top = self.top()? * 2.0;
            let (opened, link) = self.table()?;
            let mut steps = Steps::new(self.args.step);
            while let Some(percent) = steps.percent() {
                let report = self.both_ways(&opened, link, top * percent / 100.0)?;
                let of_load = Lost::new(percent, &report);
                steps.tell(of_load.lost_percent <= 0.0);
                self.note(&format!(
                    "loss at {percent:.0} %: {:.4} %",
                    of_load.lost_percent
                ));
                results.loss.push(of_load);
            }
        }
        Ok(())
    }

    /// A table filled, and where the responder's frames go.
    fn table(&mut self) -> Result<(Opened, Link)> {
        self.empty()?;
        let opened = self.open(self.connections, self.fill)?;
        let link = self.back(&opened.learned)?;
        Ok((opened, link))
    }

    /// A trial: so many frames a second of both directions together.
    fn both_ways(&mut self, opened: &Opened, link: Link, rate: f64) -> Result<Report> {
        let (args, stop) = (self.args, self.stop);
        let plan: Plan<'_> = self.plan(Rate::Packets(rate), None, Some(args.trial), 0)?;
        let there = recipe(args, self.link, self.run, Some(Arc::clone(&opened.flows)));
        let back = Recipe {
            // Numbers of its own: the meter tells streams apart by them.
            first_stream: args.wiring.workers,
            ..answer(args, link, self.run, &opened.learned)?
        };
        self.wired.meter_at(|_, _| true);
        let report = run::run_both(&mut self.wired, &plan, stop, |worker, workers| {
            let there = Frames::Made(there.source(worker, workers)?);
            let back = Frames::Made(back.source(worker, workers)?);
            Ok::<Both, _>((there, Some(back)))
        });
        self.wired.meter_at(|at, last| at == last);
        Ok(report?.0)
    }
}
