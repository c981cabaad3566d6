//! Bindings to the DPDK installed on the machine, made by bindgen at build time, and wrappers of its inline functions
//! (`c/edge.c`). Nothing else: the safe types are in the crate `dpdk`, the only user of this one.
//!
//! Names are DPDK's own (<https://doc.dpdk.org/api-22.11/>); what `c/edge.h` adds is prefixed `edge_` or `EDGE_`.
#![no_std]

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code, named as DPDK names it"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
