//! Connections with a life: clients and servers that speak TCP and, over it, HTTP. `clients` and `servers` and all they stand on
//! know neither ports nor a clock; `worker` puts them on ports, `rehearsal` on virtual wires.

pub mod clients;
pub mod command;
pub mod http;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod segment;
pub mod servers;
pub mod table;
pub mod tally;
pub mod tcb;
pub mod tuples;
pub mod wheel;
pub mod worker;
