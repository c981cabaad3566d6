//! A deterministic world around the engine: frames in vectors instead of mbufs, recorders instead of ports, a virtual
//! clock, and the runner that replays recordings of Linux's IPVS through the engine.
#![forbid(unsafe_code)]

pub mod course;
pub mod differential;
pub mod golden;
pub mod mutation;
pub mod packet;
pub mod world;

mod carrier;
mod frame;
mod recorder;

pub use carrier::{Carrier, InVectors};
pub use frame::VecFrame;
pub use packet::Packet;
pub use recorder::{Recorder, Sent};
pub use world::World;
