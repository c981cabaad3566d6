//! Real servers prepared with the real tools, in network namespaces: the fault before, silence and service after, over a boot, and
//! everything as it was after undo. Needs root; run by `scripts/test --only realserver`.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod boot;
mod checks;
mod director;
mod families;
mod image;
mod killed;
mod lab;
mod methods;
mod mistakes;
mod scripts;
mod toolboxes;
mod tunnel;
